package capacity

import (
	"container/heap"
	"context"
	"hash/fnv"
	"sync"
	"time"
)

// poll lets each pool have its turn once in an interval, at a moment of its own, so that the driver gets a steady trickle of questions and not a
// burst. Questions wait here and not in the queue of the loop: what happens meanwhile shall not have to wait behind them.
type poll struct {
	interval time.Duration
	crowded  int // how many pools may wait in the loop's queue before turns wait

	mu    sync.Mutex
	turns turns
	at    map[Pool]*turn
}

type turn struct {
	pool  Pool
	due   time.Time
	index int
}

const (
	// crowdedPause is how long turns wait while the queue is crowded. Short, or the threads would have nothing to do at the end of it.
	crowdedPause = 5 * time.Millisecond
	// crowdedPerThread is how much has to be in the queue for that: what a thread gets done in such a pause with a driver that answers fast.
	crowdedPerThread = 4
)

func newPoll(interval time.Duration, threads int) *poll {
	return &poll{interval: interval, crowded: crowdedPerThread * threads, at: map[Pool]*turn{}}
}

// done gives a pool that was just asked about its next turn: the pool's moment, but not before half an interval has passed.
func (p *poll) done(pool Pool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := p.slot(pool, now.Add(p.interval/2))
	if known := p.at[pool]; known != nil {
		known.due = due
		heap.Fix(&p.turns, known.index)
		return
	}
	fresh := &turn{pool: pool, due: due}
	p.at[pool] = fresh
	heap.Push(&p.turns, fresh)
}

// slot is the pool's first moment after the given time. Its place within the interval follows from its name.
func (p *poll) slot(pool Pool, after time.Time) time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(pool.String())) // never fails
	offset := time.Duration(h.Sum64() % uint64(p.interval))
	start := after.Truncate(p.interval).Add(offset)
	if start.Before(after) {
		start = start.Add(p.interval)
	}
	return start
}

// forget takes a pool's turn away.
func (p *poll) forget(pool Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.at[pool]; known != nil {
		heap.Remove(&p.turns, known.index)
		delete(p.at, pool)
	}
}

// take returns the next pool whose turn has come and gives it the next one, or says how long that is away.
func (p *poll) take(now time.Time) (pool Pool, wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.turns) == 0 {
		return Pool{}, p.interval, false
	}
	first := p.turns[0]
	if wait := first.due.Sub(now); wait > 0 {
		return Pool{}, wait, false
	}
	first.due = p.slot(first.pool, now.Add(p.interval/2))
	heap.Fix(&p.turns, 0)
	return first.pool, 0, true
}

// run hands out turns until ctx ends. A wait is at most a tenth of an interval: turns may come meanwhile that are sooner.
func (p *poll) run(ctx context.Context, waiting func() int, due func(Pool)) {
	for {
		pool, wait, ok := Pool{}, crowdedPause, false
		if waiting() < p.crowded {
			pool, wait, ok = p.take(time.Now())
		}
		if ok {
			due(pool)
			continue
		}
		timer := time.NewTimer(max(time.Millisecond, min(wait, p.interval/10)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// turns are a heap.
type turns []*turn

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t turns) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push adds a turn; it is for container/heap.
func (t *turns) Push(x any) {
	if one, ok := x.(*turn); ok {
		one.index = len(*t)
		*t = append(*t, one)
	}
}

// Pop takes the last turn off; it is for container/heap.
func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
