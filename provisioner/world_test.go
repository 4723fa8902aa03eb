package provisioner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotfake "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned/fake"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	gatewayfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"

	"github.com/berth-csi/berth/internal/kube"
	"github.com/berth-csi/berth/internal/worker"
)

// Resources of the API server in memory.
var (
	claimsResource    = corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	volumesResource   = corev1.SchemeGroupVersion.WithResource("persistentvolumes")
	secretsResource   = corev1.SchemeGroupVersion.WithResource("secrets")
	snapshotsResource = snapshotv1.SchemeGroupVersion.WithResource("volumesnapshots")
	contentsResource  = snapshotv1.SchemeGroupVersion.WithResource("volumesnapshotcontents")
)

// memoryDriver answers as told and remembers what it was asked.
type memoryDriver struct {
	mu      sync.Mutex
	answer  func(nth int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) // nil: a volume as asked
	created []*csipb.CreateVolumeRequest
	deleted []*csipb.DeleteVolumeRequest
}

func (d *memoryDriver) CreateVolume(_ context.Context, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	d.mu.Lock()
	d.created = append(d.created, request)
	nth, answer := len(d.created), d.answer
	d.mu.Unlock()
	if answer != nil {
		return answer(nth, request)
	}
	return asAsked(request), nil
}

func (d *memoryDriver) DeleteVolume(_ context.Context, request *csipb.DeleteVolumeRequest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deleted = append(d.deleted, request)
	return nil
}

// calls counts the calls so far.
func (d *memoryDriver) calls() (creates, deletes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.created), len(d.deleted)
}

// asAsked is a volume as the request wants it.
func asAsked(request *csipb.CreateVolumeRequest) *csipb.Volume {
	return &csipb.Volume{VolumeId: "handle of " + request.GetName(), CapacityBytes: request.GetCapacityRange().GetRequiredBytes(),
		ContentSource: request.GetVolumeContentSource()}
}

// world is a cluster in memory, with a driver that can do everything but topology, and a controller.
type world struct {
	t         *testing.T
	core      *fake.Clientset
	snapshots *snapshotfake.Clientset
	grants    *gatewayfake.Clientset
	driver    *memoryDriver
	c         *Controller
}

// makeWorld is a world whose controller does not run: its caches are what a test puts there.
func makeWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{t: t, core: fake.NewClientset(), grants: gatewayfake.NewClientset(), driver: &memoryDriver{}}
	w.snapshots = snapshotfake.NewSimpleClientset() //nolint:staticcheck // this clientset has no other constructor
	for _, object := range objects {
		w.add(object)
	}
	guard(t, &w.core.Fake, w.core.Tracker(), claimsResource)
	guard(t, &w.snapshots.Fake, w.snapshots.Tracker(), snapshotsResource)
	w.c = makeController(t, w.core, func(config *Config) {
		driver := &config.Settings.Driver
		driver.Topology, driver.Snapshots, driver.Clones, driver.Modify = false, true, true, true
		config.Settings.AttributesClasses, config.Settings.CrossNamespace = true, true
		config.Driver, config.Snapshots, config.Grants = w.driver, w.snapshots, w.grants
		config.Informers = informers.NewSharedInformerFactoryWithOptions(w.core, 0, informers.WithTransform(kube.Trim(testDriver, "")))
		config.Workers, config.SourceWorkers = 4, 1
	})
	return w
}

// tracker is where an object is kept.
func (w *world) tracker(object runtime.Object) clienttesting.ObjectTracker {
	switch object.(type) {
	case *snapshotv1.VolumeSnapshot, *snapshotv1.VolumeSnapshotContent:
		return w.snapshots.Tracker()
	case *gatewayv1beta1.ReferenceGrant:
		return w.grants.Tracker()
	}
	return w.core.Tracker()
}

// add has an object in the API server.
func (w *world) add(object runtime.Object) {
	w.t.Helper()
	if err := w.tracker(object).Add(object); err != nil {
		w.t.Fatal(err)
	}
}

// cached has a claim and its class in the caches, as informers would.
func (w *world) cached(claims ...*corev1.PersistentVolumeClaim) {
	w.t.Helper()
	if err := w.c.classes.GetIndexer().Add(makeClass()); err != nil {
		w.t.Fatal(err)
	}
	for _, claim := range claims {
		if err := w.c.claims.GetIndexer().Update(claim); err != nil {
			w.t.Fatal(err)
		}
	}
}

// update changes an object in the API server, as somebody else does.
func update[T runtime.Object](w *world, resource schema.GroupVersionResource, namespace, name string, change func(T)) {
	w.t.Helper()
	var example T
	tracker := w.tracker(example)
	object, err := tracker.Get(resource, namespace, name)
	if err != nil {
		w.t.Fatal(err)
	}
	typed, ok := object.(T)
	if !ok {
		w.t.Fatalf("got %T", object)
	}
	change(typed)
	accessor, err := meta.Accessor(typed)
	if err != nil {
		w.t.Fatal(err)
	}
	accessor.SetResourceVersion(accessor.GetResourceVersion() + "+")
	if err := tracker.Update(resource, typed, namespace); err != nil {
		w.t.Fatal(err)
	}
}

