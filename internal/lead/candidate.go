package lead

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// A candidate waits for the Lease and takes it. client-go's elector would look at it once in a retry period, which it stretches to as much as 2.2 times
// that: with the usual settings nobody would provision for 5 to 11 s after a leader has given the Lease away, and as much
// longer than the Lease lasts after one has died. So the candidate watches the Lease: it tries as soon as nobody holds it, and at the moment
// it expires. Who has taken it leaves its renewal to client-go's elector.
type candidate struct {
	config Config
	name   string
	lock   resourcelock.Interface
	watch  coordinationclient.LeaseInterface
	seen   sighting
}

// sighting is a Lease as it was last seen, and since when it has not changed, by this process's clock.
type sighting struct {
	record resourcelock.LeaderElectionRecord
	since  time.Time
}

// left is how long somebody else has the Lease if it does not change any more; 0: it is to be had. The times in the record
// are not looked at, because clocks differ; that is client-go's rule, by which the other replicas go.
func (s sighting) left(identity string, now time.Time) time.Duration {
	if s.record.HolderIdentity == "" || s.record.HolderIdentity == identity {
		return 0
	}
	return max(0, s.since.Add(time.Duration(s.record.LeaseDurationSeconds)*time.Second).Sub(now))
}

// take returns true when this replica holds the Lease, and false when ctx ends before.
func (c *candidate) take(ctx context.Context) bool {
	for ctx.Err() == nil {
		again := time.NewTimer(wait.Jitter(c.config.RetryPeriod, leaderelection.JitterFactor))
		if c.follow(ctx) {
			return true
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
	}
	return false
}

// follow tries at once, and again whenever the Lease seems to be to be had, until it is ours (true) or nobody says any more when it changes. It watches
// before it looks, so that nothing happens unseen in between.
func (c *candidate) follow(ctx context.Context) bool {
	logger := klog.FromContext(ctx)
	changes, err := c.watch.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, c.name).String()})
	if err != nil {
		if ctx.Err() == nil {
			logger.Info("The lease cannot be watched and is looked at now and then, so taking over takes longer; watch on leases may have to be granted", "err", err)
		}
		changes = watch.NewEmptyWatch()
	}
	defer changes.Stop()
	for ctx.Err() == nil {
		took, err := c.try(ctx)
		if err != nil && ctx.Err() == nil {
			logger.Info("The lease cannot be had now", "err", err)
		}
		if took || err != nil {
			return took
		}
		if !c.rest(ctx, changes.ResultChan()) {
			return false
		}
	}
	return false
}

// rest returns true when it is time to try, and false when there is nobody any more who would say so.
func (c *candidate) rest(ctx context.Context, changes <-chan watch.Event) bool {
	for {
		expired := time.NewTimer(c.seen.left(c.config.Identity, time.Now()))
		select {
		case event, open := <-changes:
			expired.Stop()
			lease, ok := event.Object.(*coordinationv1.Lease)
			if !open || !ok { // the end, or an error, which is a Status
				return false
			}
			if event.Type == watch.Deleted {
				return true
			}
			c.see(ctx, *resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec))
		case <-expired.C:
			return true
		case <-ctx.Done():
			expired.Stop()
			return false
		}
	}
}

// see notes what the Lease looks like now.
func (c *candidate) see(ctx context.Context, record resourcelock.LeaderElectionRecord) {
	if !c.seen.since.IsZero() && equality.Semantic.DeepEqual(record, c.seen.record) {
		return
	}
	if holder := record.HolderIdentity; holder != c.seen.record.HolderIdentity && holder != c.config.Identity && holder != "" {
		klog.FromContext(ctx).Info("Another replica leads", "leader", holder)
	}
	c.seen = sighting{record, time.Now()}
}

// try takes the Lease if it is to be had. That somebody else was faster is no error.
func (c *candidate) try(ctx context.Context) (took bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.RenewDeadline)
	defer cancel()
	held, _, err := c.lock.Get(ctx)
	switch {
	case apierrors.IsNotFound(err):
		err = c.lock.Create(ctx, c.mine(0))
	case err == nil:
		c.see(ctx, *held)
		if c.seen.left(c.config.Identity, time.Now()) > 0 {
			return false, nil
		}
		if held.HolderIdentity == c.config.Identity { // this replica's former life; the elector renews it
			return true, nil
		}
		err = c.lock.Update(ctx, c.mine(held.LeaderTransitions+1)) // of what was read: it fails if that has changed
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	return err == nil, err
}

// mine is the record of a term that begins now.
func (c *candidate) mine(transitions int) resourcelock.LeaderElectionRecord {
	now := metav1.Now()
	return resourcelock.LeaderElectionRecord{
		HolderIdentity: c.config.Identity, LeaseDurationSeconds: int(c.config.LeaseDuration / time.Second),
		AcquireTime: now, RenewTime: now, LeaderTransitions: transitions,
	}
}
