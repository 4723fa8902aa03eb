package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/signal"
	"sync"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-csi/berth/e2e/harness"
)

// floorWorkers is how many writes are under way at once, as many as a provisioner has workers by default.
const floorWorkers = 100

// removeFinalizer takes away one finalizer whatever the others are, so that it cannot conflict.
const removeFinalizer = `{"metadata":{"$deleteFromPrimitiveList/finalizers":["` + provisionerFinalizer + `"]}}`

// floorQueue is how much work may wait, so that the watches are always read: the API server hangs up on who is slow.
const floorQueue = 100_000

// floorMain is the subject "floor": it writes the PVs that a provisioner would write and deletes them again, and does
// nothing else. No driver, no events, no lease, no limit, no retry. Whatever is slower than this is not the API
// server's doing.
func floorMain(args []string) error {
	flags := flag.NewFlagSet("floor", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the control plane")
	driver := flags.String("driver", "", "name of the driver whose claims to serve")
	topologyKey := flags.String("topology-key", "", "label of nodes that PVs are tied to; none if empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	config, err := harness.ClientConfig(*kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = floorUserAgent + "/v1"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	f := &floor{
		client:      client,
		driver:      *driver,
		topologyKey: *topologyKey,
		started:     map[types.UID]bool{},
		work:        make(chan func(context.Context), floorQueue),
	}
	return f.run(ctx)
}

type floor struct {
	client      kubernetes.Interface
	driver      string
	topologyKey string

	// What there was when the floor started; the bench makes classes and nodes before.
	classes  map[string]*storagev1.StorageClass
	segments map[string]segment // by node
	anywhere segment            // of a claim that has no node

	mu      sync.Mutex
	started map[types.UID]bool // claims and PVs that have been taken up
	work    chan func(context.Context)
}

func (f *floor) run(ctx context.Context) error {
	if err := f.load(ctx); err != nil {
		return err
	}
	var workers sync.WaitGroup
	for range floorWorkers {
		workers.Go(func() {
			for job := range f.work {
				job(ctx)
			}
		})
	}
	defer workers.Wait()
	defer close(f.work)
	return f.serve(ctx)
}

// serve takes up the claims there are, then follows claims and PVs until ctx is done.
func (f *floor) serve(ctx context.Context) error {
	claims := f.client.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll)
	there, err := claims.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list claims: %w", err)
	}
	for i := range there.Items {
		f.claim(&there.Items[i])
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	volumes := make(chan error, 1)
	go func() {
		defer cancel() // one without the other would be no floor
		volumes <- follow(watching, f.client.CoreV1().PersistentVolumes().Watch, there.ResourceVersion, f.handle)
	}()
	err = follow(watching, claims.Watch, there.ResourceVersion, f.handle)
	cancel()
	return errors.Join(err, <-volumes)
}

// load reads what does not change while the floor runs.
func (f *floor) load(ctx context.Context) error {
	classes, err := f.client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list classes: %w", err)
	}
	f.classes = map[string]*storagev1.StorageClass{}
	for i := range classes.Items {
		f.classes[classes.Items[i].Name] = &classes.Items[i]
	}
	nodes, err := f.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: f.topologyKey})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	f.segments = map[string]segment{}
	if f.topologyKey == "" {
		return nil
	}
	for _, node := range nodes.Items {
		f.anywhere = segment{f.topologyKey, node.Labels[f.topologyKey]}
		f.segments[node.Name] = f.anywhere
	}
	return nil
}

// segmentOf is where the claim's volume belongs.
func (f *floor) segmentOf(claim *corev1.PersistentVolumeClaim) segment {
	if s, ok := f.segments[claim.Annotations[annSelectedNode]]; ok {
		return s
	}
	return f.anywhere
}

func (f *floor) handle(event watch.Event) {
	if event.Type != watch.Added && event.Type != watch.Modified {
		return
	}
	switch object := event.Object.(type) {
	case *corev1.PersistentVolumeClaim:
		f.claim(object)
	case *corev1.PersistentVolume:
		f.volume(object)
	}
}

func (f *floor) claim(claim *corev1.PersistentVolumeClaim) {
	class := f.classes[className(claim)]
	if !wantsVolume(claim, class, f.driver) || !f.takeUp(claim.UID) {
		return
	}
	f.work <- func(ctx context.Context) {
		volume := floorVolume(claim, class, f.segmentOf(claim))
		_, err := f.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
		complain("create volume", volume.Name, err)
	}
}

func (f *floor) volume(volume *corev1.PersistentVolume) {
	if !wantsDeletion(volume, f.driver) || !f.takeUp(volume.UID) {
		return
	}
	f.work <- func(ctx context.Context) {
		volumes := f.client.CoreV1().PersistentVolumes()
		err := volumes.Delete(ctx, volume.Name, metav1.DeleteOptions{})
		complain("delete volume", volume.Name, err)
		_, err = volumes.Patch(ctx, volume.Name, types.StrategicMergePatchType, []byte(removeFinalizer), metav1.PatchOptions{})
		complain("remove finalizer of volume", volume.Name, err)
	}
}

// takeUp is true the first time it is asked about an object.
func (f *floor) takeUp(uid types.UID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.started[uid] {
		return false
	}
	f.started[uid] = true
	return true
}

// complain prints what went wrong to the subject's log; the bench sees the claim that never got further.
func complain(attempt, name string, err error) {
	if err != nil && !apierrors.IsNotFound(err) && !errors.Is(err, context.Canceled) {
		fmt.Printf("%s %s: %v\n", attempt, name, err)
	}
}
