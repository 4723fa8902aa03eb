//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestClaimIsClonedFromAnother(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	s.claim("original", class)
	_, original := s.bound("original")
	handle := original.Spec.CSI.VolumeHandle
	s.delay(handle)

	ready := time.Now()
	claim := s.claim("clone", class, harness.FromClaim("original"))
	s.meanwhile(claim, handle, func() {
		if !s.protected(claimNamed("original")) {
			t.Error("the claim may be deleted while it is cloned")
		}
	})
	_, volume := s.bound("clone")
	want := &harness.ContentSource{Volume: &harness.SourceVolume{VolumeID: handle}}
	if diff := cmp.Diff(want, s.asked(claim).VolumeContentSource); diff != "" {
		t.Errorf("source of the volume (-want +got):\n%s", diff)
	}
	wantStored(s, claim, volume)
	s.released(claimNamed("original"))
	wantProtected(s, claimNamed("original"), ready, s.calls(harness.CreateVolume, volumeName(claim)))
	s.leavesNothing(claim)
}

func TestCloneMustNotBeSmallerThanItsSource(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	s.claim("original", class, harness.Size("3Gi"))
	s.bound("original")
	claim := s.claim("clone", class, harness.FromClaim("original"), harness.Size("2Gi"))
	s.told("clone", "ProvisioningFailed", "3Gi", "2Gi")
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Errorf("CreateVolume was called %d times, want never", len(calls))
	}
	if s.protected(claimNamed("original")) {
		t.Error("the source is protected, but nothing is made from it")
	}
}
