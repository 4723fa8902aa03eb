package capacity

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/worker"
)

const (
	// coalesce is how long a question waits for more to happen in its pool, so that a burst of volumes is one question.
	coalesce = 250 * time.Millisecond
	// quiet is how long a question waits for the calls in its pool to end. An answer during a call may have the volume in it or not.
	quiet = 2 * time.Second
)

// Question is what decides whether a pool is to be asked about now.
type Question struct {
	Now    time.Time
	Wanted bool      // a newer report than the one there is
	Since  time.Time // it is wanted since then
	Urgent bool      // because something happened, and not because its time has come
	First  bool      // there is no report yet
	Calls  int       // under way, that take from the pool
}

// Ask says whether to ask, or else how long to wait; 0: until something happens.
func (q Question) Ask() (now bool, wait time.Duration) {
	if !q.Wanted {
		return false, 0
	}
	if q.First {
		return true, 0
	}
	var until time.Time
	if q.Urgent {
		until = q.Since.Add(coalesce)
	}
	if q.Calls > 0 {
		until = q.Since.Add(quiet)
	}
	if wait := until.Sub(q.Now); wait > 0 {
		return false, wait
	}
	return true, 0
}

// workPool asks the driver about a pool if that is due.
func (c *Controller) workPool(ctx context.Context, key Pool) worker.Result {
	parameters, asked, wait := c.book.ask(key)
	if asked == 0 {
		return worker.After(wait)
	}
	said, err := c.config.Capacities.GetCapacity(ctx, parameters, key.Segment)
	if err != nil {
		c.book.unanswered(key, asked)
		return worker.Backoff(fmt.Errorf("ask the driver for its capacity: %w", err))
	}
	follows := c.book.answered(key, asked, said)
	c.poll.done(key, time.Now())
	c.enqueue(follows)
	if len(follows.pools) > 0 {
		return worker.After(time.Millisecond) // something happened while the driver answered
	}
	return worker.Done()
}

// ask takes a pool's turn to be asked about, and returns what to ask with and the moment. Without a moment it is not to be asked, but perhaps after
// the wait.
func (b *book) ask(key Pool) (parameters map[string]string, at moment, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.pools[key]
	if known == nil {
		return nil, 0, 0
	}
	question := Question{
		Now: b.now(), Wanted: known.wanted > known.asked, Since: known.waits, Urgent: known.urgent, First: known.asked == 0,
		Calls: b.ledger.calls(key),
	}
	now, wait := question.Ask()
	if !now {
		return nil, 0, wait
	}
	known.asking = b.next()
	return b.asking[key.Parameters], known.asking, 0
}

// answered notes a report.
func (b *book) answered(key Pool, asked moment, said csi.Capacity) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.pools[key]
	if known == nil || known.asking != asked {
		return work{} // nobody is interested any more
	}
	known.said, known.asked, known.asking, known.since = said, asked, 0, b.now()
	b.ages.MoveToBack(known.age)
	b.ledger.report(key, asked, said)
	b.outdateRooms(key.Parameters)
	w := work{keys: b.keysOf(key)}
	if known.wanted > asked {
		w.pools = append(w.pools, key)
	} else {
		known.urgent = false
	}
	return w
}

// unanswered notes that a question failed. What was reported before stands, and ages.
func (b *book) unanswered(key Pool, asked moment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.pools[key]; known != nil && known.asking == asked {
		known.asking = 0
	}
}

// due notes that it is time for a pool to be asked about again, and reports whether there still is such a pool.
func (b *book) due(key Pool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.pools[key]
	if known == nil {
		return false
	}
	if known.wanted <= max(known.asked, known.asking) {
		known.wanted, known.waits = b.next(), b.now()
	}
	return true
}

// isUrgent reports whether something happened in a pool since its report.
func (b *book) isUrgent(key Pool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.pools[key]
	return known != nil && known.urgent
}
