package capacity

import (
	"slices"
	"sync"
)

// waiters are those who wait until a key has been worked from beginning to end.
type waiters struct {
	mu    sync.Mutex
	byKey map[Key][]chan struct{}
}

// add returns a channel that is closed after the next work on the key.
func (w *waiters) add(key Key) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = map[Key][]chan struct{}{}
	}
	waiter := make(chan struct{})
	w.byKey[key] = append(w.byKey[key], waiter)
	return waiter
}

// remove stops waiting.
func (w *waiters) remove(key Key, waiter chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byKey[key] = slices.DeleteFunc(w.byKey[key], func(one chan struct{}) bool { return one == waiter })
	if len(w.byKey[key]) == 0 {
		delete(w.byKey, key)
	}
}

// take is called when work on a key begins. What it returns is to be called when that work is done.
func (w *waiters) take(key Key) (served func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.byKey[key]
	delete(w.byKey, key)
	return func() {
		for _, waiter := range taken {
			close(waiter)
		}
	}
}
