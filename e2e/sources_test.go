//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestClaimIsRestoredFromASnapshot(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	s.claim("original", class, harness.Size("2Gi"))
	s.bound("original")
	snapshot := s.take("snap", "original")
	s.delay(snapshot.Handle())

	ready := time.Now()
	claim := s.claim("restored", class, harness.FromSnapshot("snap"), harness.Size("3Gi"))
	s.meanwhile(claim, snapshot.Handle(), func() {
		if !s.protected(snapshotNamed("snap")) {
			t.Error("the snapshot may be deleted while the volume is made from it")
		}
	})
	_, volume := s.bound("restored")
	want := &harness.ContentSource{Snapshot: &harness.SourceSnapshot{SnapshotID: snapshot.Handle()}}
	if diff := cmp.Diff(want, s.asked(claim).VolumeContentSource); diff != "" {
		t.Errorf("source of the volume (-want +got):\n%s", diff)
	}
	wantStored(s, claim, volume)
	s.released(snapshotNamed("snap"))
	wantProtected(s, snapshotNamed("snap"), ready, s.calls(harness.CreateVolume, volumeName(claim)))
	s.leavesNothing(claim)
}

func TestVolumeModeIsConvertedOnlyWithPermission(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	s.claim("original", class)
	s.bound("original")
	snapshot := s.take("snap", "original")

	claim := s.claim("raw", class, harness.FromSnapshot("snap"), harness.Block)
	s.told("raw", "ProvisioningFailed", snapshot.Content.Name, harness.AllowModeChange)
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Errorf("CreateVolume was called %d times without permission", len(calls))
	}
	_, err := s.snapshots().API.SnapshotV1().VolumeSnapshotContents().Patch(t.Context(), snapshot.Content.Name, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, harness.AllowModeChange), metav1.PatchOptions{})
	must(t, err)
	_, volume := s.bound("raw")
	if mode := volume.Spec.VolumeMode; mode == nil || *mode != corev1.PersistentVolumeBlock {
		t.Errorf("volume mode is %v, want Block", mode)
	}
	request := s.asked(claim)
	if request.VolumeCapabilities[0].Block == nil || request.VolumeContentSource == nil {
		t.Errorf("the driver was asked for %+v, want a block volume from the snapshot", request)
	}
	wantStored(s, claim, volume)
}

func TestClaimOfAPopulatorIsLeftToIt(t *testing.T) {
	s := inSharedWorld(t)
	claim := s.claim("data", s.class(), harness.From(harness.Source{Group: "example.com", Kind: "Recipe", Name: "cake"}))
	s.told("data", "Provisioning", "Recipe", "cake")
	for _, value := range []string{"once", "twice"} {
		s.annotate("data", "example.com/stirred", value)
	}
	s.fence()
	if events := s.events("data"); len(events) != 1 || events[0].Count > 1 {
		t.Errorf("events are %+v, want one", events)
	}
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Errorf("CreateVolume was called %d times, want never", len(calls))
	}
	if phase := s.phase("data"); phase != corev1.ClaimPending {
		t.Errorf("the claim is %s, want Pending", phase)
	}
}

// wantStored checks that a volume's object is of the volume that the driver made.
func wantStored(s *story, claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume) {
	s.t.Helper()
	made := s.volumesNamed(volumeName(claim))
	if len(made) != 1 {
		s.t.Fatalf("the driver has %v, want one volume", made)
	}
	if got := volume.Spec.CSI.VolumeHandle; got != made[0].ID {
		s.t.Errorf("volume handle is %q, want %q", got, made[0].ID)
	}
	if got := volume.Spec.Capacity.Storage().Value(); got != made[0].CapacityBytes {
		s.t.Errorf("capacity is %d, want %d", got, made[0].CapacityBytes)
	}
	if ref := volume.Spec.ClaimRef; ref == nil || ref.UID != claim.UID {
		s.t.Errorf("the volume is for %v, want the claim", ref)
	}
	if by := volume.Annotations[provisionedBy]; by != s.Driver.Name {
		s.t.Errorf("the volume was provisioned by %q, want %q", by, s.Driver.Name)
	}
}

// snapshots makes snapshots of the driver's volumes.
func (s *story) snapshots() *harness.Snapshotter {
	s.t.Helper()
	snapshotter, err := harness.NewSnapshotter(s.ControlPlane, s.Driver)
	must(s.t, err)
	return snapshotter
}

// take makes a snapshot of a bound claim's volume.
func (s *story) take(name, claim string, edits ...func(*harness.Snapshot)) *harness.Snapshot {
	s.t.Helper()
	snapshot, err := s.snapshots().Take(s.t.Context(), s.namespace, name, claim, edits...)
	must(s.t, err)
	return snapshot
}

// delay makes the driver take its time over the first volume from a source.
func (s *story) delay(handle string) {
	s.t.Helper()
	must(s.t, s.Driver.AddFault(s.t.Context(), harness.Fault{Method: harness.CreateVolume, Match: handle, Times: 1, Latency: "2s"}))
}

// meanwhile looks while the driver is at a claim's volume, which delay has slowed down.
func (s *story) meanwhile(claim *corev1.PersistentVolumeClaim, handle string, look func()) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "the driver is at it", func(ctx context.Context) error {
		faults, err := s.Driver.Faults(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(faults, func(fault harness.FaultUsage) bool { return fault.Match == handle && fault.Used == 1 }) {
			return fmt.Errorf("its faults are %+v", faults)
		}
		return nil
	}))
	look()
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		s.t.Fatal("the driver was done before the test had looked")
	}
}
