package provisioner

import (
	"context"
	"fmt"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

const (
	// permissionInterval is how often it is found out anew whether we may bind; nodePermissionInterval, where thousands of nodes ask.
	permissionInterval     = 5 * time.Minute
	nodePermissionInterval = time.Hour
	// refusalInterval is how soon it is looked at again after a refusal. It doubles with each one: an API server that has just started refuses
	// everybody, a role that lacks something does so for long.
	refusalInterval = 10 * time.Second
	// lostPause is how long nothing is bound after the binder has called a claim of ours Lost: it is further behind than we can tell.
	lostPause = 10 * time.Minute
)

// express says whether claims are bound by us now.
type express struct {
	enabled  bool          // --express-binding
	interval time.Duration // between two looks
	refused  chan struct{} // 1; a write was refused, so the next look is due earlier
	now      func() time.Time

	mu       sync.Mutex
	denied   string    // what we may not do; empty: nothing that we know of
	refusals int       // in a row
	paused   time.Time // until when the binder is left alone
}

func newExpress(enabled bool) *express {
	return &express{enabled: enabled, interval: permissionInterval, refused: make(chan struct{}, 1), now: time.Now}
}

// on reports whether claims are bound by us.
func (e *express) on() bool { return e.enabled && e.off() == "" }

// off is the reason why claims are not bound by us now; empty: there is none.
func (e *express) off() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.denied != "":
		return LeftForbidden
	case e.now().Before(e.paused):
		return LeftLost
	}
	return ""
}

// judge takes an answer to whether we may bind; denied is empty if we may. It reports whether that is news.
func (e *express) judge(denied string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	news := (e.denied == "") != (denied == "")
	e.denied = denied
	if denied == "" {
		e.refusals = 0
	} else {
		e.refusals++
	}
	if news && denied != "" {
		select {
		case e.refused <- struct{}{}:
		default:
		}
	}
	return news
}

// again is when to find out anew.
func (e *express) again() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refusals == 0 {
		return e.interval
	}
	return min(refusalInterval<<min(e.refusals-1, 16), e.interval)
}

// pause leaves the binder alone for a while. It reports whether that is news.
func (e *express) pause() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	news := e.now().After(e.paused)
	e.paused = e.now().Add(lostPause)
	return news
}

// bindingNeeds are the permissions that binding takes, beside those for provisioning.
var bindingNeeds = []authorizationv1.ResourceAttributes{
	{Verb: "patch", Resource: "persistentvolumeclaims"},
	{Verb: "patch", Resource: "persistentvolumeclaims", Subresource: "status"},
	{Verb: "patch", Resource: "persistentvolumes", Subresource: "status"},
}

// watchPermissions finds out, now and then, whether we may bind, until ctx ends. An answer that cannot be had changes nothing: the next write
// tells as well.
func (c *Controller) watchPermissions(ctx context.Context) {
	if !c.express.enabled {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.express.refused:
		case <-timer.C:
			if denied, err := c.bindingDenied(ctx); err != nil {
				klog.FromContext(ctx).V(2).Info("Could not find out whether claims may be bound", "err", err)
			} else {
				c.allowedToBind(ctx, denied)
			}
		}
		timer.Reset(c.express.again())
	}
}

// bindingDenied asks the API server for the first of bindingNeeds that is not granted; empty: all are.
func (c *Controller) bindingDenied(ctx context.Context) (string, error) {
	for i := range bindingNeeds {
		call, cancel := context.WithTimeout(ctx, apiTimeout)
		review, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(call, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &bindingNeeds[i]},
		}, metav1.CreateOptions{})
		cancel()
		if err != nil {
			return "", err
		}
		if !review.Status.Allowed {
			need := bindingNeeds[i]
			if need.Subresource != "" {
				need.Resource += "/" + need.Subresource
			}
			return fmt.Sprintf("%s of %s is not granted", need.Verb, need.Resource), nil
		}
	}
	return "", nil
}

// allowedToBind takes note of whether we may bind, and says so if that is news.
func (c *Controller) allowedToBind(ctx context.Context, denied string) {
	if !c.express.judge(denied) {
		return
	}
	if denied == "" {
		klog.FromContext(ctx).Info("Claims are bound here again")
		c.reviewBindings()
	} else {
		klog.FromContext(ctx).Info("Claims are left to the controller-manager to bind, which may take it long; grant the permission to have them bound at once", "why", denied)
	}
}
