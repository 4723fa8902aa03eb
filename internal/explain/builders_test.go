package explain

import (
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/provisioner/journal"
)

const (
	testDriver = "pool.csi.example.com"
	zoneKey    = "topology.pool.example.com/zone"
	claimUID   = "4f2a6c1e-0000-4000-8000-000000000001"
)

// three is three in the morning.
var three = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return three.Add(-d) }

func at(d time.Duration) metav1.Time { return metav1.NewTime(before(d)) }

// situation is a claim of an Immediate class, four minutes old, assigned to its driver, whose Berth runs. Edits state what is different.
func situation(edits ...func(*Facts)) Facts {
	f := Facts{
		Now: three, Namespace: "shop", Name: "data",
		Claim: &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: "data", UID: claimUID, CreationTimestamp: at(4 * time.Minute),
				Annotations: map[string]string{volumehelpers.AnnStorageProvisioner: testDriver},
				Finalizers:  []string{finalizerInUse},
			},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: new("fast"),
				AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				VolumeMode:       new(corev1.PersistentVolumeFilesystem),
				Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
			},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
		},
		Class: seen(&storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: testDriver, VolumeBindingMode: new(storagev1.VolumeBindingImmediate),
		}),
		Driver:     testDriver,
		CSIDriver:  Look[*storagev1.CSIDriver]{Sight: Absent},
		Leases:     seen([]coordinationv1.Lease{lease("berth-7d9f", 2*time.Second)}),
		Journal:    seen(JournalFacts{Where: "storage/pool-csi-example-com-journal"}),
		Nodes:      seen([]NodeFacts{inZone("n1", "a"), inZone("n2", "b"), inZone("n3", "c")}),
		Rooms:      seen([]storagev1.CSIStorageCapacity{}),
		Pods:       seen([]corev1.Pod{}),
		Events:     seen([]corev1.Event{}),
		VolumeName: "pvc-" + claimUID,
		Volume:     Look[*corev1.PersistentVolume]{Sight: Absent},
	}
	for _, edit := range edits {
		edit(&f)
	}
	return f
}

func seen[T any](value T) Look[T] { return Look[T]{Sight: Seen, Value: value} }

func lease(holder string, since time.Duration) coordinationv1.Lease {
	return coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "storage", Name: "pool-csi-example-com"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: new(int32(15)), RenewTime: &metav1.MicroTime{Time: before(since)},
		},
	}
}

func inZone(name, zone string) NodeFacts {
	return NodeFacts{Name: name, Labels: map[string]string{zoneKey: zone}, Registered: true, Keys: []string{zoneKey}}
}

// delayedBinding: a class with WaitForFirstConsumer, and nobody has assigned the claim yet.
func delayedBinding(f *Facts) {
	f.Class.Value.VolumeBindingMode = new(storagev1.VolumeBindingWaitForFirstConsumer)
	delete(f.Claim.Annotations, volumehelpers.AnnStorageProvisioner)
}

// selected: the scheduler has chosen a node, which is in a zone and has the driver.
func selected(node, zone string) func(*Facts) {
	return func(f *Facts) {
		f.Class.Value.VolumeBindingMode = new(storagev1.VolumeBindingWaitForFirstConsumer)
		f.Claim.Annotations[volumehelpers.AnnSelectedNode] = node
		f.Nodes = Look[[]NodeFacts]{}
		f.Node = seen(map[string]string{zoneKey: zone})
		f.CSINode = seen(&storagev1.CSINode{Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{
			{Name: "other.csi.example.com"}, {Name: testDriver, NodeID: node, TopologyKeys: []string{zoneKey}},
		}}})
	}
}

// onEachNode has a Berth on each of these nodes, in distributed mode.
func onEachNode(nodes ...string) func(*Facts) {
	return func(f *Facts) {
		f.Leases = seen([]coordinationv1.Lease{})
		f.Journal = seen(JournalFacts{Where: "storage/pool-csi-example-com-journal-" + nodes[0], Nodes: nodes})
	}
}

// onNode has a node's own Berth publish what it says of the room there.
func onNode(node string, object storagev1.CSIStorageCapacity) storagev1.CSIStorageCapacity {
	object.Labels = map[string]string{labelManagedBy: managedByNode + node}
	return object
}

func classGone(f *Facts) {
	f.Class = Look[*storagev1.StorageClass]{Sight: Absent}
	f.Driver = ""
	f.Leases, f.Journal, f.Nodes, f.Rooms = Look[[]coordinationv1.Lease]{}, Look[JournalFacts]{}, Look[[]NodeFacts]{}, Look[[]storagev1.CSIStorageCapacity]{}
	delete(f.Claim.Annotations, volumehelpers.AnnStorageProvisioner)
}

