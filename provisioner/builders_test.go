package provisioner

import (
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
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
