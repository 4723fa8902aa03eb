package lead

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection"
)

func TestLeaseNameIsTheEstablishedProvisioners(t *testing.T) {
	for driver, want := range map[string]string{
		"ebs.csi.aws.com": "ebs-csi-aws-com",
		"a/b_c":           "a-b-c",
		"trailing.":       "trailing-X",
		"Upper-Case9":     "Upper-Case9",
		"ümlaut":          "-mlaut",
	} {
		if got := LeaseName(driver); got != want {
			t.Errorf("%q: got %q, want %q", driver, got, want)
		}
	}
}

func config(client *fake.Clientset, identity string) Config {
	return Config{Client: client, Watcher: client, Namespace: "ns", Identity: identity,
		LeaseDuration: time.Second, RenewDeadline: 600 * time.Millisecond, RetryPeriod: 100 * time.Millisecond}
}

func holder(t *testing.T, client *fake.Clientset) string {
	t.Helper()
	lease, err := client.CoordinationV1().Leases("ns").Get(t.Context(), "driver", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

func TestTheLeaseIsHeldUntilWorkHasFinished(t *testing.T) {
	client := fake.NewClientset()
	ctx, cancel := context.WithCancel(t.Context())
	err := New(config(client, "a")).Run(ctx, "driver", func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		<-time.After(1500 * time.Millisecond) // longer than the lease: it has to be renewed meanwhile
		if got := holder(t, client); got != "a" {
			t.Errorf("while work finishes the lease is held by %q", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := holder(t, client); got != "" {
		t.Errorf("afterwards the lease is held by %q, want nobody", got)
	}
}

func TestOnlyOneLeadsAndTheNextTakesOver(t *testing.T) {
	client := fake.NewClientset()
	ctx, cancel := context.WithCancel(t.Context())
	firstLeads, secondLeads := make(chan struct{}), make(chan struct{})
	results := make(chan error, 2)
	go func() {
		results <- New(config(client, "a")).Run(ctx, "driver", func(ctx context.Context) error {
			close(firstLeads)
			<-ctx.Done()
			return nil
		})
	}()
	<-firstLeads
	second, stopSecond := context.WithCancel(t.Context())
	go func() {
		results <- New(config(client, "b")).Run(second, "driver", func(ctx context.Context) error {
			close(secondLeads)
			<-ctx.Done()
			return nil
		})
	}()
	select {
	case <-secondLeads:
		t.Fatal("both lead")
	case <-time.After(500 * time.Millisecond):
	}
	cancel()
	select {
	case <-secondLeads:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody took over")
	}
	stopSecond()
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestALostLeaseEndsEvenWorkThatDoesNot(t *testing.T) {
	client := fake.NewClientset()
	var away atomic.Bool
	client.PrependReactor("*", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		if away.Load() {
			return true, nil, apierrors.NewServiceUnavailable("gone")
		}
		return false, nil, nil
	})
	release := make(chan struct{})
	defer close(release)
	elector := New(config(client, "a"))
	err := elector.Run(t.Context(), "driver", func(context.Context) error {
		away.Store(true)
		<-release
		return nil
	})
	if !errors.Is(err, ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	away.Store(false)
	if got := holder(t, client); got != "a" {
		t.Errorf("a lease that was lost while work goes on was given to %q", got)
	}
}

func TestHealthTellsOfALeaderThatDoesNotRenew(t *testing.T) {
	client := fake.NewClientset()
	var away atomic.Bool
	client.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		if away.Load() {
			<-t.Context().Done() // a renewal that hangs
		}
		return false, nil, nil
	})
	c := config(client, "a")
	elector := New(c)
	elector.watchdog = leaderelection.NewLeaderHealthzAdaptor(0)
	leads := make(chan struct{})
	go elector.Run(t.Context(), "driver", func(ctx context.Context) error { //nolint:errcheck // it hangs to the end of the test
		close(leads)
		<-ctx.Done()
		return nil
	})
	<-leads
	if err := elector.Check(nil); err != nil {
		t.Errorf("a leader that renews: %v", err)
	}
	away.Store(true)
	for deadline := time.Now().Add(10 * time.Second); elector.Check(nil) == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the check stays green")
		}
		<-time.After(50 * time.Millisecond)
	}
}

func TestAStandbyStopsCleanly(t *testing.T) {
	self, seconds, now := "other", int32(3600), metav1.NowMicro()
	client := fake.NewClientset(&coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "driver"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &self, LeaseDurationSeconds: &seconds, RenewTime: &now, AcquireTime: &now},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := New(config(client, "a")).Run(ctx, "driver", func(context.Context) error {
		t.Error("led")
		return nil
	}); err != nil {
		t.Error(err)
	}
	if got := holder(t, client); got != "other" {
		t.Errorf("the lease went to %q", got)
	}
}
