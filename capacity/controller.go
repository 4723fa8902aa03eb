package capacity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/topology"
)

// Driver is what this package needs of the CSI driver. A call bounds its own time.
type Driver interface {
	GetCapacity(ctx context.Context, parameters map[string]string, segment topology.Segment) (csi.Capacity, error)
}

// Config is what a Controller is made of.
type Config struct {
	Driver     string // its name
	Manager    string // value of LabelManagedBy; empty: ManagedBy
	Capacities Driver
	Objects    Objects // the CSIStorageCapacity objects of the namespace
	Namespace  string
	Classes    cache.SharedIndexInformer // of StorageClasses, run by the caller
	// Places are the segments there are; nil for a driver without topology, whose volumes are accessible from everywhere. The caller keeps it, and New has to
	// be called before its first change.
	Places *topology.Index
	// Parameters are those of a class that the driver gets to see.
	Parameters func(class map[string]string) map[string]string
	// Owner finds out who owns the objects; nil: nobody. It is asked until it knows.
	Owner    func(ctx context.Context) (*metav1.OwnerReference, error)
	Registry prometheus.Registerer

	Immediate    bool          // --capacity-for-immediate-binding
	Reservations bool          // --capacity-reservations
	PollInterval time.Duration // --capacity-poll-interval
	Threads      int           // --capacity-threads: questions to the driver at once
	CallTimeout  time.Duration // --timeout, which bounds each of these questions; 0: nobody minds how long they take
	BackoffStart time.Duration // --retry-interval-start
	BackoffMax   time.Duration // --retry-interval-max
	Grace        time.Duration // --shutdown-grace
}

// writers is how many objects are written at once.
const writers = 10

// ownerPause is the time between two tries to find the owner.
const ownerPause = 5 * time.Second

// Controller publishes capacity. New prepares it, Warm keeps its cache, Run works until told to stop.
type Controller struct {
	config  Config
	objects cache.SharedIndexInformer
	book    *book
	poll    *poll
	waiters waiters
	metrics *metrics
	owner   *metav1.OwnerReference // set before the loops run

	asking     *worker.Loop[Pool]
	publishing *worker.Loop[Key]
	running    atomic.Bool // else nothing is enqueued: nobody would work on it
}

// New makes a Controller.
func New(config Config) (*Controller, error) {
	switch {
	case config.PollInterval <= 0:
		return nil, fmt.Errorf("the interval at which capacity is asked for must be positive, not %s", config.PollInterval)
	case config.Threads < 1:
		return nil, fmt.Errorf("capacity needs at least one thread, not %d", config.Threads)
	}
	config.Manager = cmp.Or(config.Manager, ManagedBy)
	selector := labels.SelectorFromSet(labels.Set{LabelDriver: config.Driver, LabelManagedBy: config.Manager}).String()
	c := &Controller{config: config, objects: newInformer(config.Objects, selector), poll: newPoll(config.PollInterval, config.Threads)}
	hasPlace := func(segment topology.Segment) bool { return segment.IsZero() }
	if config.Places != nil {
		hasPlace = config.Places.HasPlace
		config.Places.OnPlace(c.placeChanged)
	}
	c.book = newBook(config.Driver, config.Parameters, hasPlace)
	c.book.manager = config.Manager
	c.book.immediate, c.book.reservations = config.Immediate, config.Reservations
	c.metrics = newMetrics(config.Registry, c.book)
	c.asking = worker.New(worker.Config[Pool]{
		Name: "csistoragecapacity", Workers: config.Threads, Grace: config.Grace,
		BackoffStart: config.BackoffStart, BackoffMax: config.BackoffMax, Work: c.workPool,
		Limit: askLimit(config.Threads, config.CallTimeout),
		Group: func(key Pool) string { // what has just changed takes turns with what is long known
			if c.book.isUrgent(key) {
				return "urgent"
			}
			return ""
		},
	})
	c.publishing = worker.New(worker.Config[Key]{
		Name: "csistoragecapacity-objects", Workers: writers, Grace: config.Grace,
		BackoffStart: config.BackoffStart, BackoffMax: config.BackoffMax, Work: c.workKey,
		Limit: callLimits * apiTimeout,
	})
	return c, nil
}

