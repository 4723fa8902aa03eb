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

	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	"github.com/prometheus/client_golang/prometheus"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	storageinformers "k8s.io/client-go/informers/storage/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/berth-csi/berth/certs"
	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/lead"
	"github.com/berth-csi/berth/internal/serving"
	"github.com/berth-csi/berth/internal/tracing"
	"github.com/berth-csi/berth/webhook"
)

// AdmissionConfig is everything that serving the webhooks needs, checked. What depends on the driver's name is filled in when that is known.
type AdmissionConfig struct {
	Serving   serving.Config // without the certificate and the handler
	Webhook   webhook.Config // without the driver and what is looked up
	Topology  bool           // whether the driver has topology, until it says so itself
	Enabled   bool           // whether topology is minded at all (feature gate Topology)
	Client    kubernetes.Interface
	Snapshots snapshotclient.Interface
	Grants    gatewayclient.Interface // nil without the gate CrossNamespaceVolumeDataSource

	// Files: the certificate is somebody else's work, and only the match conditions are ours. Otherwise SelfManaged is it. Both are without
	// the Secret's name, the condition and the registry.
	Files       *certs.FilesConfig
	Conditions  certs.ConditionsConfig
	SelfManaged certs.SelfManagedConfig
	SecretName  string // empty: after the Lease
	Tracer      *tracing.Tracer
	// MatchClasses has the leader keep a match condition in the webhooks.
	MatchClasses bool
}

// admission serves the webhooks. Every replica does, whether it leads or not.
type admission struct {
	driver   string
	config   *AdmissionConfig
	source   certs.Source
	keeper   keeper // nil: there is nothing to keep in the cluster
	server   *serving.Server
	classes  cache.InformerSynced
	watches  []func(context.Context) // that run beside the informers
	topology atomic.Bool
}

// keeper does what one replica has to do for all, until ctx ends.
type keeper interface {
	Lead(ctx context.Context) error
	Refresh() // the classes have changed
}

// subject is the driver whose claims are admitted, as far as it is known before it has answered.
type subject struct {
	driver, inTree string
	topology       bool
}

// newAdmission prepares to serve, and adds to the informers what reviews look up.
func newAdmission(config *AdmissionConfig, of subject, factory informers.SharedInformerFactory, registry prometheus.Registerer,
	logger klog.Logger,
) (*admission, error) {
	a := &admission{driver: of.driver, config: config}
	a.topology.Store(config.Enabled && of.topology)
	lookups, err := a.lookups(factory)
	if err != nil {
		return nil, err
	}
	reviews := config.Webhook
	reviews.Driver, reviews.InTree, reviews.Topology = of.driver, of.inTree, a.topology.Load
	reviews.Lookups, reviews.Metrics, reviews.Logger = lookups, registry, logger.WithName("admission")
	if err := reviews.Validate(); err != nil {
		return nil, fmt.Errorf("admission: %w", err)
	}
	if err := a.certificates(factory, registry); err != nil {
		return nil, err
	}
	served := config.Serving
	served.Certificate, served.Handler = a.source, config.Tracer.Handler(webhook.Handler(reviews), "admission")
	if a.server, err = serving.New(served); err != nil {
		return nil, err
	}
	return a, nil
}

// lookups feeds what reviews read.
func (a *admission) lookups(factory informers.SharedInformerFactory) (webhook.Lookups, error) {
	core, storage := factory.Core().V1(), factory.Storage().V1()
	volumes, err := webhook.NewVolumeIndex(core.PersistentVolumes().Informer())
	if err != nil {
		return webhook.Lookups{}, err
	}
	snapshots, contents := datasource.NewSnapshotWatch(a.config.Snapshots, 0), datasource.NewContentWatch(a.config.Snapshots, 0)
	a.watches = append(a.watches, snapshots.Run, contents.Run)
	lookups := webhook.Lookups{
		Classes: storage.StorageClasses().Lister(), Claims: core.PersistentVolumeClaims().Lister(), Volumes: volumes,
		Snapshots: snapshots, Contents: contents,
	}
	reader := datasource.ReaderConfig{Client: a.config.Client, Snapshots: a.config.Snapshots}
	if a.config.Grants != nil {
		grants := datasource.NewGrantWatch(a.config.Grants, 0)
		a.watches = append(a.watches, grants.Run)
		lookups.Grants, reader.Grants = grants, grants
	}
	lookups.Sources = datasource.NewReader(reader)
	if a.topology.Load() {
		rooms, err := webhook.NewRoomIndex(watchCapacities(factory, a.driver))
		if err != nil {
			return webhook.Lookups{}, err
		}
		lookups.Rooms = rooms
	}
	a.classes = storage.StorageClasses().Informer().HasSynced
	return lookups, nil
}

// watchCapacities watches what was published about one driver: in a cluster with many, most of these objects are of others.
func watchCapacities(factory informers.SharedInformerFactory, driver string) cache.SharedIndexInformer {
	return factory.InformerFor(&storagev1.CSIStorageCapacity{}, func(client kubernetes.Interface, _ time.Duration) cache.SharedIndexInformer {
		return storageinformers.NewFilteredCSIStorageCapacityInformer(client, metav1.NamespaceAll, 0,
			cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, func(options *metav1.ListOptions) {
				options.LabelSelector = labels.Set{capacityOfDriver: driver}.String()
			})
	})
}

