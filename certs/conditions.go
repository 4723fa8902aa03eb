package certs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

// ConditionsConfig describes what is written to webhook configurations when somebody else tells API servers whom to trust.
type ConditionsConfig struct {
	Client        kubernetes.Interface
	Mutating      []string // webhook configurations to keep: all webhooks in them are this server's
	Validating    []string
	FieldManager  string                                     // what the names of our field managers begin with
	Condition     func(configuration, webhook string) string // as SelfManagedConfig has it
	ConditionName string
	Registry      prometheus.Registerer
}

// Validate checks the configuration.
func (c *ConditionsConfig) Validate() error {
	var problems []error
	if c.FieldManager == "" {
		problems = append(problems, errors.New("a field manager is required"))
	}
	if c.Condition == nil || c.ConditionName == "" {
		problems = append(problems, errors.New("the match condition needs a name, and somebody who knows it"))
	}
	return errors.Join(problems...)
}

// Conditions keeps the match conditions of webhooks whose certificate comes from elsewhere. It never touches caBundle.
type Conditions struct {
	config  ConditionsConfig
	metrics *metrics
	refresh refresh
}

// NewConditions makes a keeper of match conditions.
func NewConditions(config ConditionsConfig) (*Conditions, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("match conditions: %w", err)
	}
	return &Conditions{config: config, metrics: newInjectionMetrics(config.Registry), refresh: make(refresh, 1)}, nil
}

// Refresh says that what Condition answers may have changed.
func (c *Conditions) Refresh() { c.refresh.say() }

// Lead keeps the conditions until ctx ends. Only the leader may call it: two at a time do not harm, but get in each other's way.
func (c *Conditions) Lead(ctx context.Context) error {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithName("match-conditions"))
	injector := newInjector(c.config, c.metrics)
	loop := newLoop("match-conditions", func(ctx context.Context, _ task) worker.Result { return injector.writeConditions(ctx) })
	if err := injector.onChange(wakes(loop, taskConditions)); err != nil {
		return err
	}
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { injector.watch(ctx) })
	others.Go(func() { c.refresh.passOn(ctx, loop) })
	seen, cancel := context.WithTimeout(ctx, patience)
	cache.WaitForCacheSync(seen.Done(), injector.synced)
	cancel()
	loop.Enqueue(taskConditions)
	loop.Run(ctx)
	return nil
}

// refresh remembers that somebody asked for the conditions to be looked at, once however often that was.
type refresh chan struct{}

func (r refresh) say() {
	select {
	case r <- struct{}{}:
	default:
	}
}

// passOn wakes the upkeep of conditions each time.
func (r refresh) passOn(ctx context.Context, loop *worker.Loop[task]) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r:
			loop.Wake(taskConditions)
		}
	}
}
