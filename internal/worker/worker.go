// Package worker is the project's one worker loop: keys in a queue, a few goroutines, and a function that works on a key and says
// when it wants to see it again.
//
// A key is a small comparable value, never a pointer: two keys that mean the same are the same, so a key waits in the queue at most
// once and is worked on by at most one goroutine at a time. Events only enqueue keys; state is read when the key is worked,
// so missed or merged events do no harm.
//
// It imports nothing of this project.
package worker

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Result is what became of a key. The zero Result is Done.
type Result struct {
	err        error
	retry      bool
	regardless bool
	after      time.Duration
}

// Done: nothing more to do until the key is enqueued again. The key's backoff starts anew.
func Done() Result { return Result{} }

// After asks for the key again after d; that is no failure.
func After(d time.Duration) Result { return Result{after: d} }

// Backoff asks for the key again after an exponentially growing time. The error is logged by the loop.
func Backoff(err error) Result { return Result{retry: true, err: err} }

// BackoffAtLeast is Backoff with a floor, for what will hardly mend itself.
func BackoffAtLeast(d time.Duration, err error) Result {
	return Result{retry: true, after: d, err: err}
}

// BackoffRegardless is Backoff that not even news ends early, for what news cannot change.
func BackoffRegardless(err error) Result { return Result{retry: true, regardless: true, err: err} }

// String is the result in words: what comes next and, after a colon, why.
func (r Result) String() string {
	words := "done"
	switch {
	case r.regardless:
		words = "again, whatever the news"
	case r.retry && r.after > 0:
		words = "again, not before " + r.after.String()
	case r.retry:
		words = "again"
	case r.after > 0:
		words = "again after " + r.after.String()
	}
	if r.err != nil {
		words += ": " + r.err.Error()
	}
	return words
}

// Retries reports whether the result is a failure that is to be tried again.
func (r Result) Retries() bool { return r.retry }

// Config describes a Loop. Every field but Group and Clock is required.
type Config[K comparable] struct {
	Name         string        // of the queue's metrics and in log lines
	Workers      int           // goroutines
	BackoffStart time.Duration // first retry
	BackoffMax   time.Duration // no retry waits longer, but for BackoffAtLeast
	Grace        time.Duration // how long work that is under way may go on once the loop is to stop
	// Work is called with one key. Its context ends only when Grace is over, so that work is not cut in the middle.
	Work func(ctx context.Context, key K) Result
	// Group tells which keys are one user's, in a long queue. Users take turns. nil: all keys are one's.
	Group func(key K) string
	// Limit is how long Work may take between two moments at which it waits without a limit (Pause). Longer means that it is stuck. 0: it may take
	// for ever.
	Limit time.Duration
	Clock clock.WithTicker // nil: the real one
}

// Loop works on keys. Safe for concurrent use.
type Loop[K comparable] struct {
	config Config[K]
	queue  workqueue.TypedDelayingInterface[K]
	order  *order[K] // of the queue, whose lock guards it

	mu      sync.Mutex
	waiting map[K]backoff   // keys whose last work failed
	active  map[K]*underWay // keys being worked
}

type backoff struct {
	failures   int
	notBefore  time.Time
	regardless bool
}

// New makes a Loop. Keys may be enqueued before it runs.
func New[K comparable](config Config[K]) *Loop[K] {
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	if config.Group == nil {
		config.Group = func(K) string { return "" }
	}
	l := &Loop[K]{config: config, waiting: map[K]backoff{}, active: map[K]*underWay{}}
	l.order = &order[K]{group: config.Group, retry: l.failedBefore, now: config.Clock.Now}
	l.queue = workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[K]{
		Name: config.Name, Clock: config.Clock,
		Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[K]{
			Name: config.Name, Clock: config.Clock, Queue: l.order,
		}),
	})
	return l
}

// Name is the name of the queue, in metrics and log lines.
func (l *Loop[K]) Name() string { return l.config.Name }

// failedBefore reports whether the key's last work failed.
func (l *Loop[K]) failedBefore(key K) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting[key].failures > 0
}

// Enqueue says that something about the key may have changed. A key that is backing off goes on waiting: a resync or an
// unrelated edit is no reason to try again early.
func (l *Loop[K]) Enqueue(key K) { l.queue.Add(key) }

