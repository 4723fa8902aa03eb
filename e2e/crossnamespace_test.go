//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestSourceInAnotherNamespaceTakesAGrant(t *testing.T) {
	t.Parallel()
	grants, err := harness.InstallReferenceGrants(t.Context(), shared.ControlPlane)
	must(t, err)
	world := inOwnWorld(t, "across", patient, berthFlags("--feature-gates=CrossNamespaceVolumeDataSource=true")).World
	grant := func(owner *story, to harness.Grant) {
		owner.t.Helper()
		_, err := grants.GatewayV1beta1().ReferenceGrants(owner.namespace).
			Create(owner.t.Context(), harness.ReferenceGrant(owner.namespace, "grant", to), metav1.CreateOptions{})
		must(owner.t, err)
	}

	t.Run("a snapshot that is granted", func(t *testing.T) {
		t.Parallel()
		s, owner := newStory(t, world), newStory(t, world)
		class := s.class()
		owner.claim("original", class)
		owner.bound("original")
		snapshot := owner.take("snap", "original")
		grant(owner, harness.Grant{From: s.namespace, Group: harness.SnapshotGroup, Kind: "VolumeSnapshot"})

		ready := time.Now()
		claim := s.claim("data", class, harness.From(harness.SnapshotSource(owner.namespace, "snap")))
		_, volume := s.bound("data")
		want := &harness.ContentSource{Snapshot: &harness.SourceSnapshot{SnapshotID: snapshot.Handle()}}
		if diff := cmp.Diff(want, s.asked(claim).VolumeContentSource); diff != "" {
			t.Errorf("source of the volume (-want +got):\n%s", diff)
		}
		wantStored(s, claim, volume)
		owner.released(snapshotNamed("snap"))
		wantProtected(owner, snapshotNamed("snap"), ready, s.calls(harness.CreateVolume, volumeName(claim)))
	})

	t.Run("a claim that is granted later", func(t *testing.T) {
		t.Parallel()
		s, owner := newStory(t, world), newStory(t, world)
		class := s.class()
		owner.claim("original", class)
		_, original := owner.bound("original")

		claim := s.claim("data", class, harness.From(harness.ClaimSource(owner.namespace, "original")))
		s.told("data", "ProvisioningFailed", "ReferenceGrant", owner.namespace, "original")
		grant(owner, harness.Grant{From: owner.namespace, Kind: "PersistentVolumeClaim"}) // which is the wrong namespace
		s.fence()
		if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
			t.Fatalf("CreateVolume was called %d times without a grant", len(calls))
		}
		must(t, grants.GatewayV1beta1().ReferenceGrants(owner.namespace).Delete(t.Context(), "grant", metav1.DeleteOptions{}))
		grant(owner, harness.Grant{From: s.namespace, Kind: "PersistentVolumeClaim", Name: "original"})
		_, volume := s.bound("data")
		want := &harness.ContentSource{Volume: &harness.SourceVolume{VolumeID: original.Spec.CSI.VolumeHandle}}
		if diff := cmp.Diff(want, s.asked(claim).VolumeContentSource); diff != "" {
			t.Errorf("source of the volume (-want +got):\n%s", diff)
		}
		wantStored(s, claim, volume)
		owner.released(claimNamed("original"))
	})
}

func TestSourceInAnotherNamespaceTakesTheGate(t *testing.T) {
	s := inSharedWorld(t)
	claim := s.claim("data", s.class(), harness.From(harness.ClaimSource("elsewhere", "original")))
	s.told("data", "ProvisioningFailed", "CrossNamespaceVolumeDataSource", "elsewhere")
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Errorf("CreateVolume was called %d times, want never", len(calls))
	}
}
