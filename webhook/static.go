package webhook

import (
	corev1 "k8s.io/api/core/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"
)

// inPlay reports whether the controller-manager may bind the claim to a volume that exists. If a volume was created for the claim all the
// same, one of the two would be left over, and stay for good where its reclaim policy is Retain.
func inPlay(claim *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume) bool {
	for _, volume := range volumes {
		if matches(volume, claim) {
			return true
		}
	}
	return false
}

// matches is how the controller-manager matches (component-helpers, FindMatchingVolume), except that whatever a volume does not tell counts
// for it, and so does that it is about to become available. A volume reserved for the claim counts however it is: its owner meant it.
func matches(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	switch {
	case volume.DeletionTimestamp != nil, !unused(volume):
		return false
	case volume.Spec.ClaimRef != nil:
		return reservedFor(volume, claim)
	}
	return volumehelpers.GetPersistentVolumeClass(volume) == volumehelpers.GetPersistentVolumeClaimClass(claim) &&
		sameMode(volume.Spec.VolumeMode, claim.Spec.VolumeMode) &&
		ptr.Deref(volume.Spec.VolumeAttributesClassName, "") == ptr.Deref(claim.Spec.VolumeAttributesClassName, "") &&
		(len(volume.Spec.AccessModes) == 0 || volumehelpers.CheckAccessModes(claim, volume)) &&
		largeEnough(volume, claim)
}

// unused: it is Available, or new and on its way there.
func unused(volume *corev1.PersistentVolume) bool {
	phase := volume.Status.Phase
	return phase == corev1.VolumeAvailable || phase == corev1.VolumePending || phase == ""
}

// reservedFor: a reference with a UID is to one claim only, and one that is being created has none yet.
func reservedFor(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	ref := volume.Spec.ClaimRef
	return ref.Namespace == claim.Namespace && ref.Name == claim.Name && (ref.UID == "" || ref.UID == claim.UID)
}

func sameMode(one, other *corev1.PersistentVolumeMode) bool {
	return one == nil || other == nil || *one == *other
}

func largeEnough(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	have, told := volume.Spec.Capacity[corev1.ResourceStorage]
	want := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	return !told || have.Cmp(want) >= 0
}
