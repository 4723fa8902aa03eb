//go:build e2e

package e2e

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestDeletedClaimTakesItsVolumeAlong(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("data", s.class())
	claim, volume := s.bound("data")
	handle := volume.Spec.CSI.VolumeHandle

	s.drop("data")
	must(t, s.WaitVolumesGone(t.Context(), volume.Name))
	s.fence()
	if left := s.volumesNamed(volumeName(claim)); len(left) != 0 {
		t.Errorf("the driver still has %v", left)
	}
	if calls := s.calls(harness.DeleteVolume, handle); len(calls) != 1 {
		t.Errorf("DeleteVolume was called %d times, want once", len(calls))
	}
}

func TestRetainedVolumeIsKept(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("data", s.class(harness.Retain))
	claim, volume := s.bound("data")
	if got := volume.Spec.PersistentVolumeReclaimPolicy; got != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("reclaim policy is %s, want Retain", got)
	}
	if slices.Contains(volume.Finalizers, berthFinalizer) {
		t.Errorf("finalizers are %v: nothing has to happen before this volume may go", volume.Finalizers)
	}

	s.drop("data")
	_, err := s.WaitVolumePhase(t.Context(), volume.Name, corev1.VolumeReleased)
	must(t, err)
	s.fence()
	_, err = s.WaitVolumePhase(t.Context(), volume.Name, corev1.VolumeReleased)
	must(t, err)
	if kept := s.volumesNamed(volumeName(claim)); len(kept) != 1 {
		t.Errorf("the driver has %v, want the volume", kept)
	}
	if calls := s.calls(harness.DeleteVolume, volume.Spec.CSI.VolumeHandle); len(calls) != 0 {
		t.Errorf("DeleteVolume was called %d times, want never", len(calls))
	}

	// An administrator removes the object; the storage stays, and nothing holds the object.
	must(t, s.Client().CoreV1().PersistentVolumes().Delete(t.Context(), volume.Name, metav1.DeleteOptions{}))
	must(t, s.WaitVolumesGone(t.Context(), volume.Name))
	if kept := s.volumesNamed(volumeName(claim)); len(kept) != 1 {
		t.Errorf("after the object is gone the driver has %v, want the volume", kept)
	}
}