// Wake says that what the key waits for may have changed: it is worked now, and its backoff starts anew. If it is being worked, it is
// worked again at once: that work may not have seen the news.
func (l *Loop[K]) Wake(key K) {
	l.mu.Lock()
	if !l.waiting[key].regardless {
		delete(l.waiting, key)
	}
	if work := l.active[key]; work != nil {
		work.news = true
	}
	l.mu.Unlock()
	l.queue.Add(key)
}

// Len is the number of keys that wait to be worked, without those that wait for a time.
func (l *Loop[K]) Len() int { return l.queue.Len() }

// WakeAll wakes every key that waits for a retry, including those that news does not wake.
func (l *Loop[K]) WakeAll() {
	l.mu.Lock()
	keys := slices.Collect(maps.Keys(l.waiting))
	clear(l.waiting)
	l.mu.Unlock()
	for _, key := range keys {
		l.queue.Add(key)
	}
}

// Run works on keys until ctx ends, then lets work that is under way finish within the grace period, and returns when the last
// goroutine is gone. Keys that are still queued are dropped: whoever leads next finds them again.
func (l *Loop[K]) Run(ctx context.Context) {
	workCtx, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	var workers sync.WaitGroup
	for range l.config.Workers {
		workers.Go(func() {
			for l.next(ctx, workCtx) {
			}
		})
	}
	<-ctx.Done()
	l.queue.ShutDown()
	grace := l.config.Clock.NewTimer(l.config.Grace)
	defer grace.Stop()
	finished := make(chan struct{})
	go func() {
		workers.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-grace.C():
		cut(fmt.Errorf("not finished within the grace period of %s", l.config.Grace))
		<-finished
	}
}

// next works on one key. It returns false when the queue is shut down and empty.
func (l *Loop[K]) next(ctx, workCtx context.Context) bool {
	key, shutdown := l.queue.Get()
	if shutdown {
		return false
	}
	defer l.queue.Done(key)
	if ctx.Err() != nil {
		return true
	}
	work, wait := l.begin(key)
	if wait > 0 {
		l.queue.AddAfter(key, wait)
		return true
	}
	l.settle(workCtx, key, l.work(context.WithValue(workCtx, underWayKey{}, work), key))
	return true
}

// begin marks the key as being worked, or returns how long it has to wait.
func (l *Loop[K]) begin(key K) (*underWay, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.waiting[key]; ok {
		if wait := b.notBefore.Sub(l.config.Clock.Now()); wait > 0 {
			return nil, wait
		}
	}
	work := &underWay{now: l.config.Clock.Now}
	work.resume()
	l.active[key] = work
	return work, 0
}

// work calls Work. A panic is a defect, but one object's: it is logged with its stack and retried like any failure, and all other
// keys go on.
func (l *Loop[K]) work(ctx context.Context, key K) (result Result) {
	defer func() {
		if r := recover(); r != nil {
			result = Backoff(fmt.Errorf("defect: panic: %v\n%s", r, debug.Stack()))
		}
	}()
	return l.config.Work(ctx, key)
}

// settle does what the result asks for.
func (l *Loop[K]) settle(ctx context.Context, key K, result Result) {
	delay, failures := l.conclude(key, result)
	if delay > 0 {
		l.queue.AddAfter(key, delay)
	}
	if result.err != nil {
		klog.FromContext(ctx).Info("Will try again", "queue", l.config.Name, "key", key, "failures", failures,
			"after", delay.Round(time.Millisecond), "err", result.err)
	}
}

// conclude counts a failure, or forgets earlier ones, and returns how long to wait: start, twice that, four times that, ..., at most
// max. If there was news while the key was worked, it is queued already and does not wait.
func (l *Loop[K]) conclude(key K, result Result) (delay time.Duration, failures int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	work := l.active[key]
	news := work != nil && work.news
	delete(l.active, key)
	if !result.retry || news && !result.regardless {
		delete(l.waiting, key)
		if result.retry {
			return 0, 1
		}
		return result.after, 0
	}
	failures = l.waiting[key].failures + 1
	delay = l.config.BackoffMax
	if doublings := failures - 1; doublings < 32 {
		if d := l.config.BackoffStart << doublings; d > 0 { // else the shift overflowed
			delay = min(delay, d)
		}
	}
	delay = max(delay, result.after)
	l.waiting[key] = backoff{failures: failures, notBefore: l.config.Clock.Now().Add(delay), regardless: result.regardless}
	return delay, failures
}