// capacityOfDriver is the label by which who publishes capacity marks the objects of a driver.
const capacityOfDriver = "csi.storage.k8s.io/drivername"

// certificates sets up where the certificate comes from, and who keeps the webhook configurations.
func (a *admission) certificates(factory informers.SharedInformerFactory, registry prometheus.Registerer) error {
	classes := factory.Storage().V1().StorageClasses()
	manager := "berth-" + a.driver
	condition := func(string, string) string {
		if !a.config.MatchClasses {
			return "" // one that was kept before goes
		}
		known, err := classes.Lister().List(labels.Everything())
		if err != nil {
			return ""
		}
		return matchExpression(a.driver, classNames(a.driver, known))
	}
	if a.config.Files != nil {
		files, config := *a.config.Files, a.config.Conditions
		files.Registry = registry
		a.source = certs.NewFiles(files)
		if len(config.Mutating)+len(config.Validating) == 0 {
			return nil
		}
		config.FieldManager, config.Condition, config.ConditionName, config.Registry = manager, condition, conditionName, registry
		conditions, err := certs.NewConditions(config)
		if err != nil {
			return err
		}
		a.keeper = conditions
	} else {
		config := a.config.SelfManaged
		config.FieldManager, config.Condition, config.ConditionName, config.Registry = manager, condition, conditionName, registry
		config.SecretName = cmp.Or(a.config.SecretName, admissionName(a.driver))
		managed, err := certs.NewSelfManaged(config)
		if err != nil {
			return err
		}
		a.source, a.keeper = managed, managed
	}
	if _, err := classes.Informer().AddEventHandler(classEvents(a.driver, a.keeper.Refresh)); err != nil {
		return fmt.Errorf("watch storage classes: %w", err)
	}
	return nil
}

// admissionName is the name of the authority's Secret and, where admission has an election of its own, of its Lease.
func admissionName(driver string) string { return lead.LeaseName(driver) + "-admission" }

// driverFound notes what the driver says.
func (a *admission) driverFound(driver csi.Driver) {
	a.topology.Store(a.config.Enabled && driver.Topology)
}

// check is a readiness check: there is a certificate, and the server serves and was not told to stop.
func (a *admission) check(request *http.Request) error {
	if err := a.source.Check(request); err != nil {
		return err
	}
	return a.server.Check(request)
}

// run serves until ctx ends and the server has drained. It begins when the caches are filled, which fill tells, and there is a certificate.
// Upkeep runs beside it from the start; nil: the provisioner's leader does that.
func (a *admission) run(ctx context.Context, fill, upkeep func(context.Context) error) error {
	// What reviews read, and the certificate, are kept while the server drains.
	beneath, stop := context.WithCancel(context.WithoutCancel(ctx))
	var watches sync.WaitGroup
	defer watches.Wait()
	defer stop()
	for _, watch := range a.watches {
		watches.Go(func() { watch(beneath) })
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	beside := func(ctx context.Context, run func(context.Context) error) {
		watches.Go(func() {
			if err := run(ctx); err != nil {
				fail(err)
			}
		})
	}
	beside(beneath, a.source.Run)
	if upkeep != nil {
		beside(ctx, upkeep)
	}
	err := fill(ctx)
	if err == nil && a.awaitCertificate(ctx) {
		err = a.server.Run(ctx)
	}
	fail(nil)
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// awaitCertificate waits for the first certificate, and reports false if ctx ended before.
func (a *admission) awaitCertificate(ctx context.Context) bool {
	changed := make(wakeup, 1)
	a.source.AddListener(changed)
	said := false
	for {
		err := a.source.Check(nil)
		if err == nil {
			return true
		}
		if !said {
			said = true
			klog.FromContext(ctx).Info("Admission waits for its certificate", "source", a.source.Name())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// wakeup is a listener that wakes whoever waits.
type wakeup chan struct{}

// Enqueue is of dynamiccertificates.Listener.
func (w wakeup) Enqueue() {
	select {
	case w <- struct{}{}:
	default: // one is enough
	}
}

// keep maintains the authority and the webhook configurations, on the leader, until ctx ends. It begins when all classes are known: with
// less, claims of the others would pass by the webhooks.
func (a *admission) keep(ctx context.Context) error {
	if a.keeper == nil || !cache.WaitForCacheSync(ctx.Done(), a.classes) {
		return nil
	}
	return a.keeper.Lead(ctx)
}

// contend has one of the replicas keep: the one that holds a Lease of admission's own. To lose it ends nothing but that: two who keep for a
// moment get in each other's way and do no harm.
func (a *admission) contend(ctx context.Context, elector *lead.Elector) error {
	if a.keeper == nil {
		return nil
	}
	var turn sync.Mutex // held while this replica keeps
	defer func() {
		turn.Lock()   // the last term may not be over
		turn.Unlock() //nolint:staticcheck // nothing is done but waiting
	}()
	for ctx.Err() == nil {
		term, end := context.WithCancel(ctx)
		err := elector.Run(term, admissionName(a.driver), func(ctx context.Context) error {
			turn.Lock()
			defer turn.Unlock()
			if ctx.Err() != nil {
				return nil
			}
			return a.keep(ctx)
		})
		end()
		if errors.Is(err, lead.ErrLost) {
			klog.FromContext(ctx).Info("Lost the lease of those who keep the certificates, trying to get it back", "lease", admissionName(a.driver))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}