// finalizers are those of an object in the API server.
func (w *world) finalizers(resource schema.GroupVersionResource, name string) []string {
	w.t.Helper()
	tracker := w.core.Tracker()
	if resource == snapshotsResource {
		tracker = w.snapshots.Tracker()
	}
	object, err := tracker.Get(resource, "ns", name)
	if err != nil {
		w.t.Fatal(err)
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		w.t.Fatal(err)
	}
	return accessor.GetFinalizers()
}

// events are the messages about claims and volumes, each with its type.
func (w *world) events() (messages []string) {
	w.t.Helper()
	list, err := w.core.CoreV1().Events("").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, event := range list.Items {
		messages = append(messages, event.Type+" "+event.Reason+": "+event.Message)
	}
	return messages
}

// writes are the verbs that changed something of a resource, in order.
func writes(client *clienttesting.Fake, resource string) (verbs []string) {
	for _, action := range client.Actions() {
		if action.GetResource().Resource == resource && !slices.Contains([]string{"get", "list", "watch"}, action.GetVerb()) {
			verbs = append(verbs, action.GetVerb())
		}
	}
	return verbs
}

// fails has a client answer a verb with an error.
func fails(client *clienttesting.Fake, verb, resource string, err error) {
	client.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
}

func forbidden(resource schema.GroupVersionResource) error {
	return apierrors.NewForbidden(resource.GroupResource(), "x", fmt.Errorf("no role"))
}

// guard has a fake API server refuse what a real one refuses: to change an object that is not what it was when it was read. It takes merge
// patches of what identifies an object, and of its finalizers; and updates.
func guard(t *testing.T, client *clienttesting.Fake, tracker clienttesting.ObjectTracker, resource schema.GroupVersionResource) {
	t.Helper()
	var mu sync.Mutex
	change := func(namespace, name string, wanted metav1.Object) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		object, err := tracker.Get(resource, namespace, name)
		if err != nil {
			return true, nil, err
		}
		current, err := meta.Accessor(object)
		if err != nil {
			return true, nil, err
		}
		if wanted.GetUID() != current.GetUID() || wanted.GetResourceVersion() != current.GetResourceVersion() {
			return true, nil, apierrors.NewConflict(resource.GroupResource(), name, fmt.Errorf("it changed"))
		}
		current.SetFinalizers(wanted.GetFinalizers())
		current.SetResourceVersion(current.GetResourceVersion() + "+")
		return true, object, tracker.Update(resource, object, namespace)
	}
	client.PrependReactor("patch", resource.Resource, func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch, ok := action.(clienttesting.PatchAction)
		if ok && patch.GetPatchType() == types.JSONPatchType { // tests what it changes itself
			return false, nil, nil
		}
		var asked struct{ Metadata metav1.ObjectMeta }
		decoder := json.NewDecoder(strings.NewReader(string(patch.GetPatch())))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&asked); !ok || err != nil {
			t.Errorf("not a patch of finalizers: %s", patch.GetPatch())
		}
		return change(patch.GetNamespace(), patch.GetName(), &asked.Metadata)
	})
	client.PrependReactor("update", resource.Resource, func(action clienttesting.Action) (bool, runtime.Object, error) {
		update, _ := action.(clienttesting.UpdateAction)
		wanted, err := meta.Accessor(update.GetObject())
		if err != nil {
			return true, nil, err
		}
		return change(update.GetNamespace(), wanted.GetName(), wanted)
	})
}

// pass lets time go by in a bubble, and what is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// inBubble runs a test with a controller that works, its informers and all, in a bubble of its own time. prepare may be nil.
func inBubble(t *testing.T, objects []runtime.Object, prepare, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := makeWorld(t, append([]runtime.Object{makeClass()}, objects...)...)
		if prepare != nil {
			prepare(w)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.c.config.Informers.StartWithContext(ctx)
		var running sync.WaitGroup
		running.Go(func() {
			if err := w.c.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		pass(time.Second) // for the caches
		test(w)
		cancel()
		running.Wait()
		w.c.config.Informers.Shutdown()
	})
}

// instead puts a loop that does something else with its keys in a loop's place, before it runs. What fails is tried again after an hour.
func instead[K comparable](loop **worker.Loop[K], work func(context.Context, K) worker.Result) {
	ended, end := context.WithCancel(context.Background())
	end()
	(*loop).Run(ended)
	*loop = worker.New(worker.Config[K]{Name: "instead", Workers: 1, BackoffStart: time.Hour, BackoffMax: time.Hour, Work: work})
}
