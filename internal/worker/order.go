package worker

import (
	"sync/atomic"
	"time"
)

// retryTurn: of so many keys that are worked while both kinds wait, one is a retry.
const retryTurn = 8

// order is the order in which keys wait: new ones before those that failed before, which may fail again, and within each kind the groups in turn, so
// that a namespace with a thousand claims does not keep another one's single claim waiting. Retries get every eighth turn, lest a stream
// of new keys keeps them out. It is the storage of a workqueue, which calls it under its own lock.
type order[K comparable] struct {
	group func(K) string // never nil
	retry func(K) bool
	now   func() time.Time

	fresh, again lanes[K]
	turn         int
	arrivals     arrivals
}

// Touch is called when a key is added that waits already: it keeps its place.
func (o *order[K]) Touch(K) {}

// Push adds a key that does not wait yet.
func (o *order[K]) Push(key K) {
	entry := waiter[K]{key, o.arrivals.came(o.now())}
	if o.retry(key) {
		o.again.push(o.group(key), entry)
	} else {
		o.fresh.push(o.group(key), entry)
	}
}

// Len is the number of keys that wait.
func (o *order[K]) Len() int { return o.fresh.count + o.again.count }

// Pop takes the next key; there must be one.
func (o *order[K]) Pop() K {
	next := o.pop()
	o.arrivals.left(next.ticket)
	return next.key
}

func (o *order[K]) pop() waiter[K] {
	switch {
	case o.again.count == 0:
		return o.fresh.pop()
	case o.fresh.count == 0:
		return o.again.pop()
	}
	if o.turn++; o.turn%retryTurn == 0 {
		return o.again.pop()
	}
	return o.fresh.pop()
}

// waiter is a key that waits.
type waiter[K comparable] struct {
	key    K
	ticket int // when it came, among all that did
}

// lanes are queues that are served in turn.
type lanes[K comparable] struct {
	keys  map[string][]waiter[K]
	turns []string // groups with keys, the next one first
	count int
}

func (l *lanes[K]) push(group string, key waiter[K]) {
	if l.keys == nil {
		l.keys = map[string][]waiter[K]{}
	}
	if len(l.keys[group]) == 0 {
		l.turns = append(l.turns, group)
	}
	l.keys[group] = append(l.keys[group], key)
	l.count++
}

func (l *lanes[K]) pop() waiter[K] {
	group := l.turns[0]
	l.turns = l.turns[1:]
	keys := l.keys[group]
	if len(keys) > 1 {
		l.keys[group] = keys[1:]
		l.turns = append(l.turns, group)
	} else {
		delete(l.keys, group)
	}
	l.count--
	return keys[0]
}

// arrivals know when the key came that has waited longest, whatever the order in which keys leave. Coming and leaving cost the same however many wait.
type arrivals struct {
	waiting []arrival    // in the order in which they came, the first of them is still there
	gone    int          // how many came before the first
	oldest  atomic.Int64 // when the first came, in Unix nanoseconds; 0: nobody waits. Read without the queue's lock
}

type arrival struct {
	at   int64
	left bool
}

// came returns a ticket to leave with.
func (a *arrivals) came(at time.Time) (ticket int) {
	a.waiting = append(a.waiting, arrival{at: at.UnixNano()})
	if len(a.waiting) == 1 {
		a.oldest.Store(a.waiting[0].at)
	}
	return a.gone + len(a.waiting) - 1
}

func (a *arrivals) left(ticket int) {
	a.waiting[ticket-a.gone].left = true
	for len(a.waiting) > 0 && a.waiting[0].left {
		a.waiting = a.waiting[1:]
		a.gone++
	}
	if len(a.waiting) == 0 {
		a.waiting = nil
		a.oldest.Store(0)
		return
	}
	a.oldest.Store(a.waiting[0].at)
}
