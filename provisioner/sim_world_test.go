package provisioner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/simtest"
)

// simRates are how likely each kind of trouble is, in this world.
type simRates struct {
	refuse, lose, crash, codes, lag, slow, spoil float64
}

// simWorld is a cluster, a driver, the people who use them, and the processes of the provisioner that lead one after the other. One
// goroutine moves it, a step at a time: whatever a process does waits until the world lets it happen, and between two steps every
// goroutine waits. So a seed always makes the same history.
type simWorld struct {
	*rand.Rand
	seed      uint64
	rates     simRates
	settings  Settings
	express   bool // claims are bound by the provisioner, too
	noBinder  bool // Kubernetes' binder is away until all is calm
	server    *simtest.Server
	driver    *simtest.Driver
	people    simPeople
	history   *simHistory
	calm      bool // no more trouble
	strict    bool // the journal may always be written, but for a moment
	forbidden bool // it may not be, for as long as this holds

	leader    *simProcess
	running   []*simProcess // and the leader: all that are not ended
	processes int
	late      []*simItem // calls that nobody waits for and that may have an effect yet

	arrived  chan struct{} // 1; something waits for its fate
	mu       sync.Mutex
	parked   []*simItem
	ordered  int // of parked: the rest arrived since the last step
	problems []string

	tracing bool
	lines   []string
}

func newSimWorld(seed uint64, tracing bool) *simWorld {
	w := &simWorld{Rand: rand.New(rand.NewPCG(seed, 1)), seed: seed, tracing: tracing}
	level := func(most float64) float64 { // a third of the worlds know nothing of it
		return max(0, w.Float64()*1.5-0.5) * most
	}
	w.rates = simRates{refuse: level(.3), lose: level(.3), crash: level(.1), codes: level(.5), lag: level(1), slow: level(.3), spoil: level(.1)}
	w.server, w.driver = simtest.NewServer(), &simtest.Driver{ByRequest: w.chance(.5), HandleIsName: w.chance(.5)}
	w.settings = Settings{
		Driver: csi.Driver{
			Name: testDriver, Topology: w.chance(.5), Snapshots: true, Clones: true, PublishUnpublish: w.chance(.3),
		},
		NamePrefix: "pvc", NameUUIDLength: -1, ImmediateTopology: w.chance(.5), StrictTopology: w.chance(.3), TopologyLimit: w.IntN(2),
	}
	if w.chance(.1) {
		w.settings.NameUUIDLength = 1
	}
	w.strict = w.chance(.95)
	w.express = w.chance(.8)
	w.noBinder = w.chance(.3)
	w.history, w.arrived = newSimHistory(), make(chan struct{}, 1)
	w.server.NewUID = w.people.newUID
	w.people.begin(w)
	return w
}

func (w *simWorld) chance(p float64) bool { return w.Float64() < p }

// trace remembers a line of the story, if somebody is going to read it.
func (w *simWorld) trace(format string, arguments ...any) {
	if w.tracing {
		w.lines = append(w.lines, fmt.Sprintf("%8.1fs  ", time.Since(simBegan).Seconds())+fmt.Sprintf(format, arguments...))
	}
}

// simBegan is when time begins in a bubble.
var simBegan = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// problem notes that a property does not hold. The first one ends the story.
func (w *simWorld) problem(format string, arguments ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, arguments...))
}

func (w *simWorld) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.problems) > 0
}

// settle lets every goroutine go on until it waits, and puts what arrived in an order that does not depend on who was faster.
func (w *simWorld) settle() {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortStableFunc(w.parked[w.ordered:], func(a, b *simItem) int { return strings.Compare(a.String(), b.String()) })
	w.parked = slices.DeleteFunc(w.parked, func(item *simItem) bool {
		if item.gone && (item.operation != nil || item.call != nil && item.call.Writes()) {
			w.postpone(item)
		}
		return item.gone
	})
	w.ordered = len(w.parked)
	w.running = slices.DeleteFunc(w.running, func(p *simProcess) bool {
		select {
		case <-p.ended:
		default:
			return false
		}
		if w.leader == p {
			w.leader = nil
		}
		w.trace("process %d has ended: %v", p.number, p.result)
		return true
	})
}

