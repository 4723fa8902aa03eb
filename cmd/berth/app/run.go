package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/metrics"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/errgroup"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/clientgo/leaderelection" // leader_election_master_status
	_ "k8s.io/component-base/metrics/prometheus/restclient"              // rest_client_*
	_ "k8s.io/component-base/metrics/prometheus/workqueue"               // workqueue_*
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/capacity"
	"github.com/berth-csi/berth/internal/diagnostics"
	"github.com/berth-csi/berth/internal/kube"
	"github.com/berth-csi/berth/internal/lead"
	"github.com/berth-csi/berth/internal/memory"
	"github.com/berth-csi/berth/provisioner"
)

// process is one run.
type process struct {
	config   *Config
	calls    atomic.Pointer[driverMetrics]
	registry *prometheus.Registry // all others of ours
	elector  *lead.Elector        // nil: no election
	ready    atomic.Bool          // the caches are filled

	admission atomic.Pointer[admission]              // nil: not prepared yet, or not served
	works     atomic.Pointer[provisioner.Controller] // nil: not prepared yet, or it does not provision
	publishes atomic.Pointer[capacity.Controller]    // nil: not prepared yet, or it publishes no capacity
	stuck     atomic.Bool                            // the log has said so
}

// caches are the informers of all parts.
type caches struct {
	informers.SharedInformerFactory

	start func() // those that were added and do not run yet
}

// Run connects to the driver and the API server, and provisions and admits until ctx ends. What is under way then is finished first. It
// returns when nothing of it is left running, except after a lost lease.
func Run(ctx context.Context, config *Config) error {
	klog.FromContext(ctx).Info("Starting", "version", config.Version, "driver", config.DriverAddress)
	p := &process{config: config, registry: prometheus.NewRegistry()}
	p.calls.Store(newDriverMetrics(false))
	defer p.endTraces(ctx)
	if config.Election != nil {
		p.elector = lead.New(*config.Election)
	}
	if config.Diagnostics.Address == "" {
		beside, stop := context.WithCancel(ctx)
		var keeping sync.WaitGroup
		keeping.Go(func() { memory.Keep(beside) })
		defer keeping.Wait()
		defer stop()
		return p.run(ctx)
	}
	server, err := diagnostics.Listen(p.diagnostics())
	if err != nil {
		return err
	}
	// Health and metrics are served to the very end, also while the last calls finish.
	serveCtx, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	group, runCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		memory.Keep(serveCtx)
		return nil
	})
	group.Go(func() error { return server.Run(serveCtx) })
	group.Go(func() error {
		defer stopServing()
		return p.run(runCtx)
	})
	return group.Wait()
}

// driverMetrics are csi_sidecar_operations_seconds.
type driverMetrics struct{ metrics.CSIMetricsManager }

// newDriverMetrics makes them, for a driver that took over from an in-tree one with the label "migrated". The process's start time comes
// from Kubernetes' own registry; two of them would be an error at each scrape.
func newDriverMetrics(migration bool) *driverMetrics {
	options := []metrics.MetricsManagerOption{metrics.WithProcessStartTime(false)}
	if migration {
		options = append(options, metrics.WithMigration())
	}
	return &driverMetrics{metrics.NewCSIMetricsManagerWithOptions("", options...)}
}

func (p *process) diagnostics() diagnostics.Config {
	config := p.config.Diagnostics
	config.Metrics = prometheus.Gatherers{p.registry, p.callMetrics(), legacyregistry.DefaultGatherer}
	config.Live = []healthz.HealthChecker{healthz.PingHealthz, healthz.NamedCheck("workers", p.checkWorkers)}
	config.Ready = []healthz.HealthChecker{healthz.NamedCheck("caches", func(*http.Request) error {
		if !p.ready.Load() {
			return errors.New("caches are not filled yet")
		}
		return nil
	})}
	if p.config.Admission != nil {
		config.Ready = append(config.Ready, healthz.NamedCheck("admission", func(request *http.Request) error {
			a := p.admission.Load()
			if a == nil {
				return errors.New("not prepared yet")
			}
			return a.check(request)
		}))
	}
	if p.elector != nil {
		config.Live = append(config.Live, healthz.NamedCheck("leader-election", p.elector.Check))
	}
	return config
}

// checkWorkers fails if a piece of work hangs in this process. Neither the driver nor the API server can bring that about: whoever waits for them waits
// for a limited time, or is known to wait. What hangs is in the log, once.
func (p *process) checkWorkers(*http.Request) error {
	var err error
	if controller := p.works.Load(); controller != nil {
		err = controller.Stuck()
	}
	if publisher := p.publishes.Load(); err == nil && publisher != nil {
		err = publisher.Stuck()
	}
	if err != nil && !p.stuck.Swap(true) {
		klog.Background().Error(err, "Something hangs in this process; /livez fails from now on, so that it is started anew")
	}
	return err
}

// tracesTimeout bounds how long the end of the process waits for a collector.
const tracesTimeout = 2 * time.Second

