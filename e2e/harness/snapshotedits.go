package harness

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

// The edits of Take, each a way in which a snapshot can be unfit.

// SnapshotNotReady says that the driver is still working on it.
func SnapshotNotReady(s *Snapshot) {
	s.Snapshot.Status.ReadyToUse = new(false)
	s.Content.Status.ReadyToUse = new(false)
}

// SnapshotUnbound leaves out which content the snapshot is bound to.
func SnapshotUnbound(s *Snapshot) { s.Snapshot.Status.BoundVolumeSnapshotContentName = nil }

// SnapshotWithoutStatus is one nobody has looked at yet.
func SnapshotWithoutStatus(s *Snapshot) { s.Snapshot.Status = nil }

// SnapshotWithoutHandle leaves out what the driver calls it.
func SnapshotWithoutHandle(s *Snapshot) { s.Content.Status.SnapshotHandle = nil }

// SnapshotOfAnother has the content refer to another snapshot of the same name, as after the snapshot was made anew.
func SnapshotOfAnother(s *Snapshot) {
	s.Content.Spec.VolumeSnapshotRef.UID = types.UID("00000000-0000-4000-8000-000000000000")
}

// SnapshotOfDriver says that another driver made it.
func SnapshotOfDriver(name string) func(*Snapshot) {
	return func(s *Snapshot) { s.Content.Spec.Driver = name }
}

// SnapshotRestoreSize says that it needs at least so much room; an empty quantity that nobody knows.
func SnapshotRestoreSize(quantity string) func(*Snapshot) {
	return func(s *Snapshot) {
		if quantity == "" {
			s.Snapshot.Status.RestoreSize, s.Content.Status.RestoreSize = nil, nil
			return
		}
		size := resource.MustParse(quantity)
		s.Snapshot.Status.RestoreSize, s.Content.Status.RestoreSize = &size, new(size.Value())
	}
}

// SnapshotMode is the volume mode of what it was taken from; an empty mode that nobody knows.
func SnapshotMode(mode corev1.PersistentVolumeMode) func(*Snapshot) {
	return func(s *Snapshot) {
		s.Content.Spec.SourceVolumeMode = nil
		if mode != "" {
			s.Content.Spec.SourceVolumeMode = &mode
		}
	}
}

// SnapshotModeChange gives its content the annotation AllowModeChange.
func SnapshotModeChange(value string) func(*Snapshot) {
	return func(s *Snapshot) { s.Content.Annotations = map[string]string{AllowModeChange: value} }
}

// SnapshotFinalizer holds it back when it is deleted.
func SnapshotFinalizer(finalizer string) func(*Snapshot) {
	return func(s *Snapshot) { s.Snapshot.Finalizers = append(s.Snapshot.Finalizers, finalizer) }
}
