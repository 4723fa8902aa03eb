//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// A claim that is made with the annotations that admission writes may be bound to a volume that exists by the controller-manager, and given a new one by us,
// in the same moment. It gets the volume that exists, and no other is created.
func TestAdmissionStaticVolumeRace(t *testing.T) {
	s := inSharedWorld(t)
	s.takeShelves(s.class(harness.Retain), // what is left over would stay
		harness.Annotation("volume.kubernetes.io/storage-provisioner", s.Driver.Name),
		harness.Annotation("volume.beta.kubernetes.io/storage-provisioner", s.Driver.Name))
}

// takeShelves creates claims of a class, each when there is a volume for it, and checks that they get those and that no other is created. It
// returns the claims as they were created.
func (s *story) takeShelves(class string, edits ...func(*corev1.PersistentVolumeClaim)) []*corev1.PersistentVolumeClaim {
	s.t.Helper()
	claims := make([]*corev1.PersistentVolumeClaim, tries(s.t, 20))
	for i := range claims {
		name := fmt.Sprintf("data-%d", i)
		shelf := s.shelf(name, class, func(shelf *corev1.PersistentVolume) {
			if i%4 == 3 { // reserved, as people do who want to be sure
				shelf.Spec.ClaimRef = &corev1.ObjectReference{Namespace: s.namespace, Name: name}
			}
		})
		// The next claim must not find the volume of this one free: each has one choice.
		_, err := s.WaitVolumePhase(s.t.Context(), shelf, corev1.VolumeAvailable)
		must(s.t, err)
		claims[i] = s.claim(name, class, edits...)
		_, volume := s.bound(name)
		if volume.Name != shelf {
			s.t.Errorf("claim %s is bound to %s, want %s", name, volume.Name, shelf)
		}
	}
	s.fence() // whatever was to be done for them was done by now
	for _, claim := range claims {
		if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
			s.t.Errorf("the driver was asked for a volume for claim %s, which has one: %v", claim.Name, calls)
		}
	}
	return claims
}

// shelf creates a volume by hand and returns its name.
func (s *story) shelf(name, class string, edits ...func(*corev1.PersistentVolume)) string {
	s.t.Helper()
	volume := harness.Shelf(s.namespace+"-"+name, class, edits...)
	_, err := s.Client().CoreV1().PersistentVolumes().Create(s.t.Context(), volume, metav1.CreateOptions{})
	must(s.t, err)
	return volume.Name
}

// A volume that is there for a claim and that nobody binds it to does not keep it from being provisioned.
func TestVolumeThatIsNotTakenDoesNotHoldUpItsClaim(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	small := s.shelf("small", class, func(shelf *corev1.PersistentVolume) {
		shelf.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("1Mi")
		shelf.Spec.ClaimRef = &corev1.ObjectReference{Namespace: s.namespace, Name: "data"}
	})
	_, err := s.WaitVolumePhase(t.Context(), small, corev1.VolumeAvailable)
	must(t, err)
	s.claim("data", class)
	claim, volume := s.bound("data")
	if volume.Name != volumeName(claim) {
		t.Errorf("the claim is bound to %s, want %s", volume.Name, volumeName(claim))
	}
	s.told("data", "Provisioning", small)
}
