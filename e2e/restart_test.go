//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/berth-csi/berth/e2e/harness"
)

// slow makes two hundred volumes take some seconds, so that there is a middle to break something in.
func slow(options *harness.WorldOptions) {
	driverFaults(harness.Fault{Method: harness.CreateVolume, Latency: "40ms", Jitter: "40ms"})(options)
	berthFlags("--worker-threads=6", "--retry-interval-start=200ms", "--retry-interval-max=5s")(options)
}

// These stories are not parallel: one takes the control plane away from all, and the others are enough work for the
// binder that whoever comes beside them would wait.

func TestAPIServerRestartLosesNoVolume(t *testing.T) {
	s := inOwnWorld(t, "apiserver", slow)
	berth := s.Berth.PID()
	claims := s.claims(s.class(), many)
	inTheMiddle(s)
	must(t, s.ControlPlane.Kill(t.Context(), harness.APIServer))
	must(t, s.ControlPlane.Start(t.Context(), harness.APIServer))
	wantAccounted(s, claims)
	wantStillRunning(s, berth)
	wantToldOnce(s) // also those whose event was on its way
}

func TestDriverRestartLosesNoVolume(t *testing.T) {
	s := inOwnWorld(t, "driver", slow)
	berth := s.Berth.PID()
	claims := s.claims(s.class(), many)
	inTheMiddle(s)
	s.Driver.Kill()
	must(t, s.Driver.Start(t.Context()))
	wantAccounted(s, claims)
	wantStillRunning(s, berth)
}

func TestBerthRestartLosesNoVolume(t *testing.T) {
	s := inOwnWorld(t, "berth", slow)
	claims := s.claims(s.class(), many)
	inTheMiddle(s)
	must(t, s.Berth.Restart(t.Context()))
	wantAccounted(s, claims)
	// It finished what it had begun, so nothing had to be asked for again.
	wantCalls(s, harness.CreateVolume, many)
}

func TestBerthCrashLosesNoVolume(t *testing.T) {
	s := inOwnWorld(t, "crash", slow)
	claims := s.claims(s.class(), many)
	inTheMiddle(s)
	s.Berth.Kill()
	must(t, s.Berth.Start(t.Context()))
	wantAccounted(s, claims)
}

// inTheMiddle waits until a good part of the volumes has been made, and makes sure that as good a part has not.
func inTheMiddle(s *story) {
	s.t.Helper()
	made := 0
	must(s.t, harness.Eventually(s.t.Context(), "a quarter of the volumes exists", func(ctx context.Context) error {
		counts, err := s.Driver.CallCounts(ctx)
		if err != nil {
			return err
		}
		if made = counts[harness.CreateVolume]; made < many/4 {
			return fmt.Errorf("%d volumes exist", made)
		}
		return nil
	}))
	s.t.Logf("broken after %d of %d volumes", made, many)
	if made > many*9/10 {
		s.t.Errorf("%d of %d volumes exist: too late to be the middle", made, many)
	}
}

// wantStillRunning checks that Berth has lived through it.
func wantStillRunning(s *story, pid int) {
	s.t.Helper()
	if !s.Berth.Running() || s.Berth.PID() != pid {
		s.t.Errorf("Berth has ended; its log ends with:\n%s", s.Berth.LogTail(10))
	}
}
