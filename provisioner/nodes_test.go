package provisioner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/simtest"
	"github.com/berth-csi/berth/topology"
)

// nodeWorld is a cluster in distributed mode: nodes with a driver's instance each, none of which knows of the others, and people who meddle. The bare
// node is one without the driver.
type nodeWorld struct {
	*simWorld

	troubled atomic.Bool
	nodes    []*nodeInstance
	claims   int
}

const bareNode = "bare"

// nodeInstance is one node: its driver outlives the provisioners that run there one after the other.
type nodeInstance struct {
	w      *nodeWorld
	name   string
	driver *simtest.Driver
	now    *nodeProcess
	starts int
}

// nodeProcess is one run of the provisioner on a node.
type nodeProcess struct {
	*nodeInstance

	mu    sync.Mutex
	rand  *rand.Rand
	dead  atomic.Bool
	c     *Controller
	stop  context.CancelFunc
	ended sync.WaitGroup
}

func newNodeWorld(seed uint64) *nodeWorld {
	w := &nodeWorld{simWorld: &simWorld{Rand: rand.New(rand.NewPCG(seed, 2)), seed: seed, server: simtest.NewServer(), history: newSimHistory(), tracing: true}}
	w.server.NewUID = w.people.newUID
	w.settings.Driver.Topology = true // for the scheduler
	for _, name := range []string{"fast", "late", "kept"} {
		w.people.makeClass(w.simWorld, name)
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		w.people.makeNode(w.simWorld, name)
		w.nodes = append(w.nodes, &nodeInstance{w: w, name: name, driver: &simtest.Driver{HandleIsName: w.chance(.5)}})
	}
	simCreate(w.simWorld, simtest.Nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: bareNode}})
	simCreate(w.simWorld, simtest.CSINodes, &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: bareNode}})
	w.troubled.Store(true)
	return w
}

// start runs a provisioner on the node.
func (n *nodeInstance) start() {
	n.starts++
	p := &nodeProcess{nodeInstance: n, rand: rand.New(rand.NewPCG(n.w.seed, uint64(n.starts)))}
	n.now = p
	settings := Settings{
		Driver: csi.Driver{Name: testDriver, Topology: true, Capacity: true}, NamePrefix: "pvc", NameUUIDLength: -1,
		Node: Node{Name: n.name, Segment: zone(n.name), Immediate: true, BaseDelay: 20 * time.Second, MaxDelay: time.Minute},
	}
	settings.Identity = fmt.Sprintf("%d-0-%s", n.starts, settings.Node.Identity(testDriver))
	index := topology.NewIndex()
	index.SetNode(n.name, map[string]string{"zone": n.name})
	index.SetRegistration(n.name, topology.NewKeySet([]string{"zone"}))
	client := simtest.NewClient(n.w.server, p.call)
	var err error
	p.c, err = New(Config{
		Settings: settings, Client: client, Driver: p, Capacities: p, Topology: index, Registry: noRegistry{},
		Informers:   informers.NewSharedInformerFactory(client, 0),
		JournalName: simJournal + "-" + n.name, JournalNamespace: simNamespace, JournalLabel: simJournal,
		JournalOwner:   &metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: n.name, UID: "uid-of-" + "node"},
		ExpressBinding: true, Workers: 4, SourceWorkers: 1, BackoffStart: time.Second, BackoffMax: 5 * time.Minute, Grace: time.Second,
	})
	if err != nil {
		panic(err)
	}
	feeds := simFeeds(p.c, n.w.server)
	for _, feed := range feeds {
		feed.sync(len(n.w.server.Log(feed.kind)))
	}
	ctx, stop := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	p.stop = stop
	p.c.began = time.Now()
	p.ended.Go(func() {
		defer discardLoop(p.c.events.loop)
		_ = p.c.lead(ctx)
	})
	p.ended.Go(func() {
		for ctx.Err() == nil {
			p.pause(200 * time.Millisecond)
			for _, feed := range feeds {
				for feed.behind() > 0 && !p.chance(.1) {
					feed.receive()
				}
				for len(feed.untold) > 0 {
					feed.tell()
				}
			}
		}
	})
}

