package worker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOverdue(t *testing.T) {
	const limit = time.Minute
	tests := map[string]struct {
		taking map[string]time.Duration
		want   string // empty: no error
	}{
		"nothing is worked":            {nil, ""},
		"work within its limit":        {map[string]time.Duration{"a": limit}, ""},
		"work beyond its limit":        {map[string]time.Duration{"a": limit + time.Second, "b": time.Second}, "queue claims: work that must not take longer than 1m0s is stuck: a since 1m1s"},
		"a few are all named, in turn": {map[string]time.Duration{"b": 2 * limit, "a": 3 * limit}, "stuck: a since 3m0s, b since 2m0s"},
		"of many some are named":       {map[string]time.Duration{"a": 2 * limit, "b": 2 * limit, "c": 2 * limit, "d": 2 * limit, "e": 2 * limit}, "c since 2m0s and 2 more"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := overdue("claims", tt.taking, limit)
			if (err == nil) != (tt.want == "") || err != nil && !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// never is longer than any test.
const never = 1000 * time.Hour

func TestWorkThatHangsIsStuckUnlessItWaitsForSomebody(t *testing.T) {
	tests := map[string]struct {
		before func(context.Context)
		begins time.Duration // when the time counts from
	}{
		"it hangs":                      {func(context.Context) { time.Sleep(time.Second) }, 0},
		"it waits":                      {Pause, never},
		"it waited once and then hangs": {func(ctx context.Context) { Pause(ctx); time.Sleep(time.Hour); Resume(ctx) }, time.Hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			released := make(chan struct{})
			config := config(func(ctx context.Context, _ string) Result {
				tt.before(ctx)
				<-released
				return Done()
			})
			config.Limit = time.Minute
			run(t, config, func(loop *Loop[string]) {
				released = make(chan struct{}) // of this bubble
				loop.Enqueue("a")
				synctest.Wait()
				began := time.Now()
				for _, at := range []time.Duration{0, config.Limit, config.Limit + time.Second, time.Hour + config.Limit, time.Hour + config.Limit + time.Second} {
					time.Sleep(at - time.Since(began))
					want := tt.begins != never && at > tt.begins+config.Limit
					if err := loop.Stuck(); (err != nil) != want {
						t.Errorf("after %s: got %v, want stuck: %t", at, err, want)
					}
				}
				close(released)
				synctest.Wait()
				if err := loop.Stuck(); err != nil {
					t.Errorf("when it is over: %v", err)
				}
			})
		})
	}
}

func TestALoopWithoutALimitIsNeverStuck(t *testing.T) {
	var released chan struct{}
	run(t, config(func(context.Context, string) Result { <-released; return Done() }), func(loop *Loop[string]) {
		released = make(chan struct{})
		loop.Enqueue("a")
		time.Sleep(never)
		if err := loop.Stuck(); err != nil {
			t.Error(err)
		}
		close(released)
	})
}

func TestOutsideOfALoopThereIsNothingToPause(t *testing.T) {
	Pause(t.Context())
	Resume(t.Context())
}

func TestTheOldestKeyIsTheOneThatHasWaitedLongest(t *testing.T) {
	var released chan struct{}
	c := config(func(context.Context, string) Result { <-released; return Done() })
	c.Workers = 1
	run(t, c, func(loop *Loop[string]) {
		released = make(chan struct{})
		if got := loop.Oldest(); got != 0 {
			t.Errorf("nothing waits, and the oldest has waited %s", got)
		}
		want := func(want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := loop.Oldest(); got != want {
				t.Errorf("the oldest has waited %s, want %s", got, want)
			}
		}
		loop.Enqueue("worked")
		want(0)
		loop.Enqueue("first")
		time.Sleep(time.Minute)
		loop.Enqueue("second")
		want(time.Minute)
		loop.Enqueue("first") // it keeps its place
		released <- struct{}{}
		want(0) // the first is worked, the second has only come
		time.Sleep(time.Second)
		want(time.Second)
		close(released)
		want(0)
	})
}

func TestTicketsCanBeGivenBackInAnyOrder(t *testing.T) {
	var a arrivals
	at := func(second int64) time.Time { return time.Unix(second, 0) }
	tickets := []int{a.came(at(1)), a.came(at(2)), a.came(at(3))}
	steps := []struct {
		leaves int
		oldest int64
	}{{1, 1}, {0, 3}, {2, 0}}
	for _, step := range steps {
		a.left(tickets[step.leaves])
		if got := a.oldest.Load() / int64(time.Second); got != step.oldest {
			t.Errorf("after number %d has left the oldest is of second %d, want %d", step.leaves, got, step.oldest)
		}
	}
	if ticket := a.came(at(9)); a.oldest.Load() != at(9).UnixNano() {
		t.Error("the next one to come is not the oldest")
	} else if a.left(ticket); len(a.waiting) != 0 {
		t.Errorf("%d wait, want none", len(a.waiting))
	}
}
