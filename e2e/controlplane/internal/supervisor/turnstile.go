package supervisor

import (
	"maps"
	"slices"
	"sync"
)

// turnstile counts operations and can be closed: then those inside are asked to hurry, nobody else gets in, and
// close returns when all are out. Its zero value is open.
type turnstile struct {
	mu     sync.Mutex
	closed bool
	last   int
	// hurry asks the operations inside to end early.
	hurry  map[int]func()
	inside sync.WaitGroup
}

// begin lets an operation in if there is still time for it. If so, leave must be called once, at its end.
func (t *turnstile) begin(hurry func()) (leave func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, false
	}
	if t.hurry == nil {
		t.hurry = map[int]func(){}
	}
	t.last++
	ticket := t.last
	t.hurry[ticket] = hurry
	t.inside.Add(1)
	return func() {
		t.mu.Lock()
		delete(t.hurry, ticket)
		t.mu.Unlock()
		t.inside.Done()
	}, true
}

func (t *turnstile) close() {
	t.mu.Lock()
	t.closed = true
	hurry := slices.Collect(maps.Values(t.hurry))
	t.mu.Unlock()
	for _, ask := range hurry {
		ask()
	}
	t.inside.Wait()
}
