//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// leaseDuration is long, so that nobody loses the lease on a busy machine; it has to be given up to be had.
const leaseDuration = 2 * time.Minute

func withLeaderElection(options *harness.WorldOptions) {
	options.Berth.LeaderElection = true
	berthFlags(leaseFlags()...)(options)
}

func leaseFlags() []string {
	return []string{
		"--leader-election-lease-duration=" + leaseDuration.String(),
		"--leader-election-renew-deadline=" + (leaseDuration / 2).String(),
		"--leader-election-retry-period=1s",
	}
}

func TestTerminationFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "sigterm", withLeaderElection, driverFaults(harness.Fault{
		Method: harness.CreateVolume, Latency: "2s",
	}))
	if holder := s.leaseHolder(); holder == "" {
		t.Error("the lease has no holder although Berth runs")
	}
	claim := s.claim("data", s.class())
	must(t, harness.Eventually(t.Context(), "the call has begun", func(ctx context.Context) error {
		faults, err := s.Driver.Faults(ctx)
		if err != nil {
			return err
		}
		if len(faults) != 1 || faults[0].Used != 1 {
			return fmt.Errorf("the driver's faults are %+v", faults)
		}
		return nil
	}))
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Fatal("the call has ended before Berth was told to")
	}

	exit, err := s.Berth.Stop(t.Context())
	must(t, err)
	if exit != (harness.Exit{}) {
		t.Errorf("Berth ended with %s, want exit code 0; its log ends with:\n%s", exit, s.Berth.LogTail(10))
	}
	if _, err := s.Client().CoreV1().PersistentVolumes().Get(t.Context(), volumeName(claim), metav1.GetOptions{}); err != nil {
		t.Errorf("the volume was made but not recorded: %v", err)
	}
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 1 || calls[0].Code != "OK" {
		t.Errorf("calls are %v, want one that succeeded", calls)
	}
	if holder := s.leaseHolder(); holder != "" {
		t.Errorf("the lease is held by %q, want it released", holder)
	}
}

func TestOnlyTheLeaderProvisionsAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "leader", withLeaderElection, berthFlags("--leader-election-identity=first"))
	must(t, harness.Eventually(t.Context(), "the first leads", func(context.Context) error { return s.wantHolder("first") }))

	// An account of its own, so that the API server can tell the two apart.
	kubeconfig, err := harness.BerthAccount(t.Context(), s.ControlPlane, "berth-"+s.World.Name+"-second")
	must(t, err)
	second, err := s.StartBerth(t.Context(), harness.BerthOptions{
		Name: "second", Kubeconfig: kubeconfig, LeaderElection: true,
		Flags: append(leaseFlags(), "--leader-election-identity=second"),
	})
	must(t, err)
	t.Cleanup(func() {
		_, err := second.Stop(context.Background())
		check(t, err)
	})

	const few = 20
	class := s.class()
	wantAccounted(s, s.claims(class, few))
	wantCalls(s, harness.CreateVolume, few)
	wantMadeBy(s, map[string]int{s.User(): few})

	stopped := time.Now()
	exit, err := s.Berth.Stop(t.Context())
	must(t, err)
	if exit != (harness.Exit{}) {
		t.Errorf("the first ended with %s, want exit code 0", exit)
	}
	must(t, harness.Eventually(t.Context(), "the second leads", func(context.Context) error { return s.wantHolder("second") }))
	pause := time.Since(stopped)
	t.Logf("the second leads %s after the first was told to stop", pause.Round(time.Millisecond))
	if pause > leaseDuration/2 {
		t.Error("the second had to wait for the lease to run out")
	}

	s.claim("late", class)
	s.bound("late")
	wantCalls(s, harness.CreateVolume, few+1)
	wantMadeBy(s, map[string]int{s.User(): few, s.User() + "-second": 1})
}

// leaseHolder is who holds the lease named after the driver; nobody may.
func (s *story) leaseHolder() string {
	s.t.Helper()
	lease := s.lease()
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

func (s *story) lease() *coordinationv1.Lease {
	s.t.Helper()
	name := strings.ReplaceAll(s.Driver.Name, ".", "-")
	var lease *coordinationv1.Lease
	must(s.t, harness.Eventually(s.t.Context(), "the lease exists", func(ctx context.Context) (err error) {
		lease, err = s.Client().CoordinationV1().Leases(harness.BerthNamespace).Get(ctx, name, metav1.GetOptions{})
		return err
	}))
	return lease
}

func (s *story) wantHolder(want string) error {
	s.t.Helper()
	if got := s.leaseHolder(); got != want {
		return fmt.Errorf("the lease is held by %q", got)
	}
	return nil
}

// wantMadeBy checks who has written how many of the driver's volumes.
func wantMadeBy(s *story, want map[string]int) {
	s.t.Helper()
	check(s.t, harness.Eventually(s.t.Context(), "the audit log shows who wrote the volumes", func(context.Context) error {
		writes, err := s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
			return strings.HasPrefix(event.User.Username, s.User()) && event.Verb == "create" &&
				event.ObjectRef.Resource == "persistentvolumes" && event.ResponseStatus.Code == http.StatusCreated
		})
		if err != nil {
			return err
		}
		got := map[string]int{}
		for _, write := range writes {
			got[write.User.Username]++
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("volumes were written by %v, want %v", got, want)
		}
		return nil
	}))
}