// endTraces sends what was not sent yet.
func (p *process) endTraces(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTimeout)
	defer cancel()
	if err := p.config.Tracer.Shutdown(ctx); err != nil {
		klog.FromContext(ctx).Info("Some traces are lost", "err", err)
	}
}

// callMetrics are the metrics of the calls to the driver, which are made anew once it is known who it is.
func (p *process) callMetrics() prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return p.calls.Load().GetRegistry().Gather() })
}

// run does what this process is for: it provisions, or serves admission, or both beside each other.
func (p *process) run(ctx context.Context) error {
	name, found, err := p.whose(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while waiting
		}
		return err
	}
	if found != nil {
		defer found.conn.Close()
	}
	inTree := provisioner.InTreeName(name)
	trim := kube.Trim
	switch {
	case p.config.Admission != nil:
		trim = kube.TrimForAdmission
	case p.config.NodeName != "":
		of := provisioner.Settings{Driver: found.driver, Node: provisioner.Node{Name: p.config.NodeName, Segment: found.node.Segment}}
		trim = func(driver, inTree string) cache.TransformFunc { return kube.TrimForNode(driver, inTree, of.Elsewhere) }
	}
	// The caches outlive those who read them.
	informersCtx, stopInformers := context.WithCancel(context.WithoutCancel(ctx))
	factory := informers.NewSharedInformerFactoryWithOptions(p.config.Client, 0, informers.WithTransform(trim(name, inTree)))
	defer factory.Shutdown()
	defer stopInformers()
	caches := &caches{SharedInformerFactory: factory, start: func() { factory.StartWithContext(informersCtx) }}

	if p.config.Admission == nil {
		return p.provision(ctx, caches, found, nil)
	}
	of := subject{driver: name, inTree: inTree, topology: p.config.Admission.Topology}
	if found != nil {
		of.topology = found.driver.Topology
	}
	a, err := newAdmission(p.config.Admission, of, factory, p.registry, klog.FromContext(ctx))
	if err != nil {
		return err
	}
	p.admission.Store(a)
	caches.start()
	admit := func(ctx context.Context) error {
		return a.run(ctx, func(ctx context.Context) error { return p.fillCaches(ctx, caches, nil) }, p.upkeep(a))
	}
	if !p.config.Provisioning {
		return admit(ctx)
	}
	return together(ctx, admit, func(ctx context.Context) error { return p.provision(ctx, caches, found, a) })
}

// whose finds out whose driver it is. With admission and a name from the command line nobody waits for the driver: found is nil then.
func (p *process) whose(ctx context.Context) (name string, found *driverConnection, err error) {
	startup, cancel := p.startup(ctx)
	defer cancel()
	switch {
	case p.config.Admission == nil:
	case p.config.DriverName != "":
		return p.config.DriverName, nil, p.awaitAPIServer(startup)
	default:
		klog.FromContext(ctx).Info("Admission waits for the driver's first answer, which tells its name; --driver-name would, too")
	}
	if found, err = p.dial(startup); err != nil {
		return "", nil, err
	}
	if err := p.awaitAPIServer(startup); err != nil {
		_ = found.conn.Close()
		return "", nil, err
	}
	return found.driver.Name, found, nil
}

// upkeep is what admission does about its certificates beside serving; nil: the leader of the provisioners does that.
func (p *process) upkeep(a *admission) func(context.Context) error {
	switch {
	case p.elector == nil:
		return a.keep
	case !p.config.Provisioning:
		return func(ctx context.Context) error { return a.contend(ctx, p.elector) }
	}
	return nil
}

// together runs parts beside each other until all have ended. One that fails has the others end. Only a lost lease does not wait for them:
// another replica may do this one's work already.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	results := make(chan error, len(parts))
	for _, part := range parts {
		go func() { results <- part(ctx) }()
	}
	var first error
	for range parts {
		err := <-results
		if errors.Is(err, lead.ErrLost) {
			return err
		}
		if err != nil {
			stop()
			first = cmp.Or(first, err)
		}
	}
	return first
}

// slowCaches is how long filling the caches may take before a line says what is waited for.
const slowCaches = 10 * time.Second

// fillCaches waits for the informers. What keeps one waiting, most likely a missing permission, is in the log already, once a try.
func (p *process) fillCaches(ctx context.Context, caches *caches, indexed []cache.InformerSynced) error {
	started := time.Now()
	notice := time.AfterFunc(slowCaches, func() {
		klog.FromContext(ctx).Info("Still filling the caches; are all permissions granted?", "waited", slowCaches)
	})
	defer notice.Stop()
	result := caches.WaitForCacheSyncWithContext(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if result.Err != nil {
		return fmt.Errorf("fill the caches: %w", result.Err)
	}
	if !cache.WaitForCacheSync(ctx.Done(), indexed...) {
		return nil
	}
	klog.FromContext(ctx).Info("Caches filled", "after", time.Since(started).Round(time.Millisecond))
	p.ready.Store(true)
	return nil
}
