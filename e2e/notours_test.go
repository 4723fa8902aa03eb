//go:build e2e

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestClaimsOfOtherDriversAreLeftAlone(t *testing.T) {
	s := inSharedWorld(t)
	other := s.class(func(class *storagev1.StorageClass) { class.Provisioner = "other.csi.example.com" })
	claim := s.claim("data", other)
	_, err := s.WaitEvent(t.Context(), s.namespace, "data", "ExternalProvisioning") // the binder has handed it out
	must(t, err)
	s.fence()
	wantLeftAlone(s, claim)
	if phase := s.phase("data"); phase != corev1.ClaimPending {
		t.Errorf("the claim is %s, want Pending", phase)
	}
}

func TestClaimThatNamesItsVolumeIsLeftAlone(t *testing.T) {
	s := inSharedWorld(t)
	claim := s.claim("data", s.class(), func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.VolumeName = "not-there-yet"
	})
	s.fence()
	wantLeftAlone(s, claim)
	if phase := s.phase("data"); phase != corev1.ClaimPending {
		t.Errorf("the claim is %s, want Pending", phase)
	}
}

func TestClaimTakesAMatchingStaticVolume(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	static := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-static"},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: s.Driver.Name, VolumeHandle: "made-by-hand",
			}},
		},
	}
	_, err := s.Client().CoreV1().PersistentVolumes().Create(t.Context(), static, metav1.CreateOptions{})
	must(t, err)
	_, err = s.WaitVolumePhase(t.Context(), static.Name, corev1.VolumeAvailable)
	must(t, err)

	claim := s.claim("data", class)
	_, volume := s.bound("data")
	if volume.Name != static.Name {
		t.Errorf("the claim is bound to %s, want %s", volume.Name, static.Name)
	}
	s.fence()
	wantLeftAlone(s, claim)
}

// wantLeftAlone checks that neither the driver nor the person who looks at the claim has heard of it from Berth.
func wantLeftAlone(s *story, claim *corev1.PersistentVolumeClaim) {
	s.t.Helper()
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		s.t.Errorf("CreateVolume was called %d times, want never", len(calls))
	}
	events, err := harness.ClaimEvents(s.t.Context(), s.Client(), s.namespace, claim.Name)
	must(s.t, err)
	for _, event := range events {
		switch event.Reason {
		case "ExternalProvisioning", "FailedBinding": // the binder's
		default:
			s.t.Errorf("event %s from %s: %s", event.Reason, event.Source.Component, event.Message)
		}
	}
}
