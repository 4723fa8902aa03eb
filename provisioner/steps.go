package provisioner

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-csi/berth/internal/tracing"
	"github.com/berth-csi/berth/internal/worker"
)

// stepName is a part of what provisioning takes, in metrics and traces.
type stepName int

const (
	stepSecrets stepName = iota // read the secret that the class names
	stepProtect                 // put the finalizer on the source
	stepRecord                  // put the attempt on record
	stepCreate                  // CreateVolume, with the wait for its turn
	stepStore                   // write the volume's object
	stepCount
)

// stepNames are the values of the label "step", and the names of spans.
var stepNames = [stepCount]string{"secrets", "protect", "record", "create_volume", "store"}

// step is one that has begun.
type step struct {
	began    time.Time
	observer prometheus.Observer
	span     tracing.Span
}

// begin begins a step. What ctx is used for belongs to it.
func (c *Controller) begin(ctx context.Context, name stepName) (context.Context, step) {
	ctx, span := c.config.Tracer.Start(ctx, stepNames[name])
	return ctx, step{began: time.Now(), observer: c.metrics.steps[name], span: span}
}

func (s step) end(err error) {
	s.observer.Observe(time.Since(s.began).Seconds())
	s.span.End(err)
}

// traceClaim is workClaim as a span.
func (c *Controller) traceClaim(ctx context.Context, key ClaimKey) worker.Result {
	ctx, span := c.config.Tracer.Start(ctx, "claim")
	if !span.Recording() {
		defer span.End(nil)
		return c.workClaim(ctx, key)
	}
	span.Set("k8s.namespace.name", key.Namespace)
	span.Set("k8s.persistentvolumeclaim.name", key.Name)
	span.Set("k8s.persistentvolumeclaim.uid", string(key.UID))
	result := c.workClaim(ctx, key)
	span.Set("berth.next", result.String())
	span.End(nil)
	return result
}

// decide is Decide as a span, which says what was decided.
func (c *Controller) decide(ctx context.Context, in Input) Action {
	_, span := c.config.Tracer.Start(ctx, "decide")
	action := Decide(in)
	if span.Recording() {
		span.Set("berth.action", fmt.Sprintf("%T", action))
	}
	span.End(nil)
	return action
}

// callLimits are how many writes and reads, each with apiTimeout, one piece of work makes at most, with much to spare. A piece that takes longer than
// these and a call to the driver hangs.
const callLimits = 20

// workLimit is how long a piece of work may take between two waits for others.
func workLimit(call time.Duration) time.Duration {
	if call <= 0 {
		return 0
	}
	return call + callLimits*apiTimeout
}

// Stuck is an error if a piece of work hangs in this process. That nobody answers, the driver or the API server, does not count: each call has a limit,
// and waiting for a turn is no work.
func (c *Controller) Stuck() error {
	for _, queue := range c.queues() {
		if err := queue.Stuck(); err != nil {
			return err
		}
	}
	if c.journal != nil {
		return c.journal.Stuck()
	}
	return nil
}

// queue is what is to be known of a worker loop.
type queue interface {
	Name() string
	Oldest() time.Duration
	Stuck() error
}

func (c *Controller) queues() []queue {
	return []queue{c.claimLoop, c.volumeLoop, c.sourceLoop, c.bindLoop, c.events.loop}
}