// run tells the story: so many steps with trouble, then calm. It ends early with the first problem.
func (w *simWorld) run() {
	for range 60 + w.IntN(200) {
		w.settle()
		if w.failed() {
			return
		}
		w.advance()
	}
	w.quiesce()
}

// end kills whoever is left and waits for all of their goroutines.
func (w *simWorld) end() {
	for _, p := range w.running {
		w.kill(p)
	}
	time.Sleep(time.Minute)
	w.settle()
	if len(w.running) > 0 {
		w.problem("%d processes do not end", len(w.running))
	}
}

// waiting is the number of calls that wait for their fate.
func (w *simWorld) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.parked)
}

// advance lets one thing happen.
func (w *simWorld) advance() {
	switch dice := w.IntN(100); {
	case dice < 45 && w.waiting() > 0:
		w.release(w.take(w.IntN(w.waiting())))
	case dice < 65 && w.news():
	case dice < 80 && w.people.controllersStep(w):
	case dice < 88 && w.people.userStep(w):
	case dice < 91 && len(w.late) > 0:
		w.finishLate()
	case dice < 93 && w.leader == nil:
		w.start()
	case dice < 95 && w.leader != nil && w.chance(w.rates.crash*3):
		w.changeLeader(w.IntN(3))
	case dice < 97 && w.leader != nil && w.stores(w.leader) && w.chance(w.rates.crash*6):
		w.changeLeader(2) // in the worst moment: it is about to store a volume
	case dice < 98 && !w.strict:
		w.forbidden = !w.forbidden
		w.trace("the journal may be written: %v", !w.forbidden)
	default:
		w.sleep([]time.Duration{time.Millisecond, 200 * time.Millisecond, time.Second, 4 * time.Second, 20 * time.Second, 70 * time.Second}[w.IntN(6)])
	}
}

// news has one cache of one process hear of something.
func (w *simWorld) news() bool {
	var feeds []*simFeed
	for _, p := range w.running {
		for _, feed := range p.feeds {
			if feed.behind() > 0 || len(feed.untold) > 0 {
				feeds = append(feeds, feed)
			}
		}
	}
	if len(feeds) == 0 {
		return false
	}
	feed := feeds[w.IntN(len(feeds))]
	switch {
	case w.chance(.02):
		feed.relist()
		w.trace("relist %s", feed.kind)
	case feed.behind() > 0 && (len(feed.untold) == 0 || w.chance(.3)):
		feed.receive()
	default:
		feed.tell()
	}
	return true
}

// mostLag is how far behind a cache of a process that leads may be. The product counts on a minute (cacheLag).
const mostLag = 50 * time.Second

// sleep lets time pass. Caches that are far behind hear the news first, and who leads no more learns of it within a second.
func (w *simWorld) sleep(d time.Duration) {
	for _, p := range slices.Clone(w.running) {
		if p.left >= 0 && d >= time.Second {
			w.kill(p)
			continue
		}
		for _, feed := range p.feeds {
			for feed.behind() > 0 && time.Since(w.server.Log(feed.kind)[feed.at].At)+d > mostLag {
				feed.receive()
			}
			for len(feed.untold) > 0 && d > mostLag/2 {
				feed.tell()
			}
		}
	}
	w.trace("%s pass", d)
	time.Sleep(d)
}

// await lets time pass until something is to be done, or for so long.
func (w *simWorld) await(d time.Duration) {
	end := time.Now().Add(d)
	for time.Now().Before(end) && !w.failed() {
		select {
		case <-w.arrived:
		case <-time.After(time.Until(end)):
			w.trace("%s pass", d)
		}
		w.drain()
	}
}

// take takes something out of what waits.
func (w *simWorld) take(i int) *simItem {
	w.mu.Lock()
	defer w.mu.Unlock()
	item := w.parked[i]
	w.parked = slices.Delete(w.parked, i, i+1)
	w.ordered = len(w.parked)
	return item
}

