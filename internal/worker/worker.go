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
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Result is what became of a key. The zero Result is Done.
type Result struct {
	err   error
	retry bool
	after time.Duration
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

// Retries reports whether the result is a failure that is to be tried again.
func (r Result) Retries() bool { return r.retry }

// Config describes a Loop. Every field but Clock is required.
type Config[K comparable] struct {
	Name         string        // of the queue's metrics and in log lines
	Workers      int           // goroutines
	BackoffStart time.Duration // first retry
	BackoffMax   time.Duration // no retry waits longer, but for BackoffAtLeast
	Grace        time.Duration // how long work that is under way may go on once the loop is to stop
	// Work is called with one key. Its context ends only when Grace is over, so that work is not cut in the middle.
	Work  func(ctx context.Context, key K) Result
	Clock clock.WithTicker // nil: the real one
}

// Loop works on keys. Safe for concurrent use.
type Loop[K comparable] struct {
	config Config[K]
	queue  workqueue.TypedDelayingInterface[K]

	working atomic.Int64 // keys being worked

	mu      sync.Mutex
	waiting map[K]backoff // keys whose last work failed
}

type backoff struct {
	failures  int
	notBefore time.Time
}

// New makes a Loop. Keys may be enqueued before it runs.
func New[K comparable](config Config[K]) *Loop[K] {
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	return &Loop[K]{
		config: config,
		queue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[K]{
			Name: config.Name, Clock: config.Clock,
		}),
		waiting: map[K]backoff{},
	}
}

// Enqueue says that something about the key may have changed. A key that is backing off goes on waiting: a resync or an
// unrelated edit is no reason to try again early.
func (l *Loop[K]) Enqueue(key K) { l.queue.Add(key) }

// Wake says that what the key waits for has changed: it is worked now, and its backoff starts anew.
func (l *Loop[K]) Wake(key K) {
	l.mu.Lock()
	delete(l.waiting, key)
	l.mu.Unlock()
	l.queue.Add(key)
}

// Load is the number of keys that are due or being worked.
func (l *Loop[K]) Load() int { return l.queue.Len() + int(l.working.Load()) }

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
	if wait := l.mustWait(key); wait > 0 {
		l.queue.AddAfter(key, wait)
		return true
	}
	l.settle(workCtx, key, l.work(workCtx, key))
	return true
}

func (l *Loop[K]) mustWait(key K) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.waiting[key]; ok {
		return b.notBefore.Sub(l.config.Clock.Now())
	}
	return 0
}

// work calls Work. A panic is a defect, but one object's: it is logged with its stack and retried like any failure, and all other
// keys go on.
func (l *Loop[K]) work(ctx context.Context, key K) (result Result) {
	l.working.Add(1)
	defer l.working.Add(-1)
	defer func() {
		if r := recover(); r != nil {
			result = Backoff(fmt.Errorf("defect: panic: %v\n%s", r, debug.Stack()))
		}
	}()
	return l.config.Work(ctx, key)
}

// settle does what the result asks for.
func (l *Loop[K]) settle(ctx context.Context, key K, result Result) {
	if !result.retry {
		l.mu.Lock()
		delete(l.waiting, key)
		l.mu.Unlock()
		if result.after > 0 {
			l.queue.AddAfter(key, result.after)
		}
		return
	}
	delay, failures := l.backOff(key, result.after)
	l.queue.AddAfter(key, delay)
	if result.err != nil {
		klog.FromContext(ctx).Info("Will try again", "queue", l.config.Name, "key", key, "failures", failures,
			"after", delay.Round(time.Millisecond), "err", result.err)
	}
}

// backOff counts a failure and returns how long to wait: start, twice that, four times that, ..., at most max.
func (l *Loop[K]) backOff(key K, atLeast time.Duration) (time.Duration, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	failures := l.waiting[key].failures + 1
	delay := l.config.BackoffMax
	if doublings := failures - 1; doublings < 32 {
		delay = min(delay, l.config.BackoffStart<<doublings)
		if delay <= 0 { // the shift overflowed
			delay = l.config.BackoffMax
		}
	}
	delay = max(delay, atLeast)
	l.waiting[key] = backoff{failures: failures, notBefore: l.config.Clock.Now().Add(delay)}
	return delay, failures
}
