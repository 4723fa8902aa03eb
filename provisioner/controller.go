package provisioner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/static"
	"github.com/berth-csi/berth/internal/tracing"
	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/provisioner/journal"
	"github.com/berth-csi/berth/topology"
)

const (
	// apiTimeout bounds a single write to the API server. A write that was cut off may have been done; all of ours can be repeated.
	apiTimeout = 30 * time.Second
	// slowCall is how long a driver may take before the claim gets an event that says so.
	slowCall = 5 * time.Second
	// patience is how long an API server may be away before claims get events that say so.
	patience = 15 * time.Second
	// rejectedDelay is the shortest wait after a driver made a volume that is not what was asked for. Only another version of the driver
	// will do better, and each try makes and deletes a volume.
	rejectedDelay = time.Hour
	// infeasibleDelay is the shortest wait before a request is tried again that the driver called wrong in itself.
	infeasibleDelay = 5 * time.Minute
)

// Driver is what this package needs of the CSI driver. Both calls bound their own time.
type Driver interface {
	CreateVolume(ctx context.Context, request *csipb.CreateVolumeRequest) (*csipb.Volume, error)
	DeleteVolume(ctx context.Context, request *csipb.DeleteVolumeRequest) error
}

// Sources finds out about what claims are made from.
type Sources interface {
	Gather(ctx context.Context, reference datasource.Reference) (datasource.Facts, error)
}

// Config is what a Controller is made of.
type Config struct {
	Settings Settings
	Client   kubernetes.Interface
	Driver   Driver
	// Informers feed the caches. They must have been made with the trimming transform, and be started after New and before Run.
	Informers informers.SharedInformerFactory
	Topology  *topology.Index // kept by the caller; nil without topology. In distributed mode it knows the one node
	Room      Room            // nil: nobody wants to know
	// Capacities are asked for the room on this node; only in distributed mode, and if the driver tells (csi.Driver.Capacity).
	Capacities Capacities
	Registry   prometheus.Registerer
	// Snapshots reads and marks VolumeSnapshots.
	Snapshots snapshotclient.Interface
	// Grants reads ReferenceGrants; nil without the gate CrossNamespaceVolumeDataSource.
	Grants gatewayclient.Interface

	// JournalName is the ConfigMap in JournalNamespace that records what is about to be created; empty: nothing does.
	JournalName, JournalNamespace string
	// JournalLabel is what the journals of all nodes have in common, in distributed mode; empty: the name. JournalOwner is the node's object; nil: nobody.
	JournalLabel string
	JournalOwner *metav1.OwnerReference
	// LeftJournal is the ConfigMap in JournalNamespace that was the journal before it was turned off; empty: it is on, or nobody looks.
	LeftJournal string

	ExpressBinding bool // --express-binding: claims are bound here, where permissions allow it

	SourceWorkers int           // --cloning-protection-threads: sources whose protection is taken off at once
	SweepInterval time.Duration // --snapshot-orphan-sweep-interval: how often protected sources are looked at; 0: only on events

	Tracer *tracing.Tracer // nil: nothing is traced

	CallTimeout  time.Duration // --timeout, of each call to the driver; 0: nobody looks for work that hangs
	Workers      int           // --worker-threads: claims, and as many volumes, worked at once
	BackoffStart time.Duration // --retry-interval-start
	BackoffMax   time.Duration // --retry-interval-max
	Grace        time.Duration // --shutdown-grace: how long calls under way may take when stopping
}

// Controller provisions and deletes volumes. New prepares it and keeps its caches warm; Run works until told to stop.
type Controller struct {
	config   Config
	settings Settings
	client   kubernetes.Interface
	driver   Driver

	claims      cache.SharedIndexInformer
	volumes     cache.SharedIndexInformer
	classes     cache.SharedIndexInformer
	attachments cache.SharedIndexInformer // nil if the driver's volumes are not attached by a controller

	claimLister  corelisters.PersistentVolumeClaimLister
	volumeLister corelisters.PersistentVolumeLister
	classLister  storagelisters.StorageClassLister

	journal   *journal.Journal // nil: nothing is recorded
	sources   Sources
	snapshots *datasource.SnapshotWatch // nil if the driver cannot restore from snapshots
	grants    *datasource.GrantWatch    // nil without the gate

	attributes *datasource.AttributesClassWatch // nil without volume attributes classes

	claimLoop  *worker.Loop[ClaimKey]
	volumeLoop *worker.Loop[volumeKey]
	sourceLoop *worker.Loop[datasource.Key]
	bindLoop   *worker.Loop[ClaimKey]
	events     *recorder
	metrics    *metrics

	attempts  *attempts
	written   *written
	deletion  *deletions
	placeless *placeless
	holds     *holds
	full      *fullSegments
	turned    *turned
	static    *static.Index // over volumes
	left      *left
	turns     *turns
	strays    *strays
	wanted    *wantedSources
	room      Room
	upkeep    *pace
	announced *announcements
	express   *express
	bindings  *bindings
	backlog   *backlog
	storing   atomic.Int32 // objects being written

	volumeCount atomic.Int64 // volumes in the cache

	began time.Time // of Run
}

