package provisioner

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/datasource"
)

// holds are the sources that this process is working with: who looks at one to make a volume from it, and which are about to lose their
// protection. The two exclude each other. Otherwise a claim could find the finalizer in place, rely on it, and have it taken away by
// the release that the claim before it caused.
type holds struct {
	mu        sync.Mutex
	held      map[types.UID]datasource.Key // claim -> its source
	holders   map[datasource.Key]int
	releasing map[datasource.Key]bool
}

func newHolds() *holds {
	return &holds{held: map[types.UID]datasource.Key{}, holders: map[datasource.Key]int{}, releasing: map[datasource.Key]bool{}}
}

// take lets a claim rely on a source's protection. It reports false while that is being taken off.
func (h *holds) take(claim types.UID, source datasource.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.releasing[source] {
		return false
	}
	if h.held[claim] == source {
		return true
	}
	h.drop(claim)
	h.held[claim] = source
	h.holders[source]++
	return true
}

// letGo ends a claim's reliance. It reports the source that the claim held, if any.
func (h *holds) letGo(claim types.UID) (datasource.Key, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	source, ok := h.held[claim]
	h.drop(claim)
	return source, ok
}

func (h *holds) drop(claim types.UID) {
	source, ok := h.held[claim]
	if !ok {
		return
	}
	delete(h.held, claim)
	if h.holders[source]--; h.holders[source] == 0 {
		delete(h.holders, source)
	}
}

// beginRelease keeps claims from relying on a source, until endRelease. It reports false if one does already.
func (h *holds) beginRelease(source datasource.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holders[source] > 0 {
		return false
	}
	h.releasing[source] = true
	return true
}

func (h *holds) endRelease(source datasource.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.releasing, source)
}
