package csi

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// callers calls from as many goroutines as the limit's ceiling could let through, for a while.
func callers(l *Limit, count int, during time.Duration, call func() error) {
	var all sync.WaitGroup
	end := time.Now().Add(during)
	for range count {
		all.Go(func() {
			for time.Now().Before(end) {
				_ = l.Do(context.Background(), call)
			}
		})
	}
	all.Wait()
}

func TestLimitFollowsTheDriver(t *testing.T) {
	constant := func(took time.Duration, err error) func() error {
		return func() error { time.Sleep(took); return err }
	}
	tests := map[string]struct {
		call    func() error
		low, up int // where the limit is in the end
	}{
		"a good driver gets all there is":        {constant(50*time.Millisecond, nil), 100, 100},
		"a slow driver, too, if it always is":    {constant(5*time.Second, nil), 100, 100},
		"one that is overloaded gets one call":   {constant(50*time.Millisecond, status.Error(codes.ResourceExhausted, "")), 1, 1},
		"one that is away, too":                  {constant(time.Millisecond, status.Error(codes.Unavailable, "")), 1, 1},
		"one whose calls all time out, too":      {constant(10*time.Second, status.Error(codes.DeadlineExceeded, "")), 1, 20},
		"one that refuses for a reason gets all": {constant(50*time.Millisecond, status.Error(codes.InvalidArgument, "")), 100, 100},
		"a connection's error says nothing":      {constant(50*time.Millisecond, errors.New("no status")), 100, 100},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewLimit(100)
				callers(l, 100, time.Minute, tt.call)
				if got := l.Value(); got < tt.low || got > tt.up {
					t.Errorf("the limit is %d, want %d to %d", got, tt.low, tt.up)
				}
				if got := l.InFlight(); got != 0 {
					t.Errorf("%d calls are under way", got)
				}
			})
		})
	}
}

func TestLimitFindsWhatADriverCanTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(100)
		var mu sync.Mutex
		working, most := 0, 0
		callers(l, 100, 2*time.Minute, func() error { // refuses what is more than ten at a time
			mu.Lock()
			working++
			n := working
			most = max(most, n)
			mu.Unlock()
			defer func() { mu.Lock(); working--; mu.Unlock() }()
			time.Sleep(50 * time.Millisecond)
			if n > 10 {
				return status.Error(codes.Aborted, "busy")
			}
			return nil
		})
		if got := l.Value(); got < 5 || got > 12 {
			t.Errorf("the limit is %d for a driver that takes 10", got)
		}
		if most != 100 {
			t.Errorf("it began with %d calls at once, want the ceiling", most)
		}
	})
}

func TestLimitShrinksWhenAnswersComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(100)
		callers(l, 100, 30*time.Second, func() error { time.Sleep(100 * time.Millisecond); return nil })
		if l.Value() != 100 {
			t.Fatalf("the limit is %d", l.Value())
		}
		callers(l, 100, 5*time.Second, func() error { time.Sleep(time.Second); return nil })
		if got := l.Value(); got > 70 {
			t.Errorf("the limit is %d although answers take ten times as long", got)
		}
		callers(l, 100, 5*time.Minute, func() error { time.Sleep(100 * time.Millisecond); return nil })
		if got := l.Value(); got != 100 {
			t.Errorf("the limit is %d although all is well again", got)
		}
	})
}

func TestADriverThatWasAwaySoonGetsItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(100)
		callers(l, 100, time.Second, func() error { time.Sleep(50 * time.Millisecond); return nil })
		callers(l, 100, time.Minute, func() error { time.Sleep(time.Millisecond); return status.Error(codes.Unavailable, "") })
		if got := l.Value(); got != 1 {
			t.Fatalf("the limit is %d", got)
		}
		callers(l, 100, time.Second, func() error { time.Sleep(50 * time.Millisecond); return nil })
		if got := l.Value(); got < 50 {
			t.Errorf("a second later the limit is %d", got)
		}
	})
}

func TestABadMomentCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(90)
		var all sync.WaitGroup
		for range 90 { // all under way when the driver goes away
			all.Go(func() {
				_ = l.Do(t.Context(), func() error {
					time.Sleep(time.Second)
					return status.Error(codes.Unavailable, "")
				})
			})
		}
		all.Wait()
		if got := l.Value(); got != 60 {
			t.Errorf("the limit is %d, want 60", got)
		}
	})
}

func TestWhoeverGivesUpWaitingIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(1)
		var all sync.WaitGroup
		all.Go(func() { _ = l.Do(t.Context(), func() error { time.Sleep(time.Minute); return nil }) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Do(ctx, func() error { t.Error("it was called"); return nil }); err == nil {
			t.Error("no error")
		}
		called := false
		if err := l.Do(t.Context(), func() error { called = true; return nil }); err != nil || !called {
			t.Errorf("got %v", err)
		}
		all.Wait()
		if l.InFlight() != 0 {
			t.Errorf("%d calls are under way", l.InFlight())
		}
	})
}