// Warm keeps the cache of objects until ctx ends, so that a standby that takes over knows them already.
func (c *Controller) Warm(ctx context.Context) { c.objects.RunWithContext(ctx) }

// DriverIsBack has everything asked at once that waits for a retry: the connection to the driver was broken and works again.
func (c *Controller) DriverIsBack() { c.asking.WakeAll() }

// Run publishes until ctx ends, lets what is under way finish within the grace period, and returns when every goroutine is gone. It may run once.
func (c *Controller) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithName("capacity")
	ctx = klog.NewContext(ctx, logger)
	if !c.awaitOwner(ctx) {
		return nil
	}
	c.running.Store(true)
	defer c.running.Store(false)
	c.seed()
	handlers := cache.HandlerOptions{Logger: &logger}
	classes, err := c.config.Classes.AddEventHandlerWithOptions(c.classEvents(), handlers)
	if err != nil {
		return fmt.Errorf("watch storage classes: %w", err)
	}
	defer func() { _ = c.config.Classes.RemoveEventHandler(classes) }() // only fails for a foreign registration
	objects, err := c.objects.AddEventHandlerWithOptions(c.objectEvents(), handlers)
	if err != nil {
		return fmt.Errorf("watch storage capacities: %w", err)
	}
	defer func() { _ = c.objects.RemoveEventHandler(objects) }() // as above
	if !cache.WaitForCacheSync(ctx.Done(), classes.HasSynced, objects.HasSynced) {
		return nil
	}
	goal, current, obsolete := c.book.counts()
	logger.Info("Publishing capacity", "driver", c.config.Driver, "namespace", c.config.Namespace, "objects", goal,
		"present", current, "obsolete", obsolete, "interval", c.config.PollInterval)
	var loops sync.WaitGroup
	loops.Go(func() { c.asking.Run(ctx) })
	loops.Go(func() { c.publishing.Run(ctx) })
	loops.Go(func() { c.poll.run(ctx, c.asking.Len, c.due) })
	loops.Wait()
	return nil
}

// seed tells the book of the places there are.
func (c *Controller) seed() {
	if c.config.Places == nil {
		c.enqueue(c.book.placeChanged(topology.Segment{}))
		return
	}
	for _, place := range c.config.Places.Places() {
		c.placeChanged(place)
	}
}

func (c *Controller) placeChanged(segment topology.Segment) {
	if c.running.Load() {
		c.enqueue(c.book.placeChanged(segment))
	}
}

// due has a pool asked whose turn has come.
func (c *Controller) due(pool Pool) {
	if c.book.due(pool) {
		c.asking.Enqueue(pool)
	} else {
		c.poll.forget(pool)
	}
}

func (c *Controller) enqueue(follows work) {
	if !c.running.Load() {
		return
	}
	for _, pool := range follows.pools {
		c.asking.Enqueue(pool)
	}
	for _, key := range follows.keys {
		c.publishing.Enqueue(key)
	}
}

// classEvents feed the book from the informer of classes.
func (c *Controller) classEvents() cache.ResourceEventHandler {
	set := func(event any) {
		if class, ok := event.(*storagev1.StorageClass); ok {
			c.enqueue(c.book.setClass(class))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, event any) { set(event) },
		DeleteFunc: func(event any) {
			if tombstone, ok := event.(cache.DeletedFinalStateUnknown); ok {
				event = tombstone.Obj
			}
			if class, ok := event.(*storagev1.StorageClass); ok {
				c.enqueue(c.book.deleteClass(class.Name))
			}
		},
	}
}

// awaitOwner finds out who owns the objects, and reports false if ctx ended before. Objects without their owner would be written twice, and stay
// behind when everything else of the driver is removed.
func (c *Controller) awaitOwner(ctx context.Context) bool {
	if c.config.Owner == nil {
		return true
	}
	said := ""
	for {
		owner, err := c.config.Owner(ctx)
		if err == nil {
			c.owner = owner
			return true
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			klog.FromContext(ctx).Info("No capacity is published until it is known who owns the objects", "reason", said)
		}
		timer := time.NewTimer(ownerPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

// ErrNoOwner says that a Pod has no owner as far up as was asked for.
var ErrNoOwner = errors.New("no such owner")
