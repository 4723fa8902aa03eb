package app

import (
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

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/diagnostics"
	"github.com/berth-csi/berth/internal/kube"
	"github.com/berth-csi/berth/internal/lead"
	"github.com/berth-csi/berth/provisioner"
	"github.com/berth-csi/berth/topology"
)

// process is one run.
type process struct {
	config   *Config
	calls    atomic.Pointer[driverMetrics]
	registry *prometheus.Registry // all others of ours
	elector  *lead.Elector        // nil: no election
	ready    atomic.Bool          // the caches are filled
}

// Run connects to the driver and the API server, and provisions until ctx ends. What is under way then is finished first. It returns
// when nothing of it is left running, except after a lost lease.
func Run(ctx context.Context, config *Config) error {
	klog.FromContext(ctx).Info("Starting", "version", config.Version, "driver", config.DriverAddress)
	p := &process{config: config, registry: prometheus.NewRegistry()}
	p.calls.Store(newDriverMetrics(false))
	if config.Election != nil {
		p.elector = lead.New(*config.Election)
	}
	if config.Diagnostics.Address == "" {
		return p.run(ctx)
	}
	server, err := diagnostics.Listen(p.diagnostics())
	if err != nil {
		return err
	}
	// Health and metrics are served to the very end, also while the last calls finish.
	serveCtx, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	group, runCtx := errgroup.WithContext(ctx)
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
	config.Live = []healthz.HealthChecker{healthz.PingHealthz}
	config.Ready = []healthz.HealthChecker{healthz.NamedCheck("caches", func(*http.Request) error {
		if !p.ready.Load() {
			return errors.New("caches are not filled yet")
		}
		return nil
	})}
	if p.elector != nil {
		config.Election = healthz.NamedCheck("leader-election", p.elector.Check)
		config.Live = append(config.Live, config.Election)
	}
	return config
}

// callMetrics are the metrics of the calls to the driver, which are made anew once it is known who it is.
func (p *process) callMetrics() prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return p.calls.Load().GetRegistry().Gather() })
}

// run connects, fills the caches, waits to lead, and provisions.
func (p *process) run(ctx context.Context) error {
	conn, driver, err := p.dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while waiting
		}
		return err
	}
	defer conn.Close()
	served := p.attributesServed(ctx)
	if ctx.Err() != nil {
		return nil
	}
	config := p.config.Provisioner(driver, served)

	informersCtx, stopInformers := context.WithCancel(context.WithoutCancel(ctx))
	factory := informers.NewSharedInformerFactoryWithOptions(p.config.Client, 0, informers.WithTransform(kube.Trim(driver.Name, config.Settings.InTree)))
	defer factory.Shutdown()
	defer stopInformers()

	calls := csi.NewController(conn, p.config.DriverTimeout, config.Workers)
	p.registerLimits(calls)
	config.Driver = calls
	config.Informers = factory
	config.Registry = p.registry
	var indexed []cache.InformerSynced
	if config.Settings.Driver.Topology {
		if config.Topology, indexed, err = watchTopology(factory, driver.Name); err != nil {
			return err
		}
	}
	controller, err := provisioner.New(config)
	if err != nil {
		return err
	}
	// Caches are filled before the election, so that a standby takes over without a pause.
	factory.StartWithContext(informersCtx)
	if err := p.fillCaches(ctx, factory, indexed); err != nil || ctx.Err() != nil {
		return err
	}
	p.ready.Store(true)
	var watching sync.WaitGroup
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watching.Go(func() {
		csi.WatchConnection(informersCtx, conn, func() {
			if err := p.sameDriver(informersCtx, conn, driver); err != nil {
				stop(err)
				return
			}
			controller.DriverIsBack()
		})
	})
	defer watching.Wait()
	defer stopInformers()
	if p.elector == nil {
		err = controller.Run(ctx)
	} else {
		err = p.elector.Run(ctx, lead.LeaseName(driver.Name), controller.Run)
	}
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, errDriverChanged) {
		return cause
	}
	return err
}

// watchTopology keeps an index of the cluster's segments. The index is complete when indexed is true.
func watchTopology(factory informers.SharedInformerFactory, driver string) (*topology.Index, []cache.InformerSynced, error) {
	index := topology.NewIndex()
	nodes, err := factory.Core().V1().Nodes().Informer().AddEventHandler(index.NodeEvents())
	if err != nil {
		return nil, nil, fmt.Errorf("watch nodes: %w", err)
	}
	csiNodes, err := factory.Storage().V1().CSINodes().Informer().AddEventHandler(index.CSINodeEvents(driver))
	if err != nil {
		return nil, nil, fmt.Errorf("watch CSINodes: %w", err)
	}
	return index, []cache.InformerSynced{nodes.HasSynced, csiNodes.HasSynced}, nil
}

// slowCaches is how long filling the caches may take before a line says what is waited for.
const slowCaches = 10 * time.Second

// fillCaches waits for the informers. What keeps one waiting, most likely a missing permission, is in the log already, once a try.
func (p *process) fillCaches(ctx context.Context, factory informers.SharedInformerFactory, indexed []cache.InformerSynced) error {
	started := time.Now()
	notice := time.AfterFunc(slowCaches, func() {
		klog.FromContext(ctx).Info("Still filling the caches; are all permissions granted?", "waited", slowCaches)
	})
	defer notice.Stop()
	result := factory.WaitForCacheSyncWithContext(ctx)
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
	return nil
}
