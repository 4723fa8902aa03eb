// Package static tells which volumes that exist already a claim may be bound to: by the controller-manager, to which such a claim is left. Admission
// and provisioning both ask, because a volume that was created for the claim all the same would be left over, and stay for good where its reclaim
// policy is Retain.
//
// Match is the rule, and pure. Index finds the volumes that it has to be asked about, in an informer's cache. What a claim that may have to wait is told,
// and for how long it waits, is for the caller to decide. It imports nothing of this project.
package static

import (
	corev1 "k8s.io/api/core/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"
)

// Match reports whether the controller-manager may bind the claim to the volume. It is how that one matches (component-helpers, FindMatchingVolume),
// except that whatever a volume does not tell counts for it, and so does that it is about to become available. A volume reserved for the claim
// counts however it is: its owner meant it. So does one that is Bound to the claim, which is about to name it: the controller-manager writes the volume
// first. The claim must not have a selector, nor a volume.
func Match(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	switch {
	case volume.DeletionTimestamp != nil:
		return false
	case volume.Spec.ClaimRef != nil:
		return ReservedFor(volume, claim) && (Unused(volume) || bound(volume))
	case !Unused(volume):
		return false
	}
	return volumehelpers.GetPersistentVolumeClass(volume) == volumehelpers.GetPersistentVolumeClaimClass(claim) &&
		sameMode(volume.Spec.VolumeMode, claim.Spec.VolumeMode) &&
		ptr.Deref(volume.Spec.VolumeAttributesClassName, "") == ptr.Deref(claim.Spec.VolumeAttributesClassName, "") &&
		(len(volume.Spec.AccessModes) == 0 || volumehelpers.CheckAccessModes(claim, volume)) &&
		largeEnough(volume, claim)
}

// Unused reports whether a volume is Available, or new and on its way there.
func Unused(volume *corev1.PersistentVolume) bool {
	phase := volume.Status.Phase
	return phase == corev1.VolumeAvailable || phase == corev1.VolumePending || phase == ""
}

// bound reports whether a volume is one claim's, and no other claim of its name can have it.
func bound(volume *corev1.PersistentVolume) bool {
	return volume.Status.Phase == corev1.VolumeBound && volume.Spec.ClaimRef.UID != ""
}

// ReservedFor reports whether a volume refers to a claim. A reference with a UID is to one claim only, and one that is being created has none yet.
func ReservedFor(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	ref := volume.Spec.ClaimRef
	return ref != nil && ref.Namespace == claim.Namespace && ref.Name == claim.Name && (ref.UID == "" || ref.UID == claim.UID)
}

func sameMode(one, other *corev1.PersistentVolumeMode) bool {
	return one == nil || other == nil || *one == *other
}

func largeEnough(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	have, told := volume.Spec.Capacity[corev1.ResourceStorage]
	want := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	return !told || have.Cmp(want) >= 0
}
