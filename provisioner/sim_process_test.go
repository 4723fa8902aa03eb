package provisioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/informers"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/simtest"
	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/topology"
)

const (
	simJournal   = "driver-journal"
	simNamespace = "system" // of the journal
)

// noRegistry takes metrics and forgets them.
type noRegistry struct{}

func (noRegistry) Register(prometheus.Collector) error  { return nil }
func (noRegistry) MustRegister(...prometheus.Collector) {}
func (noRegistry) Unregister(prometheus.Collector) bool { return false }

// simController is a controller with clients of an API server and a driver in memory. Its caches are empty and it does not run.
func simController(settings Settings, express bool, server *simtest.Server, gate simtest.Gate, driver Driver) *Controller {
	client := simtest.NewClient(server, gate)
	config := Config{
		Settings: settings, Client: client, Snapshots: client.Snapshots(), Driver: driver, Registry: noRegistry{},
		Informers:   informers.NewSharedInformerFactory(client, 0),
		JournalName: simJournal, JournalNamespace: simNamespace,
		ExpressBinding: express,
		Workers:        1, SourceWorkers: 1, BackoffStart: time.Second, BackoffMax: 5 * time.Minute,
	}
	if settings.Driver.Topology {
		config.Topology = topology.NewIndex()
	}
	c, err := New(config)
	if err != nil {
		panic(err)
	}
	return c
}

// simProcess is one run of the provisioner, from the moment it leads.
type simProcess struct {
	w      *simWorld
	number int
	c      *Controller
	feeds  []*simFeed
	stop   context.CancelFunc // as a signal would
	ended  chan struct{}      // closed when every goroutine is gone
	result error              // set before ended is closed

	dead bool // guarded by w.mu: killed; nothing that it does has an effect
	left int  // effects that it has left, for one that does not know yet that it leads no more; -1: it leads
}

// A lease that is released is taken over after a while, one that expires much later. By then the caches of the process that takes it are not as
// far behind as the last writes of the one before: the product counts on that.
const (
	takeover   = 2 * time.Second
	standbyLag = time.Second
)

// start lets another process lead. It lists what there is, or was a little while ago.
func (w *simWorld) start() {
	if !w.calm && w.processes > 0 {
		time.Sleep(takeover)
		w.settle()
	}
	w.processes++
	p := &simProcess{w: w, number: w.processes, ended: make(chan struct{}), left: -1}
	settings := w.settings
	settings.Identity = fmt.Sprintf("%d-0-%s", p.number, testDriver)
	p.c = simController(settings, w.express, w.server, p.call, p)
	replaceLoop(&p.c.claimLoop, 6, func(ctx context.Context, key ClaimKey) worker.Result { return work(ctx, p, key, p.c.workClaim) })
	replaceLoop(&p.c.volumeLoop, 4, func(ctx context.Context, key volumeKey) worker.Result { return work(ctx, p, key, p.c.workVolume) })
	replaceLoop(&p.c.sourceLoop, 2, func(ctx context.Context, key datasource.Key) worker.Result { return work(ctx, p, key, p.c.workSource) })
	replaceLoop(&p.c.bindLoop, 6, func(ctx context.Context, key ClaimKey) worker.Result { return work(ctx, p, key, p.c.workBinding) })
	p.feeds = simFeeds(p.c, w.server)
	p.c.snapshots = nil // the feed is in its place
	for _, feed := range p.feeds {
		log := w.server.Log(feed.kind)
		at := len(log)
		for !w.calm && at > 0 && time.Since(log[at-1].At) < standbyLag && w.chance(w.rates.lag) {
			at--
		}
		feed.sync(at)
	}
	ctx, stop := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	p.stop = stop
	go p.run(ctx)
	w.leader = p
	w.running = append(w.running, p)
	w.trace("process %d leads", p.number)
}

// replaceLoop puts a loop with other work in a loop's place. Half a dozen workers: no key ever waits for another one's, so that it does not matter
// which of two goroutines was faster.
func replaceLoop[K comparable](loop **worker.Loop[K], workers int, work func(context.Context, K) worker.Result) {
	discardLoop(*loop)
	*loop = worker.New(worker.Config[K]{
		Name: "sim", Workers: workers, Grace: 5 * time.Second, BackoffStart: time.Second, BackoffMax: time.Minute, Work: work,
	})
}

