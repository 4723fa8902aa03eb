//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// impatient shortens what has to pass before a call of unknown outcome is repeated.
func impatient(options *harness.WorldOptions) {
	berthFlags("--timeout=2s", "--retry-interval-start=100ms", "--retry-interval-max=1s")(options)
}

func TestUnknownOutcomeIsFoundOutWithTheSameRequest(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]harness.Fault{
		"the answer is lost":                 {Action: "lost", Code: "DeadlineExceeded"},
		"the driver hangs":                   {Action: "hang"},
		"the connection drops after the act": {Action: "drop"},
		"the connection drops before it":     {Action: "drop-before"},
		"the driver is not to be reached":    {Action: "error", Code: "Unavailable"},
		"the driver is still at it":          {Action: "error", Code: "Aborted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fault.Method, fault.Times = harness.CreateVolume, 2
			s := inOwnWorld(t, "unknown", impatient, driverFaults(fault))
			s.claim("data", s.class())
			claim, volume := s.bound("data")

			calls := s.calls(harness.CreateVolume, volumeName(claim))
			if len(calls) != 3 {
				t.Errorf("CreateVolume was called %d times, want 3: twice in vain, then with success", len(calls))
			}
			wantSameRequests(t, calls)
			volumes, err := s.Driver.Volumes(t.Context())
			must(t, err)
			if len(volumes) != 1 || volumes[0].ID != volume.Spec.CSI.VolumeHandle {
				t.Errorf("the driver has %v, want volume %s alone", volumes, volume.Spec.CSI.VolumeHandle)
			}
		})
	}
}

func TestClaimDeletedWhileTheOutcomeIsUnknownLeavesNoVolume(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "orphan", impatient, driverFaults(harness.Fault{
		Method: harness.CreateVolume, Action: "lost", Code: "DeadlineExceeded",
	}))
	claim := s.claim("data", s.class())
	must(t, harness.Eventually(t.Context(), "the volume exists and its answer is lost", func(context.Context) error {
		if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) < 2 {
			return fmt.Errorf("CreateVolume was called %d times", len(calls))
		}
		return nil
	}))
	if volumes := s.volumesNamed(volumeName(claim)); len(volumes) != 1 {
		t.Fatalf("the driver has %v, want one volume", volumes)
	}

	s.drop("data")
	_, err := harness.WatchClaims(t.Context(), s.Client(), s.namespace, func(claims harness.Seen[*corev1.PersistentVolumeClaim]) bool {
		return len(claims) == 0
	})
	must(t, err)
	must(t, s.Driver.ClearFaults(t.Context()))
	check(t, harness.Eventually(t.Context(), "the volume is gone", func(ctx context.Context) error {
		volumes, err := s.Driver.Volumes(ctx)
		if err != nil {
			return err
		}
		if len(volumes) != 0 {
			return fmt.Errorf("the driver has %v; Berth's log ends with:\n%s", volumes, s.Berth.LogTail(10))
		}
		return nil
	}))
	must(t, s.WaitVolumesGone(t.Context(), volumeName(claim)))

	wantSameRequests(t, s.calls(harness.CreateVolume, volumeName(claim)))
}

// wantSameRequests checks that every call asked for exactly what the first one did.
func wantSameRequests(t *testing.T, calls []harness.Call) {
	t.Helper()
	for i := range calls {
		if !calls[i].SameRequest(calls[0]) {
			t.Errorf("request %d differs from the first:\n%s\n%s", i+1, calls[0].Request, calls[i].Request)
		}
	}
}