// New makes a Controller and adds its indexes to the informers.
func New(config Config) (*Controller, error) {
	if err := config.Settings.Validate(); err != nil {
		return nil, err
	}
	core, storage := config.Informers.Core().V1(), config.Informers.Storage().V1()
	c := &Controller{
		config: config, settings: config.Settings, client: config.Client, driver: config.Driver,
		claims:       core.PersistentVolumeClaims().Informer(),
		volumes:      core.PersistentVolumes().Informer(),
		classes:      storage.StorageClasses().Informer(),
		claimLister:  core.PersistentVolumeClaims().Lister(),
		volumeLister: core.PersistentVolumes().Lister(),
		classLister:  storage.StorageClasses().Lister(),
		written:      &written{names: map[string]writtenVolume{}, now: time.Now},
		deletion:     &deletions{byUID: map[types.UID]*deletion{}},
		holds:        newHolds(),
		full:         newFullSegments(),
		turned:       newTurned(),
		left:         newLeft(),
		turns:        newTurns(config.Settings.Node),
		strays:       newStrays(config.Settings.Node),
		wanted:       &wantedSources{keys: map[datasource.Key]bool{}},
		room:         config.Room,
		upkeep:       newPace(upkeepInterval),
		announced:    &announcements{made: map[types.UID][]string{}},
		express:      newExpress(config.ExpressBinding),
		bindings:     &bindings{byUID: map[types.UID]binding{}},
		backlog:      newBacklog(),
	}
	if c.room == nil {
		c.room = nobody{}
	}
	if !config.Settings.Node.IsZero() {
		c.express.interval = nodePermissionInterval
	}
	c.attempts = newAttempts(c.closed)
	c.placeless = newPlaceless(func(key ClaimKey) { c.claimLoop.Wake(key) })
	if config.Topology != nil {
		config.Topology.OnChange(c.placeless.changed)
	}
	if err := c.claims.AddIndexers(c.indexers()); err != nil {
		return nil, fmt.Errorf("index claims: %w", err)
	}
	if err := c.volumes.AddIndexers(cache.Indexers{indexVolumesByHandle: c.volumesByHandle}); err != nil {
		return nil, fmt.Errorf("index volumes by handle: %w", err)
	}
	var err error
	if c.static, err = static.NewIndex(c.volumes); err != nil {
		return nil, err
	}
	if config.Grants != nil {
		c.grants = datasource.NewGrantWatch(config.Grants, 0)
		c.grants.AddEventHandler(c.grantEvents())
	}
	if config.Settings.Driver.Snapshots {
		c.snapshots = datasource.NewSnapshotWatch(config.Snapshots, 0)
		c.snapshots.AddEventHandler(c.snapshotEvents())
	}
	if config.Settings.AttributesClasses && config.Settings.Node.IsZero() { // what few claims of one node name is read when they do
		c.attributes = datasource.NewAttributesClassWatch(config.Client, 0)
		c.attributes.AddEventHandler(c.attributesClassEvents())
	}
	c.sources = datasource.NewReader(datasource.ReaderConfig{Client: config.Client, Snapshots: config.Snapshots, Grants: c.grants})
	if config.Settings.Driver.PublishUnpublish {
		c.attachments = storage.VolumeAttachments().Informer()
		if err := c.attachments.AddIndexers(cache.Indexers{indexAttachmentsByVolume: attachmentsByVolume}); err != nil {
			return nil, fmt.Errorf("index attachments by volume: %w", err)
		}
	}
	c.metrics = newMetrics(config.Registry, func() float64 { return float64(c.attempts.count()) })
	if config.ExpressBinding {
		config.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_express_binding",
			Help: "1 while claims are bound here, 0 while they are left to the controller-manager.",
		}, c.expressGauge))
	}
	if config.JournalName != "" {
		c.journal = c.newJournal(config.Settings.Identity)
		config.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_journal_degraded",
			Help: "1 while volumes are created without a record.",
		}, c.journalGauge))
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name, for events: %w", err)
	}
	c.claimLoop = worker.New(worker.Config[ClaimKey]{
		Name: "claims", Workers: config.Workers, Grace: config.Grace,
		BackoffStart: config.BackoffStart, BackoffMax: config.BackoffMax, Work: c.traceClaim, Limit: workLimit(config.CallTimeout),
		Group: func(key ClaimKey) string { return key.Namespace },
	})
	c.volumeLoop = worker.New(worker.Config[volumeKey]{
		Name: "volumes", Workers: config.Workers, Grace: config.Grace,
		BackoffStart: config.BackoffStart, BackoffMax: config.BackoffMax, Work: c.workVolume, Limit: workLimit(config.CallTimeout),
	})
	c.sourceLoop = worker.New(worker.Config[datasource.Key]{
		Name: "sources", Workers: config.SourceWorkers, Grace: config.Grace,
		BackoffStart: config.BackoffStart, BackoffMax: config.BackoffMax, Work: c.workSource, Limit: workLimit(config.CallTimeout),
	})
	c.bindLoop = worker.New(worker.Config[ClaimKey]{
		Name: "bindings", Workers: min(bindWorkers, config.Workers), Grace: config.Grace,
		BackoffStart: config.BackoffStart, BackoffMax: config.BackoffMax, Work: c.workBinding, Limit: workLimit(config.CallTimeout),
		Group: func(key ClaimKey) string { return key.Namespace },
	})
	c.events = newRecorder(config.Client, config.Settings.Driver.Name+"_"+host, host, func() int { return int(c.storing.Load()) }, c.metrics.eventsDropped.Inc)
	registerQueues(config.Registry, c.queues())
	return c, nil
}