// discardLoop ends the goroutines of a loop that never ran.
func discardLoop[K comparable](loop *worker.Loop[K]) {
	ended, end := context.WithCancel(context.Background())
	end()
	loop.Run(ended)
}

// run is Controller.Run without informers, and without writing events.
func (p *simProcess) run(ctx context.Context) {
	defer close(p.ended)
	c := p.c
	c.began = time.Now()
	defer discardLoop(c.events.loop)
	p.result = c.lead(ctx)
}

type keyOfWork struct{}

// work begins with a key when the world says so.
func work[K comparable](ctx context.Context, p *simProcess, key K, do func(context.Context, K) worker.Result) worker.Result {
	ctx = context.WithValue(ctx, keyOfWork{}, fmt.Sprint(key))
	if p.park(ctx, &simItem{what: "work"}).err != nil {
		return worker.Done()
	}
	return do(ctx, key)
}

// simItem is something that a process is about to do, or has under way, and whose fate the world decides.
type simItem struct {
	p    *simProcess
	what string // "work", or the call
	key  string // that it is done for

	call      *simtest.Call      // of the API server
	operation *simtest.Operation // of the driver, begun
	creates   bool               // it makes a volume
	volume    string             // name of the volume that it makes or deletes
	refused   error              // by the driver, at once
	resume    chan simAnswer
	gone      bool // guarded by w.mu: nobody waits for the answer any more
}

func (i *simItem) String() string { return fmt.Sprintf("%d: %s (%s)", i.p.number, i.what, i.key) }

// simAnswer is what the process gets to hear.
type simAnswer struct {
	object simtest.Object
	volume *csipb.Volume
	err    error
}

// errKilled is what the goroutines of a killed process get from every call, so that they end.
var errKilled = errors.New("this process was killed")

// park waits until the world has decided.
func (p *simProcess) park(ctx context.Context, item *simItem) simAnswer {
	item.p, item.resume = p, make(chan simAnswer, 1)
	item.key, _ = ctx.Value(keyOfWork{}).(string)
	w := p.w
	w.mu.Lock()
	if p.dead {
		w.mu.Unlock()
		return simAnswer{err: errKilled}
	}
	w.parked = append(w.parked, item)
	w.mu.Unlock()
	select {
	case w.arrived <- struct{}{}:
	default:
	}
	select {
	case answer := <-item.resume:
		return answer
	case <-ctx.Done():
		w.mu.Lock()
		item.gone = true
		w.mu.Unlock()
		return simAnswer{err: fmt.Errorf("%s: %w", item.what, ctx.Err())}
	}
}

// call is the gate of the process's clients.
func (p *simProcess) call(ctx context.Context, call *simtest.Call) (simtest.Object, error) {
	answer := p.park(ctx, &simItem{what: call.String(), call: call})
	return answer.object, answer.err
}

// driverTimeout is how long the connection to the driver waits for an answer.
const driverTimeout = 15 * time.Second

// CreateVolume implements Driver. The call arrives at once, whatever becomes of it.
func (p *simProcess) CreateVolume(ctx context.Context, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	item := &simItem{what: "CreateVolume " + request.GetName(), creates: true, volume: request.GetName()}
	answer := p.ask(ctx, item, func() (*simtest.Operation, error) {
		p.w.checkCreate(p, request)
		return p.w.driver.BeginCreate(request)
	})
	return answer.volume, answer.err
}

// DeleteVolume implements Driver.
func (p *simProcess) DeleteVolume(ctx context.Context, request *csipb.DeleteVolumeRequest) error {
	handle := request.GetVolumeId()
	item := &simItem{what: "DeleteVolume " + handle}
	return p.ask(ctx, item, func() (*simtest.Operation, error) {
		item.volume = p.w.checkDelete(p, handle)
		return p.w.driver.BeginDelete(handle)
	}).err
}

func (p *simProcess) ask(ctx context.Context, item *simItem, begin func() (*simtest.Operation, error)) simAnswer {
	if p.killed() {
		return simAnswer{err: errKilled}
	}
	ctx, cancel := context.WithTimeout(ctx, driverTimeout)
	defer cancel()
	item.operation, item.refused = begin()
	answer := p.park(ctx, item)
	if answer.err != nil && ctx.Err() != nil {
		answer.err = status.FromContextError(ctx.Err()).Err()
	}
	return answer
}

func (p *simProcess) killed() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.dead
}
