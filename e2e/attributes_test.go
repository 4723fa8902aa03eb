//go:build e2e

package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestVolumeGetsTheAttributesOfItsClass(t *testing.T) {
	s := inSharedWorld(t)
	parameters := map[string]string{"iops": "3000", "tier": "gold"}
	gold := s.attributes(s.namespace+"-gold", s.Driver.Name, parameters)
	s.claim("data", s.class(), harness.WithAttributes(gold))
	claim, volume := s.bound("data")
	request := s.asked(claim)
	if diff := cmp.Diff(parameters, request.MutableParameters); diff != "" {
		t.Errorf("mutable parameters (-want +got):\n%s", diff)
	}
	if len(request.Parameters) != 0 {
		t.Errorf("parameters are %v, want none", request.Parameters)
	}
	if got := volume.Spec.VolumeAttributesClassName; got == nil || *got != gold {
		t.Errorf("attributes class of the volume is %v, want %s", got, gold)
	}
	wantStored(s, claim, volume)
	s.leavesNothing(claim)
}

func TestAttributesClassOfAnotherDriverIsRefused(t *testing.T) {
	s := inSharedWorld(t)
	foreign := s.attributes(s.namespace+"-foreign", "other.csi.example.com", map[string]string{"iops": "3000"})
	claim := s.claim("data", s.class(), harness.WithAttributes(foreign))
	s.told("data", "ProvisioningFailed", foreign, "other.csi.example.com", s.Driver.Name)
	s.fence()
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Errorf("CreateVolume was called %d times, want never", len(calls))
	}
}

// attributes creates a VolumeAttributesClass and returns its name.
func (s *story) attributes(name, driver string, parameters map[string]string) string {
	s.t.Helper()
	_, err := s.Client().StorageV1().VolumeAttributesClasses().
		Create(s.t.Context(), harness.VolumeAttributesClass(name, driver, parameters), metav1.CreateOptions{})
	must(s.t, err)
	return name
}