// DriverIsBack has everything that waits for a retry tried at once: the connection to the driver was broken and works again.
func (c *Controller) DriverIsBack() {
	c.claimLoop.WakeAll()
	c.volumeLoop.WakeAll()
}

// Run works until ctx ends, lets what is under way finish within the grace period, gives events a few seconds to be written, and
// returns when every goroutine is gone. It may run once. The informers must be started.
func (c *Controller) Run(ctx context.Context) error {
	c.began = time.Now()
	logger := klog.FromContext(ctx).WithName("provisioner")
	ctx = klog.NewContext(ctx, logger)

	eventCtx, stopEvents := context.WithCancel(context.WithoutCancel(ctx))
	var events sync.WaitGroup
	events.Go(func() { c.events.loop.Run(eventCtx) })
	defer events.Wait()
	defer stopEvents()
	defer c.placeless.stop()

	synced, remove, err := c.watch(logger)
	defer remove()
	if err != nil {
		return err
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	logger.Info("Provisioning", "driver", c.settings.Driver.Name, "topology", c.settings.Driver.Topology, "workers", c.config.Workers)
	err = c.lead(ctx)
	c.events.flush()
	if open := c.attempts.count(); open > 0 {
		logger.Info("Stopped with open attempts, which whoever leads next finds out about", "attempts", open)
	} else {
		logger.Info("Stopped, nothing was under way any more")
	}
	return err
}

// lead works, with caches that are filled, until ctx ends, or until another leader turns out to have taken over the journal: an error.
func (c *Controller) lead(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if c.journal != nil {
		journalCtx, stopJournal := context.WithCancel(context.WithoutCancel(ctx))
		var journalRun sync.WaitGroup
		journalRun.Go(func() {
			if err := c.journal.Run(journalCtx); err != nil {
				end(err)
			}
		})
		defer journalRun.Wait()
		defer stopJournal() // when nothing is under way any more
		c.restore(ctx)
	}
	var loops sync.WaitGroup
	loops.Go(func() { c.claimLoop.Run(ctx) })
	loops.Go(func() { c.volumeLoop.Run(ctx) })
	loops.Go(func() { c.sourceLoop.Run(ctx) })
	loops.Go(func() { c.sweep(ctx) })
	if c.config.LeftJournal != "" {
		loops.Go(func() { c.countLeft(ctx) })
	}
	loops.Go(func() { c.bindLoop.Run(ctx) })
	loops.Go(func() { c.watchPermissions(ctx) })
	if c.snapshots != nil {
		loops.Go(func() { c.snapshots.Run(ctx) })
	}
	if c.grants != nil {
		loops.Go(func() { c.grants.Run(ctx) })
	}
	if c.attributes != nil {
		loops.Go(func() { c.attributes.Run(ctx) })
	}
	loops.Wait()
	if err := context.Cause(ctx); errors.Is(err, journal.ErrTakenOver) {
		return err
	}
	return nil
}

// watch registers the event handlers, which see every object once as an addition, and returns what is to be waited for and undone.
func (c *Controller) watch(logger klog.Logger) (synced []cache.InformerSynced, remove func(), err error) {
	var undo []func()
	remove = func() {
		for _, f := range undo {
			f()
		}
	}
	add := func(what string, informer cache.SharedIndexInformer, handler cache.ResourceEventHandler) {
		if err != nil {
			return
		}
		registration, addErr := informer.AddEventHandlerWithOptions(handler, cache.HandlerOptions{Logger: &logger})
		if addErr != nil {
			err = fmt.Errorf("watch %s: %w", what, addErr)
			return
		}
		synced = append(synced, registration.HasSynced)
		undo = append(undo, func() { _ = informer.RemoveEventHandler(registration) }) // only fails for a foreign registration
	}
	add("storage classes", c.classes, c.classEvents())
	if c.attachments != nil {
		add("volume attachments", c.attachments, c.attachmentEvents())
	}
	add("persistent volumes", c.volumes, c.volumeEvents())
	add("persistent volume claims", c.claims, c.claimEvents())
	return synced, remove, err
}

func (c *Controller) journalGauge() float64 {
	if c.journal.Degraded() != "" {
		return 1
	}
	return 0
}

func (c *Controller) expressGauge() float64 {
	if c.express.on() {
		return 1
	}
	return 0
}

// event records an event about a claim or a volume.
func (c *Controller) event(about *corev1.ObjectReference, eventType, reason, message string) {
	c.events.record(about, eventType, reason, message)
}

// deleted takes the object out of what an informer's delete handler gets.
func deleted[T any](object any) (T, bool) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	o, ok := object.(T)
	return o, ok
}
