package datasource

import (
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func snapshotIs(change func(*snapshotv1.VolumeSnapshot)) func(*Facts) {
	return func(facts *Facts) { change(facts.Snapshot) }
}

func contentIs(change func(*snapshotv1.VolumeSnapshotContent)) func(*Facts) {
	return func(facts *Facts) { change(facts.Content) }
}

func claimIs(change func(*corev1.PersistentVolumeClaim)) func(*Facts) {
	return func(facts *Facts) { change(facts.Claim) }
}

func requests(size string) func(*Facts) {
	return claimIs(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.Resources = storage(size) })
}

func noRequest(facts *Facts) { facts.Claim.Spec.Resources = corev1.VolumeResourceRequirements{} }

func restoreSize(size string) func(*Facts) {
	return snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Status.RestoreSize = new(resource.MustParse(size)) })
}

func TestSnapshots(t *testing.T) {
	reports := snapshotIs(func(s *snapshotv1.VolumeSnapshot) {
		s.Status.Error = &snapshotv1.VolumeSnapshotError{Message: new("no room for it")}
	})
	unbound := snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Status.BoundVolumeSnapshotContentName = nil })
	deleting := snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.DeletionTimestamp = deletion() })
	ready := func(ready *bool) func(*Facts) {
		return snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Status.ReadyToUse = ready })
	}
	runJudged(t, Judge, map[string]judged{
		"a snapshot that can be restored": {fromSnapshot(), "allow", nil},
		"a driver that cannot": {fromSnapshot(func(f *Facts) { f.Capabilities.Snapshot = false }),
			"deny SnapshotsNotSupported: driver driver.example cannot restore snapshots", []string{"CREATE_DELETE_SNAPSHOT"}},
		"no such API": {fromSnapshot(func(f *Facts) { f.SnapshotsServed, f.Snapshot = false, nil }),
			"unknown VolumeSnapshotsNotServed: waiting for VolumeSnapshot ns/snap", []string{"snapshot.storage.k8s.io/v1"}},
		"no such snapshot": {fromSnapshot(func(f *Facts) { f.Snapshot = nil }),
			"unknown SnapshotNotFound: waiting for VolumeSnapshot ns/snap: it does not exist", nil},
		"it is being deleted": {fromSnapshot(deleting), "deny SnapshotDeleting: VolumeSnapshot ns/snap is being deleted", nil},
		"it is being deleted and another's finalizer keeps it": {
			fromSnapshot(deleting, snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Finalizers = []string{"other"} })), "deny SnapshotDeleting", nil},
		"it is being deleted and ours keeps it": {
			fromSnapshot(deleting, snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Finalizers = []string{"other", FinalizerSnapshot} })), "allow", nil},
		"no status": {fromSnapshot(snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Status = nil })),
			"unknown SnapshotNotBound: waiting for VolumeSnapshot ns/snap to be bound to a VolumeSnapshotContent", nil},
		"not bound": {fromSnapshot(unbound), "unknown SnapshotNotBound: ", nil},
		"not bound, with an empty name": {
			fromSnapshot(snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Status.BoundVolumeSnapshotContentName = new("") })), "unknown SnapshotNotBound: ", nil},
		"not bound, and why": {fromSnapshot(unbound, reports), "unknown SnapshotNotBound: ", []string{"; it reports: no room for it"}},
		"trouble without a text": {fromSnapshot(unbound, snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Status.Error = &snapshotv1.VolumeSnapshotError{} })),
			"unknown SnapshotNotBound: ", nil},
		"no content": {fromSnapshot(reports, func(f *Facts) { f.Content = nil }),
			`unknown SnapshotContentNotFound: waiting for VolumeSnapshotContent "content", which VolumeSnapshot ns/snap is bound to`, []string{"no room for it"}},
		"a content of a snapshot that was deleted and made again": {
			fromSnapshot(contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.VolumeSnapshotRef.UID = "old" })),
			`deny SnapshotContentMismatch: VolumeSnapshot ns/snap (UID snap-uid) is bound to VolumeSnapshotContent "content", which is bound to ns/snap (UID old)`, nil},
		"a content of another name": {
			fromSnapshot(contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.VolumeSnapshotRef.Name = "x" })), "deny SnapshotContentMismatch", nil},
		"a content of another namespace": {
			fromSnapshot(contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.VolumeSnapshotRef.Namespace = "x" })), "deny SnapshotContentMismatch", nil},
		"another driver's": {fromSnapshot(contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.Driver = "other" })),
			"deny SourceOfOtherDriver: VolumeSnapshot ns/snap", []string{`"content"`, `"other"`, `"driver.example"`}},
		"not ready, without a word": {fromSnapshot(ready(nil)), "unknown SnapshotNotReady: waiting for VolumeSnapshot ns/snap to be ready to use", nil},
		"not ready, and why":        {fromSnapshot(ready(new(false)), reports), "unknown SnapshotNotReady: ", []string{"; it reports: no room for it"}},
		"no handle, without a status": {fromSnapshot(contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Status = nil })),
			`unknown SnapshotHandleMissing: waiting for the snapshot handle of VolumeSnapshotContent "content"`, nil},
		"no handle": {fromSnapshot(contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Status.SnapshotHandle = nil })), "unknown SnapshotHandleMissing", nil},
		"an empty handle": {fromSnapshot(contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Status.SnapshotHandle = new("") })),
			"unknown SnapshotHandleMissing", nil},
		"as large as it must be": {fromSnapshot(restoreSize("2Gi")), "allow", nil},
		"a byte too small":       {fromSnapshot(restoreSize("2147483649")), "deny RequestTooSmall", nil},
		"too small": {fromSnapshot(requests("1500Mi"), restoreSize("2Gi")),
			"deny RequestTooSmall: the claim requests 1500Mi, less than the restore size of VolumeSnapshot ns/snap, which is 2Gi", nil},
		"no request": {fromSnapshot(noRequest), "deny RequestTooSmall: the claim requests no storage, the restore size of VolumeSnapshot ns/snap is 1Gi", nil},
		"no restore size": {fromSnapshot(noRequest, snapshotIs(func(s *snapshotv1.VolumeSnapshot) { s.Status.RestoreSize = nil })),
			"allow", nil},
	})
	if got := snapshotFits(Facts{Snapshot: &snapshotv1.VolumeSnapshot{}}); got != allow() {
		t.Errorf("a snapshot without a status has no restore size: %s", sketch(got))
	}
}
