package provisioner

import (
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/topology"
)

const (
	testDriver = "driver.example"
	testUID    = types.UID("9f2c1a34-0000-4000-8000-0123456789ab")
	testVolume = "pvc-9f2c1a34-0000-4000-8000-0123456789ab"
)

func testSettings() Settings {
	return Settings{
		Driver:            csi.Driver{Name: testDriver, Topology: true},
		Identity:          "1-2-" + testDriver,
		NamePrefix:        "pvc",
		NameUUIDLength:    -1,
		ImmediateTopology: true,
	}
}

// makeClaim is a claim of the driver that waits for a volume, changed as the case needs it.
func makeClaim(changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	class, mode := "fast", corev1.PersistentVolumeFilesystem
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "data", UID: testUID, ResourceVersion: "7",
			Annotations: map[string]string{"volume.kubernetes.io/storage-provisioner": testDriver},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class,
			VolumeMode:       &mode,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	for _, change := range changes {
		change(claim)
	}
	return claim
}

func annotated(key, value string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Annotations[key] = value }
}

func without(key string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { delete(claim.Annotations, key) }
}

func onNode(node string) func(*corev1.PersistentVolumeClaim) {
	return annotated("volume.kubernetes.io/selected-node", node)
}

func deleting(claim *corev1.PersistentVolumeClaim) {
	now := metav1.NewTime(time.Unix(1, 0))
	claim.DeletionTimestamp = &now
}

func boundTo(volume string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeName = volume }
}

// called is a claim of another name, and so another claim.
func called(name string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Name, claim.UID = name, types.UID(name+"-uid") }
}

// fromSnapshot has a claim made from the snapshot "snap".
func fromSnapshot(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: new(snapshotv1.GroupName), Kind: "VolumeSnapshot", Name: "snap"}
}

// fromFarSnapshot has a claim made from the snapshot "snap" of namespace "far".
func fromFarSnapshot(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: new(snapshotv1.GroupName), Kind: "VolumeSnapshot", Name: "snap", Namespace: new("far")}
}

// fromClaim has a claim made from the claim "source".
func fromClaim(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "source"}
}

// fromPopulator has a claim filled by somebody else.
func fromPopulator(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: new("books.example"), Kind: "Shelf", Name: "novels"}
}

// withAttributes names the claim's volume attributes class.
func withAttributes(class string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeAttributesClassName = &class }
}

// makeClass is the claim's class: Immediate binding, reclaim policy Delete.
func makeClass(changes ...func(*storagev1.StorageClass)) *storagev1.StorageClass {
	policy, binding := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate
	class := &storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: "fast"},
		Provisioner:       testDriver,
		ReclaimPolicy:     &policy,
		VolumeBindingMode: &binding,
	}
	for _, change := range changes {
		change(class)
	}
	return class
}

func waitForFirstConsumer(class *storagev1.StorageClass) {
	binding := storagev1.VolumeBindingWaitForFirstConsumer
	class.VolumeBindingMode = &binding
}

func parameters(pairs ...string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		class.Parameters = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			class.Parameters[pairs[i]] = pairs[i+1]
		}
	}
}

func retain(class *storagev1.StorageClass) {
	policy := corev1.PersistentVolumeReclaimRetain
	class.ReclaimPolicy = &policy
}

func makeAttributesClass(name, driver string) *storagev1.VolumeAttributesClass {
	return &storagev1.VolumeAttributesClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, DriverName: driver, Parameters: map[string]string{"iops": "500"},
	}
}

// makeSnapshot is a snapshot of the driver that can be restored from; its content is makeContent's.
func makeSnapshot(changes ...func(*snapshotv1.VolumeSnapshot)) *snapshotv1.VolumeSnapshot {
	snapshot := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "snap", UID: "snap-uid", ResourceVersion: "1"},
		Status: &snapshotv1.VolumeSnapshotStatus{
			BoundVolumeSnapshotContentName: new("content"), ReadyToUse: new(true), RestoreSize: new(resource.MustParse("1Gi")),
		},
	}
	for _, change := range changes {
		change(snapshot)
	}
	return snapshot
}

