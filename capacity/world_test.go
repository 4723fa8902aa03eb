package capacity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

// world is a controller with all that it meets, in a bubble of time.
type world struct {
	t           *testing.T
	server      *apiServer
	driver      *fakeDriver
	classes     *fake.Clientset
	places      *topology.Index
	controller  *Controller
	registry    *prometheus.Registry
	start, stop func()
}

// fakeDriver answers from a table, slowly.
type fakeDriver struct {
	mu     sync.Mutex
	room   map[Pool]csi.Capacity // 10 GiB where nothing is said
	fails  map[Pool]bool
	asked  map[Pool]int
	latest map[Pool]time.Time
	busy   map[Pool]bool
	twice  bool // it was asked about a pool while it was answering about it
}

func newFakeDriver() *fakeDriver {
	return &fakeDriver{room: map[Pool]csi.Capacity{}, fails: map[Pool]bool{}, asked: map[Pool]int{}, latest: map[Pool]time.Time{}, busy: map[Pool]bool{}}
}

func (d *fakeDriver) GetCapacity(_ context.Context, parameters map[string]string, segment topology.Segment) (csi.Capacity, error) {
	pool := Pool{parametersKey(parameters), segment}
	d.mu.Lock()
	d.asked[pool]++
	d.latest[pool] = time.Now()
	d.twice = d.twice || d.busy[pool]
	d.busy[pool] = true
	said, fails := d.of(pool), d.fails[pool]
	d.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy[pool] = false
	if fails {
		return csi.Capacity{}, errors.New("the array does not answer")
	}
	return said, nil
}

func (d *fakeDriver) of(pool Pool) csi.Capacity {
	if said, ok := d.room[pool]; ok {
		return said
	}
	return free(10)
}

func (d *fakeDriver) says(pool Pool, said csi.Capacity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room[pool] = said
}

func (d *fakeDriver) failing(pool Pool, fails bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails[pool] = fails
}

func (d *fakeDriver) calls() map[Pool]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.asked)
}

// newWorld prepares everything; the controller runs after start.
func newWorld(t *testing.T, edits ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, server: newAPIServer(), driver: newFakeDriver(), classes: fake.NewClientset(), places: topology.NewIndex(), registry: prometheus.NewRegistry()}
	w.make(edits...)
	return w
}

func (w *world) make(edits ...func(*Config)) {
	w.t.Helper()
	factory := informers.NewSharedInformerFactory(w.classes, 0)
	config := Config{
		Driver: "d", Capacities: w.driver, Objects: w.server, Namespace: "ns", Classes: factory.Storage().V1().StorageClasses().Informer(), Places: w.places,
		Parameters: func(class map[string]string) map[string]string { return class }, Registry: w.registry,
		Reservations: true, PollInterval: 10 * time.Second, Threads: 2, BackoffStart: time.Second, BackoffMax: 10 * time.Second, Grace: time.Second,
	}
	for _, edit := range edits {
		edit(&config)
	}
	controller, err := New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.controller = controller
	ctx, cancel := context.WithCancel(klog.NewContext(w.t.Context(), klog.Logger{}))
	var running sync.WaitGroup
	w.start = func() {
		factory.StartWithContext(ctx)
		running.Go(func() { controller.Warm(ctx) })
		running.Go(func() {
			if err := controller.Run(ctx); err != nil {
				w.t.Errorf("the controller ended with %v", err)
			}
		})
	}
	w.stop = func() {
		cancel()
		factory.Shutdown()
		running.Wait()
	}
}

// inWorld tells a story in a bubble, in which the controller runs from the beginning.
func inWorld(t *testing.T, story func(w *world), edits ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, edits...)
		w.start()
		defer w.stop()
		story(w)
	})
}

// after lets time pass until everything has come to rest.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// node puts a node with the driver into a zone; without one it is taken away.
func (w *world) node(name, zone string) {
	if zone == "" {
		w.places.DeleteCSINode(name)
		w.places.DeleteNode(name)
		return
	}
	w.places.SetNode(name, map[string]string{"zone": zone})
	w.places.SetRegistration(name, topology.NewKeySet([]string{"zone"}))
}

func storageClass(name string, edits ...func(*storagev1.StorageClass)) *storagev1.StorageClass {
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: "d", VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
	}
	for _, edit := range edits {
		edit(class)
	}
	return class
}

// class makes or replaces a class.
func (w *world) class(class *storagev1.StorageClass) {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.classes.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	if err != nil {
		_, err = w.classes.StorageV1().StorageClasses().Update(ctx, class, metav1.UpdateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) dropClass(name string) {
	_ = w.classes.StorageV1().StorageClasses().Delete(w.t.Context(), name, metav1.DeleteOptions{}) // it may not be there
}

// published are the objects in words: "class in zone" -> what they say.
func (w *world) published() map[string]string {
	said := map[string]string{}
	for _, object := range w.server.all() {
		key := "object " + object.Name
		if where := object.NodeTopology; where != nil {
			key = object.StorageClassName + " in " + where.MatchLabels["zone"]
		}
		what := "nothing"
		if object.Capacity != nil {
			what = fmt.Sprint(object.Capacity.Value() / gi)
		}
		if object.MaximumVolumeSize != nil {
			what += fmt.Sprintf("/%d", object.MaximumVolumeSize.Value()/gi)
		}
		if object.Labels[LabelDriver] != "d" || object.Labels[LabelManagedBy] != ManagedBy {
			what += " unmarked"
		}
		if before, twice := said[key]; twice {
			what = before + " and " + what
		}
		said[key] = what
	}
	return said
}
