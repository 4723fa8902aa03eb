//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// The oldest complaint about the established provisioner: it is killed between the driver's answer and the volume's object, the claim is
// deleted, and the volume stays for ever.
func TestAClaimDeletedWhileBerthIsDeadLeavesNoVolume(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "journal", impatient, driverFaults(harness.Fault{
		// The volume is made, and nobody hears of it.
		Method: harness.CreateVolume, Action: "lost", Code: "DeadlineExceeded",
	}))
	claim := s.claim("data", s.class(), harness.Size("2Gi"))
	s.await("the volume exists", func(context.Context) error {
		if volumes := s.volumesNamed(volumeName(claim)); len(volumes) != 1 {
			return fmt.Errorf("the driver has %v", volumes)
		}
		return nil
	})
	s.Berth.Kill()
	s.drop("data")
	_, err := harness.WatchClaims(t.Context(), s.Client(), s.namespace, func(claims harness.Seen[*corev1.PersistentVolumeClaim]) bool {
		return len(claims) == 0
	})
	must(t, err)

	table := s.journal()
	for _, want := range []string{s.namespace + "/data", volumeName(claim), "claim is gone"} {
		if !strings.Contains(table, want) {
			t.Errorf("berth journal does not tell %q:\n%s", want, table)
		}
	}

	must(t, s.Driver.ClearFaults(t.Context()))
	must(t, s.Berth.Start(t.Context()))
	s.await("the volume is deleted", func(ctx context.Context) error {
		if volumes := s.volumesNamed(volumeName(claim)); len(volumes) != 0 {
			return fmt.Errorf("the driver has %v; Berth's log ends with:\n%s", volumes, s.Berth.LogTail(10))
		}
		return nil
	})
	wantSameRequests(t, s.calls(harness.CreateVolume, volumeName(claim)))

	exit, err := s.Berth.Stop(t.Context())
	if err != nil || exit != (harness.Exit{}) {
		t.Fatalf("Berth ended with %s, %v", exit, err)
	}
	if table := s.journal(); !strings.Contains(table, "Nothing is on record.") {
		t.Errorf("after a clean stop the journal is not empty:\n%s", table)
	}
	must(t, s.Berth.Start(t.Context()))
}

// await waits until f has nothing to complain about.
func (s *story) await(what string, f func(context.Context) error) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), what, f))
}

// journal is what "berth journal" prints about the world's driver.
func (s *story) journal() string {
	s.t.Helper()
	binary, err := harness.Binary("berth")
	must(s.t, err)
	command := exec.CommandContext(s.t.Context(), binary, "journal", "--kubeconfig", s.ControlPlane.Kubeconfig(),
		"--namespace", harness.BerthNamespace, "--driver-name", s.Driver.Name)
	command.Env = []string{} // without KUBECONFIG
	out, err := command.CombinedOutput()
	if err != nil {
		s.t.Fatalf("berth journal: %v\n%s", err, out)
	}
	return string(out)
}