// kill ends it as a SIGKILL would: nothing that it does from now on has an effect, and what is under way may have one or not.
func (p *nodeProcess) kill() {
	p.dead.Store(true)
	p.stop()
	p.ended.Wait()
}

func (p *nodeProcess) chance(share float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rand.Float64() < share
}

// trouble is chance while there is any.
func (p *nodeProcess) trouble(share float64) bool { return p.w.troubled.Load() && p.chance(share) }

func (p *nodeProcess) pause(most time.Duration) {
	p.mu.Lock()
	pause := time.Duration(p.rand.Int64N(int64(most))) + time.Millisecond
	p.mu.Unlock()
	time.Sleep(pause)
}

// call is the gate of the process's clients.
func (p *nodeProcess) call(_ context.Context, call *simtest.Call) (simtest.Object, error) {
	p.pause(30 * time.Millisecond)
	if p.dead.Load() {
		return nil, errKilled
	}
	if p.trouble(.05) {
		return nil, apierrors.NewServiceUnavailable("away")
	}
	object, err := call.Do()
	if p.dead.Load() {
		return nil, errKilled
	}
	if call.Writes() && p.trouble(.05) {
		return nil, apierrors.NewTimeoutError("lost", 1)
	}
	return object, err
}

// CreateVolume implements Driver.
func (p *nodeProcess) CreateVolume(_ context.Context, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	if where := request.GetAccessibilityRequirements().GetRequisite(); len(where) != 1 || where[0].GetSegments()["zone"] != p.name {
		p.w.problem("the driver of %s is asked for a volume in %v", p.name, where)
	}
	operation, err := p.driver.BeginCreate(request)
	if err != nil {
		return nil, err
	}
	p.pause(3 * time.Second)
	switch {
	case p.dead.Load() && p.chance(.5):
		operation.Drop()
		return nil, errKilled
	case !operation.Found() && p.trouble(.15):
		operation.Drop()
		return nil, status.Error(codes.ResourceExhausted, "full")
	}
	volume, err := operation.Do(nil)
	if p.dead.Load() {
		return nil, errKilled
	}
	if p.trouble(.2) {
		return nil, status.Error(codes.DeadlineExceeded, "lost")
	}
	return volume, err
}

// DeleteVolume implements Driver. Like the real ones it does not mind being asked for a volume that it does not have.
func (p *nodeProcess) DeleteVolume(_ context.Context, request *csipb.DeleteVolumeRequest) error {
	operation, err := p.driver.BeginDelete(request.GetVolumeId())
	if err != nil {
		return err
	}
	p.pause(time.Second)
	if p.dead.Load() {
		operation.Drop()
		return errKilled
	}
	_, err = operation.Do(nil)
	if p.trouble(.1) {
		return status.Error(codes.Unavailable, "lost")
	}
	return err
}

// GetCapacity implements Capacities.
func (p *nodeProcess) GetCapacity(context.Context, map[string]string, topology.Segment) (csi.Capacity, error) {
	p.pause(time.Second)
	switch {
	case p.trouble(.1):
		return csi.Capacity{}, status.Error(codes.Unavailable, "busy")
	case p.trouble(.2):
		return csi.Capacity{}, nil
	}
	return csi.Capacity{Available: 1 << 50}, nil
}

// meddle has somebody do something.
func (w *nodeWorld) meddle() {
	claims := w.server.List(simtest.Claims)
	var claim *corev1.PersistentVolumeClaim
	if len(claims) > 0 {
		claim, _ = claims[w.IntN(len(claims))].(*corev1.PersistentVolumeClaim)
	}
	selects := func(node string) {
		if claim == nil || claim.Spec.VolumeName != "" {
			return
		}
		w.trace("somebody: claim %s goes to %q", claim.Name, node)
		simtest.Change(w.server, simtest.Claims, "ns/"+claim.Name, func(claim *corev1.PersistentVolumeClaim) {
			delete(claim.Annotations, volumehelpers.AnnSelectedNode)
			if node != "" {
				metav1.SetMetaDataAnnotation(&claim.ObjectMeta, volumehelpers.AnnSelectedNode, node)
			}
		})
	}
	node := w.nodes[w.IntN(len(w.nodes))]
	switch w.IntN(8) {
	case 0, 1:
		w.claims++
		class := []string{"fast", "fast", "late", "kept"}[w.IntN(4)]
		simCreate(w.simWorld, simtest.Claims, makeClaim(called(fmt.Sprintf("claim-%d", w.claims)), func(claim *corev1.PersistentVolumeClaim) {
			claim.UID, claim.ResourceVersion, claim.Spec.StorageClassName = "", "", &class
		}))
	case 2:
		if claim != nil {
			simDelete(w.simWorld, simtest.Claims, "ns/"+claim.Name)
		}
	case 3:
		selects("")
	case 4:
		selects(node.name)
	case 5:
		selects(bareNode)
	case 6:
		if node.now != nil {
			w.trace("%s is killed", node.name)
			node.now.kill()
			node.now = nil
		}
	case 7:
		if node.now == nil {
			w.trace("%s starts", node.name)
			node.start()
		}
	}
}

