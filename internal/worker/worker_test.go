package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// diary notes when which key was worked, in time since the start of the test.
type diary struct {
	mu      sync.Mutex
	start   time.Time
	entries []string
}

func newDiary() *diary { return &diary{start: time.Now()} }

func (d *diary) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf("%s %s", time.Since(d.start).Round(10*time.Millisecond), what))
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.entries...)
}

func config(work func(context.Context, string) Result) Config[string] {
	return Config[string]{Name: "test", Workers: 2, BackoffStart: time.Second, BackoffMax: 5 * time.Second, Grace: time.Second, Work: work}
}

// run runs a loop in a bubble of fake time and stops it at the end.
func run(t *testing.T, c Config[string], test func(*Loop[string])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		loop := New(c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			loop.Run(ctx)
		}()
		test(loop)
		cancel()
		<-done
	})
}

func TestFailuresBackOffExponentiallyUpToTheMaximum(t *testing.T) {
	var d *diary
	run(t, config(func(_ context.Context, key string) Result {
		d.note(key)
		return Backoff(errors.New("no"))
	}), func(loop *Loop[string]) {
		d = newDiary()
		loop.Enqueue("a")
		time.Sleep(16 * time.Second)
		if diff := cmp.Diff([]string{"0s a", "1s a", "3s a", "7s a", "12s a"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEventsDoNotShortenABackoffButNewsDoes(t *testing.T) {
	var d *diary
	run(t, config(func(_ context.Context, key string) Result {
		d.note(key)
		return Backoff(errors.New("no"))
	}), func(loop *Loop[string]) {
		d = newDiary()
		loop.Enqueue("a")
		time.Sleep(1500 * time.Millisecond) // failed at 0s and 1s, due at 3s
		for range 5 {
			loop.Enqueue("a")
			time.Sleep(100 * time.Millisecond)
		}
		loop.Wake("a") // at 2s; the backoff starts anew
		time.Sleep(1500 * time.Millisecond)
		if diff := cmp.Diff([]string{"0s a", "1s a", "2s a", "3s a"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnOldTimerDoesNotLoseALaterRetry(t *testing.T) {
	// Woken while a retry is scheduled, the key fails again with a longer wait: the earlier timer must not swallow the later one.
	var d *diary
	first := true
	run(t, config(func(_ context.Context, key string) Result {
		d.note(key)
		if first {
			first = false
			return Backoff(errors.New("no"))
		}
		return BackoffAtLeast(10*time.Second, errors.New("still no"))
	}), func(loop *Loop[string]) {
		d = newDiary()
		loop.Enqueue("a")
		time.Sleep(500 * time.Millisecond)
		loop.Wake("a")
		time.Sleep(12 * time.Second)
		if diff := cmp.Diff([]string{"0s a", "500ms a", "10.5s a"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSuccessForgetsFailures(t *testing.T) {
	var d *diary
	results := []Result{Backoff(errors.New("1")), Backoff(errors.New("2")), Done(), Backoff(errors.New("3")), After(20 * time.Second), Done()}
	run(t, config(func(_ context.Context, key string) Result {
		d.note(key)
		r := results[0]
		results = results[1:]
		return r
	}), func(loop *Loop[string]) {
		d = newDiary()
		loop.Enqueue("a")
		time.Sleep(4 * time.Second)
		loop.Enqueue("a")
		time.Sleep(30 * time.Second)
		if diff := cmp.Diff([]string{"0s a", "1s a", "3s a", "4s a", "5s a", "25s a"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAKeyIsWorkedOnceAtATimeAndWaitsOnce(t *testing.T) {
	var mu sync.Mutex
	working, calls := 0, 0
	run(t, config(func(context.Context, string) Result {
		mu.Lock()
		working++
		calls++
		if working > 1 {
			t.Error("the same key is worked on twice at once")
		}
		mu.Unlock()
		time.Sleep(time.Second)
		mu.Lock()
		working--
		mu.Unlock()
		return Done()
	}), func(loop *Loop[string]) {
		for range 10 {
			loop.Enqueue("a")
		}
		time.Sleep(500 * time.Millisecond)
		for range 10 {
			loop.Enqueue("a") // while it is being worked: once more afterwards
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if calls != 2 {
			t.Errorf("worked %d times, want 2", calls)
		}
	})
}

func TestNewsWhileAKeyIsWorkedIsNotLost(t *testing.T) {
	var d *diary
	run(t, config(func(_ context.Context, key string) Result {
		d.note(key)
		time.Sleep(time.Second)
		return BackoffAtLeast(time.Minute, errors.New("no"))
	}), func(loop *Loop[string]) {
		d = newDiary()
		loop.Enqueue("a")
		time.Sleep(500 * time.Millisecond)
		loop.Wake("a")
		time.Sleep(30 * time.Second)
		if diff := cmp.Diff([]string{"0s a", "1s a"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatNewsCannotChangeWaitsRegardless(t *testing.T) {
	var d *diary
	run(t, config(func(_ context.Context, key string) Result {
		d.note(key)
		time.Sleep(100 * time.Millisecond)
		return BackoffRegardless(errors.New("unknown"))
	}), func(loop *Loop[string]) {
		d = newDiary()
		loop.Enqueue("a")
		time.Sleep(50 * time.Millisecond)
		loop.Wake("a") // while it is worked
		time.Sleep(500 * time.Millisecond)
		loop.Wake("a") // while it waits
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"0s a", "1.1s a"}, d.read()); diff != "" {
			t.Error(diff)
		}
		loop.WakeAll()
		time.Sleep(10 * time.Millisecond)
		if diff := cmp.Diff([]string{"0s a", "1.1s a", "1.55s a"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAPanicIsOneKeysFailure(t *testing.T) {
	var d *diary
	run(t, config(func(_ context.Context, key string) Result {
		d.note(key)
		if key == "bad" {
			panic("nil map")
		}
		return Done()
	}), func(loop *Loop[string]) {
		d = newDiary()
		loop.Enqueue("bad")
		time.Sleep(500 * time.Millisecond)
		loop.Enqueue("good")
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"0s bad", "500ms good", "1s bad"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStoppingLetsWorkFinishAndStartsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finished, begun := 0, 0
		c := config(nil)
		c.Workers, c.Grace = 1, 10*time.Second
		c.Work = func(ctx context.Context, _ string) Result {
			begun++
			select {
			case <-time.After(5 * time.Second):
				finished++
			case <-ctx.Done():
				t.Error("work was cut within the grace period")
			}
			return Done()
		}
		loop := New(c)
		loop.Enqueue("a")
		loop.Enqueue("b")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		loop.Run(ctx)
		if took := time.Since(start); took != 5*time.Second || finished != 1 || begun != 1 {
			t.Errorf("stopped after %s, %d begun, %d finished; want 5s, 1, 1", took, begun, finished)
		}
	})
}

func TestTheGracePeriodIsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(func(ctx context.Context, _ string) Result {
			<-ctx.Done()
			return Done()
		})
		loop := New(c)
		loop.Enqueue("a")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		loop.Run(ctx)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("stopped after %s, want 1s of work and 1s of grace", took)
		}
	})
}