// release decides what becomes of something that a process does, and tells it.
func (w *simWorld) release(item *simItem) {
	if item.call == nil && item.operation == nil && item.refused == nil {
		w.trace("%s", item)
		item.resume <- simAnswer{}
		return
	}
	if w.calm || !w.chance(w.rates.crash) {
		answer := w.fate(item)
		w.heard(item, answer)
		item.resume <- answer
	} else {
		answer := simAnswer{err: errKilled}
		if w.chance(.5) {
			w.trace("%s: killed before that", item)
			w.drop(item)
		} else {
			w.do(item)
			w.trace("%s: killed after that", item)
		}
		item.resume <- answer
		w.kill(item.p)
	}
	if p := item.p; p.left >= 0 && !p.dead {
		if p.left--; p.left <= 0 {
			w.kill(p)
		}
	}
}

// do has the effect.
func (w *simWorld) do(item *simItem) simAnswer {
	var answer simAnswer
	switch {
	case item.refused != nil:
		answer.err = item.refused
	case item.operation != nil:
		answer.volume, answer.err = item.operation.Do(w.spoil())
	default:
		before := w.server.Find(item.call.Kind, item.call.Key)
		answer.object, answer.err = item.call.Do()
		if answer.err == nil && item.call.Verb == "patch" {
			w.checkBinding(item.p, before, item.call, answer.object)
		}
	}
	w.checkEffect(item, answer)
	return answer
}

// drop ends something without an effect.
func (w *simWorld) drop(item *simItem) {
	if item.operation != nil {
		item.operation.Drop()
	}
}

func (w *simWorld) spoil() func(*csipb.Volume) {
	if w.calm || !w.chance(w.rates.spoil) {
		return nil
	}
	return func(v *csipb.Volume) {
		v.CapacityBytes = 1
		v.ContentSource = nil
	}
}

// Errors of calls that had no effect, and of calls that may have had one.
func (w *simWorld) apiRefusal() error {
	switch w.IntN(6) {
	case 0:
		return apierrors.NewInternalError(errors.New("etcd"))
	case 1:
		return apierrors.NewServiceUnavailable("starting")
	case 2:
		return apierrors.NewTooManyRequests("slow down", 1)
	case 3:
		return apierrors.NewForbidden(simtest.Claims.Resource(), "x", errors.New("roles are not read yet"))
	}
	return errors.New("dial: connection refused")
}

func (w *simWorld) apiSilence() error {
	switch w.IntN(4) {
	case 0:
		return apierrors.NewTimeoutError("etcd", 1)
	case 1:
		return apierrors.NewInternalError(errors.New("etcd: request timed out"))
	case 2:
		return context.DeadlineExceeded
	}
	return errors.New("read: connection reset by peer")
}

func (w *simWorld) driverSilence() error {
	switch w.IntN(5) {
	case 0:
		return errors.New("no status")
	case 1:
		return status.Error(codes.Canceled, "gone")
	case 2:
		return status.Error(codes.Unavailable, "broken")
	}
	return status.Error(codes.DeadlineExceeded, "slow")
}

// fate has the effect, or not, and returns what the process hears of it.
func (w *simWorld) fate(item *simItem) simAnswer {
	var answer simAnswer
	how, refusal := "", w.refusal(item)
	switch {
	case w.calm || item.refused != nil:
		answer = w.do(item)
	case refusal != nil && w.chance(w.rates.codes):
		w.drop(item)
		answer.err, how = refusal, "refused"
	case w.chance(w.rates.refuse) && item.call != nil:
		answer.err, how = w.apiRefusal(), "refused"
		if apierrors.IsForbidden(answer.err) && item.call.Kind == simtest.Snapshots {
			w.history.unprotected = true
		}
	case w.forbidden && item.call != nil && item.call.Kind == simtest.ConfigMaps:
		answer.err, how = apierrors.NewForbidden(simtest.ConfigMaps.Resource(), simJournal, errors.New("no role")), "refused"
	case item.call != nil && !item.call.Writes():
		answer = w.do(item)
	case w.chance(w.rates.lose):
		w.do(item)
		answer, how = w.silence(item), "lost answer"
	case w.chance(w.rates.slow):
		w.postpone(item)
		answer, how = w.silence(item), "not done yet"
	default:
		answer = w.do(item)
	}
	w.trace("%s: %s -> %s", item, how, answer)
	return answer
}

