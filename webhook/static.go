package webhook

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-csi/berth/internal/static"
)

// inPlay reports whether the controller-manager may bind the claim to a volume that exists. If a volume was created for the claim all the
// same, one of the two would be left over, and stay for good where its reclaim policy is Retain.
func inPlay(claim *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume) bool {
	return slices.ContainsFunc(volumes, func(volume *corev1.PersistentVolume) bool { return static.Match(volume, claim) })
}
