// Package lead runs something on the one replica that holds a Lease.
//
// It imports nothing of this project.
package lead

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// Config describes an election.
type Config struct {
	Client        kubernetes.Interface // its own, so that no burst of other requests delays a renewal; with a timeout
	Watcher       kubernetes.Interface // the same without a timeout, which would end a watch as well
	Namespace     string
	Identity      string
	Labels        map[string]string
	LeaseDuration time.Duration
	RenewDeadline time.Duration
	RetryPeriod   time.Duration
}

// ErrLost says that the Lease could not be renewed in time. Somebody else may lead now, so the process has to end at once.
var ErrLost = errors.New("lost the leader's lease: another replica may provision now")

// LeaseName is the name of a driver's Lease, as the established provisioner makes it: both must contend for the same one while
// one replaces the other.
func LeaseName(driver string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '-'
	}, driver)
	if strings.HasSuffix(name, "-") {
		name += "X"
	}
	return name
}

// Elector takes part in an election.
type Elector struct {
	config   Config
	watchdog *leaderelection.HealthzAdaptor
}

// watchdogTolerance is how long past its Lease's expiry a leader that believes to lead still counts as healthy.
const watchdogTolerance = 20 * time.Second

// New makes an Elector.
func New(config Config) *Elector {
	return &Elector{config: config, watchdog: leaderelection.NewLeaderHealthzAdaptor(watchdogTolerance)}
}

// Check is a health check: an error if this replica leads and has not renewed its Lease for too long.
func (e *Elector) Check(request *http.Request) error { return e.watchdog.Check(request) }

// Run waits until this replica holds the Lease of the given name, then calls work with a context that ends when ctx does. When work has returned the Lease is
// released, so that another replica takes over at once, and only then. If the Lease is lost meanwhile, Run returns ErrLost
// without waiting for work: what it does from then on may collide with the next leader, and the process must end.
func (e *Elector) Run(ctx context.Context, name string, work func(context.Context) error) error {
	logger := klog.FromContext(ctx).WithName("leader-election")
	started := make(chan struct{})
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: e.config.Namespace, Name: name},
		Client:     e.config.Client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: e.config.Identity},
		Labels:     e.config.Labels,
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: e.config.LeaseDuration,
		RenewDeadline: e.config.RenewDeadline,
		RetryPeriod:   e.config.RetryPeriod,
		// Released by us, when work has finished. The library would release after a failed renewal, too: then another
		// replica leads while this one still works, or this one blocks on the release past the lease's end.
		ReleaseOnCancel: false,
		Name:            name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(started) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	candidate := &candidate{config: e.config, name: name, lock: lock, watch: e.config.Watcher.CoordinationV1().Leases(e.config.Namespace)}
	logger.Info("Waiting for the lease", "lease", types.NamespacedName{Namespace: e.config.Namespace, Name: name}, "identity", e.config.Identity)
	if !candidate.take(klog.NewContext(ctx, logger)) {
		return nil
	}
	e.watchdog.SetLeaderElection(elector)
	defer e.watchdog.SetLeaderElection(nil) // a term that is over is not renewed, and that is no fault
	// The election outlives ctx: the Lease is kept while work finishes.
	electionCtx, stopElection := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logger))
	defer stopElection()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(electionCtx)
	}()
	finished := make(chan error, 1)
	select {
	case <-started:
		logger.Info("Leading")
		go func() { finished <- work(ctx) }()
	case <-ctx.Done():
		finished <- nil
	}
	select {
	case err := <-finished:
		stopElection()
		<-ended
		if releaseErr := e.release(ctx, lock); releaseErr != nil {
			logger.Info("The lease is not released and will expire", "err", releaseErr)
		}
		return err
	case <-ended:
		return ErrLost
	}
}

// releaseTimeout bounds the release: a lease that cannot be released expires.
const releaseTimeout = 2 * time.Second

// release gives the Lease away, if it still is ours.
func (e *Elector) release(ctx context.Context, lock resourcelock.Interface) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	held, _, err := lock.Get(ctx)
	if err != nil {
		return err
	}
	if held.HolderIdentity != e.config.Identity {
		return nil
	}
	now := metav1.Now()
	return lock.Update(ctx, resourcelock.LeaderElectionRecord{
		LeaseDurationSeconds: 1, // the shortest: nobody holds it
		AcquireTime:          now,
		RenewTime:            now,
		LeaderTransitions:    held.LeaderTransitions,
	})
}