// refusal is a driver's answer to a call that has no effect; nil if it has none. That there can be no volume it does not say if there is one.
func (w *simWorld) refusal(item *simItem) error {
	if item.operation == nil {
		return nil
	}
	err := status.Error(codes.Code(1+w.IntN(16)), "words")
	class := csi.Classify(csi.CreateVolume, err).Class
	if item.operation.Found() && (class == csi.Infeasible || class == csi.Exhausted) {
		return nil
	}
	return err
}

func (w *simWorld) silence(item *simItem) simAnswer {
	if item.operation != nil {
		return simAnswer{err: w.driverSilence()}
	}
	return simAnswer{err: w.apiSilence()}
}

func (a simAnswer) String() string {
	switch {
	case a.err != nil:
		return a.err.Error()
	case a.volume != nil:
		return a.volume.String()
	}
	return "done"
}

// postpone keeps a call that nobody waits for until it takes effect, or not.
func (w *simWorld) postpone(item *simItem) {
	w.late = append(w.late, item)
	if item.call != nil && (item.call.Kind == simtest.Snapshots || item.call.Kind == simtest.Claims) {
		w.history.unprotected = true
	}
}

// finishLate has a call that nobody waits for take effect after all, or not.
func (w *simWorld) finishLate() {
	i := w.IntN(len(w.late))
	item := w.late[i]
	w.late = slices.Delete(w.late, i, i+1)
	if w.chance(.3) {
		w.drop(item)
		w.trace("%s: never done", item)
		return
	}
	answer := w.do(item)
	if pv, ok := answer.object.(*corev1.PersistentVolume); ok && item.call.Verb == "create" {
		w.history.revenants[pv.UID] = true
	}
	w.trace("%s: done after all -> %s", item, answer)
}

// changeLeader ends the leader's term in one of three ways: killed, told to stop, or not knowing yet.
func (w *simWorld) changeLeader(how int) {
	p := w.leader
	switch how {
	case 0:
		w.trace("process %d is killed", p.number)
		w.kill(p)
	case 1:
		w.trace("process %d is told to stop", p.number)
		p.stop()
	case 2:
		p.left = 1 + w.IntN(3)
		w.trace("process %d leads no more, and has %d effects left before it knows", p.number, p.left)
		w.leader = nil
	}
}

// stores reports whether a process is writing the object of a volume.
func (w *simWorld) stores(p *simProcess) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.parked, func(item *simItem) bool {
		return item.p == p && item.call != nil && item.call.Kind == simtest.Volumes && item.call.Verb == "create"
	})
}

// kill ends a process in the middle of whatever it does. What it has sent is done, or will be, or never arrives.
func (w *simWorld) kill(p *simProcess) {
	w.mu.Lock()
	p.dead = true
	var under []*simItem
	w.parked = slices.DeleteFunc(w.parked, func(item *simItem) bool {
		if item.p == p {
			under = append(under, item)
		}
		return item.p == p
	})
	w.ordered = len(w.parked)
	w.mu.Unlock()
	for _, item := range under {
		if item.operation != nil || item.call != nil && item.call.Writes() {
			switch w.IntN(3) {
			case 0:
				w.drop(item)
			case 1:
				w.trace("%s: done, for nobody -> %s", item, w.do(item))
			case 2:
				w.postpone(item)
			}
		}
		item.resume <- simAnswer{err: errKilled}
	}
	p.stop()
	if w.leader == p {
		w.leader = nil
	}
}

// newUID makes UIDs that differ in their first digit, most of the time.
func (s *simPeople) newUID(simtest.Kind) types.UID {
	s.uids++
	return types.UID(fmt.Sprintf("%x%07x-0000-4000-8000-000000000000", s.uids*7%5, s.uids))
}
