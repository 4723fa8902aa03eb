package worker

// retryTurn: of so many keys that are worked while both kinds wait, one is a retry.
const retryTurn = 8

// order is the order in which keys wait: new ones before those that failed before, which may fail again, and within each kind the groups in turn, so
// that a namespace with a thousand claims does not keep another one's single claim waiting. Retries get every eighth turn, lest a stream
// of new keys keeps them out. It is the storage of a workqueue, which calls it under its own lock.
type order[K comparable] struct {
	group func(K) string // never nil
	retry func(K) bool

	fresh, again lanes[K]
	turn         int
}

// Touch is called when a key is added that waits already: it keeps its place.
func (o *order[K]) Touch(K) {}

// Push adds a key that does not wait yet.
func (o *order[K]) Push(key K) {
	if o.retry(key) {
		o.again.push(o.group(key), key)
	} else {
		o.fresh.push(o.group(key), key)
	}
}

// Len is the number of keys that wait.
func (o *order[K]) Len() int { return o.fresh.count + o.again.count }

// Pop takes the next key; there must be one.
func (o *order[K]) Pop() K {
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

// lanes are queues that are served in turn.
type lanes[K comparable] struct {
	keys  map[string][]K
	turns []string // groups with keys, the next one first
	count int
}

func (l *lanes[K]) push(group string, key K) {
	if l.keys == nil {
		l.keys = map[string][]K{}
	}
	if len(l.keys[group]) == 0 {
		l.turns = append(l.turns, group)
	}
	l.keys[group] = append(l.keys[group], key)
	l.count++
}

func (l *lanes[K]) pop() K {
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