func makeContent(changes ...func(*snapshotv1.VolumeSnapshotContent)) *snapshotv1.VolumeSnapshotContent {
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "content"},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: testDriver, VolumeSnapshotRef: corev1.ObjectReference{Namespace: "ns", Name: "snap", UID: "snap-uid"},
		},
		Status: &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: new("snapshot-handle")},
	}
	for _, change := range changes {
		change(content)
	}
	return content
}

// makeSource is a claim of the driver that can be cloned; its volume is makeSourceVolume's.
func makeSource(changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	return makeClaim(append([]func(*corev1.PersistentVolumeClaim){called("source"), boundTo("source-pv"),
		func(claim *corev1.PersistentVolumeClaim) {
			claim.ResourceVersion, claim.Status.Phase = "1", corev1.ClaimBound
		}}, changes...)...)
}

func makeSourceVolume(changes ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	return makeVolume(append([]func(*corev1.PersistentVolume){func(pv *corev1.PersistentVolume) {
		pv.Name, pv.UID = "source-pv", "source-pv-uid"
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "source", UID: "source-uid"}
		pv.Spec.CSI.VolumeHandle = "source-handle"
		pv.Status.Phase = corev1.VolumeBound
	}}, changes...)...)
}

// snapshotFacts and claimFacts are what a look at a source that is in order finds.
func snapshotFacts() *datasource.Facts {
	return &datasource.Facts{SnapshotsServed: true, Snapshot: makeSnapshot(), Content: makeContent()}
}

func claimFacts() *datasource.Facts {
	return &datasource.Facts{SourceClaim: makeSource(), SourceVolume: makeSourceVolume()}
}

func zone(name string) topology.Segment {
	return topology.NewSegment(map[string]string{"zone": name})
}

// makeInput is a claim that can be provisioned in zones a and b.
func makeInput(changes ...func(*Input)) Input {
	in := Input{
		Settings: testSettings(),
		Claim:    makeClaim(),
		Class:    makeClass(),
		Place:    Place{Candidates: []topology.Segment{zone("a"), zone("b")}},
	}
	for _, change := range changes {
		change(&in)
	}
	return in
}

// makeAttempt is the open attempt of the default claim.
func makeAttempt(changes ...func(*Attempt)) *Attempt {
	attempt := sealed(Input{Settings: testSettings(), Claim: makeClaim(), Class: makeClass()}, nil)
	for _, change := range changes {
		change(attempt)
	}
	return attempt
}

// sealed is the attempt that an input makes.
func sealed(in Input, need *topology.Requirement) *Attempt {
	attempt, err := seal(in, need)
	if err != nil {
		panic(err)
	}
	return attempt
}

// completed is the object of a volume as the driver answered it.
func completed(s Settings, attempt *Attempt, answer *csipb.Volume) *corev1.PersistentVolume {
	pv, err := newVolume(s, attempt, answer)
	if err != nil {
		panic(err)
	}
	return pv
}

func created(a *Attempt) {
	a.Volume = &csipb.Volume{VolumeId: "handle-1", CapacityBytes: 1 << 30}
}

// makeVolume is a released volume of the driver.
func makeVolume(changes ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: testVolume, UID: "volume-uid",
			Annotations: map[string]string{AnnotationProvisionedBy: testDriver, AnnotationDeletionSecretName: "", AnnotationDeletionSecretNamespace: ""},
			Finalizers:  []string{"kubernetes.io/pv-protection", FinalizerVolume},
		},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: testDriver, VolumeHandle: "handle-1"}},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef:                      &corev1.ObjectReference{Namespace: "ns", Name: "data", UID: testUID},
			StorageClassName:              "fast",
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeReleased},
	}
	for _, change := range changes {
		change(pv)
	}
	return pv
}
