package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// underWay is one key's work.
type underWay struct {
	now   func() time.Time
	news  bool         // there was some since it began; guarded by the loop
	since atomic.Int64 // when it began, or went on, in Unix nanoseconds; 0: it waits for what has no limit
}

func (u *underWay) resume() { u.since.Store(u.now().UnixNano()) }

type underWayKey struct{}

// Pause says that the work which ctx is of waits for somebody else, with no limit of its own: it does not count as stuck until Resume.
func Pause(ctx context.Context) {
	if work, ok := ctx.Value(underWayKey{}).(*underWay); ok {
		work.since.Store(0)
	}
}

// Resume says that the work goes on. Its time counts from now.
func Resume(ctx context.Context) {
	if work, ok := ctx.Value(underWayKey{}).(*underWay); ok {
		work.resume()
	}
}

// Oldest is how long the key has waited for a worker that has waited longest; 0: none waits. Keys that are backing off do not count.
func (l *Loop[K]) Oldest() time.Duration {
	since := l.order.arrivals.oldest.Load()
	if since == 0 {
		return 0
	}
	return max(0, time.Duration(l.config.Clock.Now().UnixNano()-since))
}

// Stuck is an error if work takes longer than its limit. All of its calls have limits, so it hangs in this process, and nothing but a
// restart gives the key and its worker back.
func (l *Loop[K]) Stuck() error {
	if l.config.Limit <= 0 {
		return nil
	}
	now := l.config.Clock.Now()
	taking := map[string]time.Duration{}
	l.mu.Lock()
	for key, work := range l.active {
		if since := work.since.Load(); since != 0 {
			taking[fmt.Sprint(key)] = now.Sub(time.Unix(0, since))
		}
	}
	l.mu.Unlock()
	return overdue(l.config.Name, taking, l.config.Limit)
}

// named is how many stuck keys are named: one tells what to look for.
const named = 3

// overdue is an error that names what takes longer than the limit.
func overdue(queue string, taking map[string]time.Duration, limit time.Duration) error {
	var late []string
	for key, since := range taking {
		if since > limit {
			late = append(late, fmt.Sprintf("%s since %s", key, since.Round(time.Second)))
		}
	}
	if len(late) == 0 {
		return nil
	}
	slices.Sort(late)
	more := ""
	if len(late) > named {
		more = fmt.Sprintf(" and %d more", len(late)-named)
		late = late[:named]
	}
	return fmt.Errorf("queue %s: work that must not take longer than %s is stuck: %s%s", queue, limit, strings.Join(late, ", "), more)
}
