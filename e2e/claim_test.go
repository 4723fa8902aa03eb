//go:build e2e

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestBlockClaimGetsABlockVolume(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("disk", s.class(), harness.Block)
	claim, volume := s.bound("disk")
	if mode := volume.Spec.VolumeMode; mode == nil || *mode != corev1.PersistentVolumeBlock {
		t.Errorf("volume mode is %v, want Block", mode)
	}
	if fsType := volume.Spec.CSI.FSType; fsType != "" {
		t.Errorf("file system of a block volume is %q, want none", fsType)
	}
	calls := s.calls(harness.CreateVolume, volumeName(claim))
	if len(calls) != 1 {
		t.Fatalf("CreateVolume was called %d times, want once", len(calls))
	}
	request, err := calls[0].CreateVolume()
	must(t, err)
	if len(request.VolumeCapabilities) != 1 || request.VolumeCapabilities[0].Block == nil || request.VolumeCapabilities[0].Mount != nil {
		t.Errorf("volume capabilities are %+v, want one for block", request.VolumeCapabilities)
	}
}

func TestClaimThatAsksForTooMuchSaysWhyAndHoldsNobodyUp(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	claim := s.claim("whale", class, harness.Size("50Ti"))
	event, err := s.WaitEvent(t.Context(), s.namespace, "whale", "ProvisioningFailed")
	must(t, err)
	if event.Type != corev1.EventTypeWarning {
		t.Errorf("the event is of type %s, want Warning", event.Type)
	}

	calls := s.calls(harness.CreateVolume, volumeName(claim))
	if len(calls) == 0 {
		t.Fatal("the driver was not asked")
	}
	if code := calls[0].Code; code != "OutOfRange" && code != "ResourceExhausted" {
		t.Errorf("the driver answered %s, want a word about size", code)
	}
	if calls[0].Error == "" || !strings.Contains(event.Message, calls[0].Error) {
		t.Errorf("the event says %q, which does not hold what the driver said: %q", event.Message, calls[0].Error)
	}
	for _, noise := range []string{"goroutine", "0x", "&{", "%!"} {
		if strings.Contains(event.Message, noise) {
			t.Errorf("the event is not for people: %q", event.Message)
		}
	}

	s.claim("minnow", class)
	s.bound("minnow")
	if phase := s.phase("whale"); phase != corev1.ClaimPending {
		t.Errorf("the claim is %s, want Pending", phase)
	}
	if volumes := s.volumesNamed(volumeName(claim)); len(volumes) != 0 {
		t.Errorf("the driver has %v, want nothing", volumes)
	}
}