func allowedZones(zones ...string) func(*Facts) {
	return func(f *Facts) {
		f.Class.Value.AllowedTopologies = []corev1.TopologySelectorTerm{
			{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: zoneKey, Values: zones}}},
		}
	}
}

// published: the scheduler minds capacity, and so much is published; a size is "FREE" or "FREE/LARGEST".
func published(rooms ...storagev1.CSIStorageCapacity) func(*Facts) {
	return func(f *Facts) {
		f.CSIDriver = seen(&storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{StorageCapacity: new(true)}})
		f.Rooms = seen(rooms)
	}
}

func roomIn(zone, free, largest string) storagev1.CSIStorageCapacity {
	object := storagev1.CSIStorageCapacity{
		StorageClassName: "fast", NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{zoneKey: zone}},
	}
	if free != "" {
		object.Capacity = new(resource.MustParse(free))
	}
	if largest != "" {
		object.MaximumVolumeSize = new(resource.MustParse(largest))
	}
	return object
}

// pod uses the claim and has no node.
func pod(edits ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0"},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
		}}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	for _, edit := range edits {
		edit(&p)
	}
	return p
}

func usedBy(pods ...corev1.Pod) func(*Facts) { return func(f *Facts) { f.Pods = seen(pods) } }

func unschedulable(message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message,
		}}
	}
}

func event(kind, reason, message string, since time.Duration, count int32) corev1.Event {
	return corev1.Event{
		InvolvedObject: corev1.ObjectReference{UID: claimUID}, Type: kind, Reason: reason, Message: message, Count: count,
		FirstTimestamp: at(since + time.Minute), LastTimestamp: at(since), Source: corev1.EventSource{Component: testDriver + "_berth-7d9f"},
	}
}

func told(events ...corev1.Event) func(*Facts) { return func(f *Facts) { f.Events = seen(events) } }

// boundClaim: all is well, since three days.
func boundClaim(f *Facts) {
	f.Claim.Spec.VolumeName, f.Claim.Status.Phase = f.VolumeName, corev1.ClaimBound
	f.Claim.CreationTimestamp = at(72 * time.Hour)
	f.Volume = seen(volume())
	f.Nodes, f.Rooms, f.Pods = Look[[]NodeFacts]{}, Look[[]storagev1.CSIStorageCapacity]{}, Look[[]corev1.Pod]{}
}

func volume() *corev1.PersistentVolume {
	since := at(71 * time.Hour)
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-" + claimUID, UID: "volume", CreationTimestamp: at(72 * time.Hour)},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef:                      &corev1.ObjectReference{Namespace: "shop", Name: "data", UID: claimUID},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: testDriver, VolumeHandle: "vol-17"},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: zoneKey, Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}},
			}}}},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound, LastPhaseTransitionTime: &since},
	}
}

func deleting(f *Facts) {
	since := at(10 * time.Minute)
	f.Claim.DeletionTimestamp = &since
}

// fromSnapshot: of a Filesystem volume, ready, of this driver.
func fromSnapshot(edits ...func(*datasource.Facts)) func(*Facts) {
	return func(f *Facts) {
		f.Claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: new(snapshotv1.GroupName), Kind: "VolumeSnapshot", Name: "nightly"}
		source := datasource.Facts{
			SnapshotsServed: true,
			Snapshot: &snapshotv1.VolumeSnapshot{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "nightly", UID: "snapshot"},
				Status:     &snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: new("content"), ReadyToUse: new(true)},
			},
			Content: &snapshotv1.VolumeSnapshotContent{
				ObjectMeta: metav1.ObjectMeta{Name: "content"},
				Spec: snapshotv1.VolumeSnapshotContentSpec{
					Driver: testDriver, SourceVolumeMode: new(corev1.PersistentVolumeFilesystem),
					VolumeSnapshotRef: corev1.ObjectReference{Namespace: "shop", Name: "nightly", UID: "snapshot"},
				},
				Status: &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: new("snap-1")},
			},
		}
		for _, edit := range edits {
			edit(&source)
		}
		f.Source = seen(source)
	}
}

func attachment(node string) storagev1.VolumeAttachment {
	return storagev1.VolumeAttachment{Spec: storagev1.VolumeAttachmentSpec{
		NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: new("pvc-" + claimUID)},
	}}
}

// recorded: the journal has an entry of the claim.
func recorded(since time.Duration) func(*Facts) {
	return func(f *Facts) {
		f.Journal.Value.Entry = &journal.Entry{
			Claim: corev1.ObjectReference{UID: claimUID}, Began: before(since),
			Request: &csipb.CreateVolumeRequest{Name: "pvc-" + claimUID},
		}
	}
}