// run tells the story and leaves the world when nothing happens in it any more.
func (w *nodeWorld) run() {
	for _, node := range w.nodes {
		node.start()
	}
	for range 40 + w.IntN(80) {
		w.meddle()
		for range w.IntN(4) {
			w.people.controllersStep(w.simWorld)
		}
		time.Sleep(time.Duration(w.Int64N(int64(10 * time.Second))))
	}
	w.trace("calm")
	w.troubled.Store(false)
	w.calm = true
	for _, node := range w.nodes {
		if node.now == nil {
			node.start()
		}
	}
	for quiet := 0; quiet < 30; quiet++ { // half an hour: longer than any backoff
		time.Sleep(time.Minute)
		for w.people.controllersStep(w.simWorld) {
			quiet = 0
			time.Sleep(time.Second)
		}
	}
	for _, node := range w.nodes {
		node.now.kill()
	}
}

// check compares what the drivers have with the objects.
func (w *nodeWorld) check() {
	objects := map[string]bool{} // node/handle of volumes that have an object
	for _, object := range w.server.List(simtest.Volumes) {
		pv, _ := object.(*corev1.PersistentVolume)
		segments := topology.AffinitySegments(pv.Spec.NodeAffinity)
		if len(segments) != 1 {
			w.problem("volume %s is in %v", pv.Name, segments)
			continue
		}
		objects[segments[0].Map()["zone"]+"/"+pv.Spec.CSI.VolumeHandle] = true
		if pv.DeletionTimestamp != nil || pv.Status.Phase == corev1.VolumeReleased && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
			w.problem("volume %s is %s and still there", pv.Name, pv.Status.Phase)
		}
	}
	count := 0
	for _, node := range w.nodes {
		for _, volume := range node.driver.Volumes() {
			count++
			if !objects[node.name+"/"+volume.Handle] {
				w.problem("the driver of %s has volume %s, which no object is of", node.name, volume.Handle)
			}
		}
	}
	if count != len(objects) {
		w.problem("the drivers have %d volumes, and there are %d objects", count, len(objects))
	}
	for _, object := range w.server.List(simtest.Claims) {
		if claim, _ := object.(*corev1.PersistentVolumeClaim); claim.Status.Phase != corev1.ClaimBound {
			w.problem("claim %s is %q, of node %q", claim.Name, claim.Status.Phase, selectedNode(claim))
		}
	}
	for _, node := range w.nodes {
		page, _ := w.server.Find(simtest.ConfigMaps, simNamespace+"/"+simJournal+"-"+node.name).(*corev1.ConfigMap)
		if page == nil || (len(page.BinaryData) == 0) != (len(page.OwnerReferences) == 1) {
			w.problem("the journal of %s with its entries and owners is %v", node.name, page)
		}
	}
}

// Whatever people and accidents do, in the end each claim has one volume, on one node, and no driver has another.
func TestNodesShareClaims(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			w := newNodeWorld(uint64(seed))
			w.run()
			w.check()
			if w.failed() {
				slices.Sort(w.problems)
				t.Errorf("seed %d:\n%s\n%s", seed, strings.Join(w.problems, "\n"), strings.Join(w.lines, "\n"))
			}
		})
		if t.Failed() {
			return
		}
	}
}
