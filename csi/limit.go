package csi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Limit is how many calls of one kind a driver gets at once. It begins at its ceiling (--worker-threads) and follows the driver: while
// calls go well it grows by one for each round of calls, up to the ceiling; when the driver says that it is overloaded, or its answers
// come much later than they used to, it shrinks by a third. Arrays that take four calls at a time need not be configured, they show it.
//
// One bad moment counts once: after the limit shrank, only calls that began since can shrink it again. And a driver that was away altogether is
// no weaker for it: half of what it could take before is given back quickly. Safe for concurrent use.
type Limit struct {
	ceiling float64
	now     func() time.Time

	mu       sync.Mutex
	limit    float64
	inFlight int
	waiting  []chan struct{} // closed when the waiter's turn has come; first come, first served
	shrunk   time.Time
	good     float64 // what the driver could take, the last time that it answered well
	answered bool    // it has answered well since the limit shrank
	recent   float64 // seconds that a call takes, over the last few
	usual    float64 // and over many
	calls    int
}

const (
	shrink = 2.0 / 3
	// slowdown: answers that take so many times longer than usual, and at least slowest, are a sign of overload.
	slowdown = 3
	slowest  = 0.25 // seconds
	// Weights of a call in the averages: about the last ten calls, and the last five hundred.
	recentWeight = 0.2
	usualWeight  = 0.004
	// warmUp is the number of calls before the averages mean anything.
	warmUp = 50
)

// NewLimit returns a Limit at its ceiling.
func NewLimit(ceiling int) *Limit {
	return &Limit{ceiling: float64(max(1, ceiling)), limit: float64(max(1, ceiling)), good: float64(ceiling), now: time.Now}
}

// Value is the number of calls allowed at once, at the moment.
func (l *Limit) Value() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.limit)
}

// InFlight is the number of calls under way.
func (l *Limit) InFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight
}

// Do makes a call when its turn has come. The error is the call's, or says that ctx ended before: then nothing was sent.
func (l *Limit) Do(ctx context.Context, call func() error) error {
	if err := l.acquire(ctx); err != nil {
		return err
	}
	began := l.now()
	err := call()
	l.release(began, err)
	return err
}

func (l *Limit) acquire(ctx context.Context) error {
	l.mu.Lock()
	if l.inFlight < int(l.limit) && len(l.waiting) == 0 {
		l.inFlight++
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.waiting {
		if other == turn {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return fmt.Errorf("wait for the driver, which is given %d calls at a time: %w", int(l.limit), context.Cause(ctx))
		}
	}
	// The turn came at the same moment: it goes to the next one.
	l.inFlight--
	l.admit()
	return fmt.Errorf("wait for the driver: %w", context.Cause(ctx))
}

func (l *Limit) release(began time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	used := l.inFlight >= int(l.limit) // only then does a good answer say that there is room for more
	l.inFlight--
	switch {
	case overloaded(err) || l.slow(began, err):
		if !began.Before(l.shrunk) {
			if l.answered {
				l.good, l.answered = l.limit, false
			}
			l.limit = max(1, l.limit*shrink)
			l.shrunk = l.now()
		}
	case err == nil:
		l.answered = true
		if used {
			l.grow()
		}
	}
	l.admit()
}

func (l *Limit) grow() {
	by := 1 / l.limit // one for each round of calls
	if l.limit < l.good/2 {
		by = 1 // twice as many at each round
	}
	l.limit = min(l.ceiling, l.limit+by)
}

// admit lets waiters in, as far as there is room.
func (l *Limit) admit() {
	for len(l.waiting) > 0 && l.inFlight < int(l.limit) {
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
		l.inFlight++
	}
}

// slow notes how long a call took, and reports whether calls have become much slower than usual.
func (l *Limit) slow(began time.Time, err error) bool {
	if err != nil {
		return false // how fast an error comes says nothing
	}
	took := l.now().Sub(began).Seconds()
	if l.calls++; l.calls == 1 {
		l.recent, l.usual = took, took
	}
	l.recent += recentWeight * (took - l.recent)
	l.usual += usualWeight * (took - l.usual)
	if l.calls < warmUp { // the first calls make up the usual by themselves
		l.usual += (took - l.usual) / float64(l.calls+1)
		return false
	}
	return l.recent > slowdown*l.usual && l.recent > slowest
}

// overloaded reports whether an answer says that the driver has too much to do (CSI spec, "Error Scheme": Aborted is an operation pending
// for the same volume, Unavailable and ResourceExhausted are what servers say that cannot keep up, and a call that exceeds its timeout is one that
// comes too late).
func overloaded(err error) bool {
	if err == nil {
		return false
	}
	code, _, ok := grpcCode(err)
	return ok && (code == codes.Unavailable || code == codes.ResourceExhausted || code == codes.Aborted || code == codes.DeadlineExceeded)
}
