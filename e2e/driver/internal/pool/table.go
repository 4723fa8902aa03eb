// Package pool holds the storage pools, one a topology segment, and decides which of them a volume goes to.
//
// It knows sizes and segments and nothing else: no CSI messages, no files. A Table is not safe for concurrent use;
// the state package guards it together with the volumes that fill it. Choosing among named segments costs one index
// look-up a segment, choosing freely looks at the top of a heap, so thousands of pools cost as little as one.
package pool

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"
)

// Spec describes a pool as configured.
type Spec struct {
	Segments      map[string]string // empty for the single pool of a driver without topology
	Size          int64             // bytes
	MaxVolumeSize int64             // bytes, 0 for no limit but the size
}

// Status describes a pool as it stands.
type Status struct {
	Spec
	Used    int64 // bytes taken by volumes, and by creations that are under way
	Volumes int
}

// Free is the room left, never negative: a pool may have been shrunk below what it holds.
func (s Status) Free() int64 { return max(0, s.Size-s.Used) }

// Largest is the size of the largest volume that could be created now.
func (s Status) Largest() int64 {
	if s.MaxVolumeSize > 0 {
		return min(s.MaxVolumeSize, s.Free())
	}
	return s.Free()
}

// entry is a pool in the table. rank is its place in the heap.
type entry struct {
	Status
	key  Key
	rank int
}

// Table is all pools, found by segment and by free room.
type Table struct {
	byKey  map[Key]*entry
	byRoom roomHeap
	byPair map[pair][]*entry // for terms that name only some of a pool's keys
	shapes [][]string        // the distinct sets of keys pools use; nearly always one
}

type pair struct{ key, value string }

// NewTable builds a table. Two pools with the same segments are an error.
func NewTable(specs []Spec) (*Table, error) {
	t := &Table{byKey: make(map[Key]*entry, len(specs)), byPair: map[pair][]*entry{}}
	shapes := map[string]bool{}
	for _, spec := range specs {
		key := KeyOf(spec.Segments)
		if _, twice := t.byKey[key]; twice {
			return nil, fmt.Errorf("two pools with the same segments: %s", key)
		}
		e := &entry{Status: Status{Spec: spec}, key: key, rank: len(t.byRoom)}
		t.byKey[key] = e
		t.byRoom = append(t.byRoom, e)
		shape := slices.Sorted(maps.Keys(spec.Segments))
		if name := fmt.Sprint(shape); !shapes[name] {
			shapes[name] = true
			t.shapes = append(t.shapes, shape)
		}
		if len(spec.Segments) > 1 {
			for k, v := range spec.Segments {
				t.byPair[pair{k, v}] = append(t.byPair[pair{k, v}], e)
			}
		}
	}
	heap.Init(&t.byRoom)
	return t, nil
}

// Reserve takes room for a volume. It may overfill a pool (a volume replayed into a pool that has since become
// smaller); a segment without a pool is ignored, because the volume was made when there was one.
func (t *Table) Reserve(key Key, bytes int64) { t.take(key, bytes, 1) }

// Release gives back what Reserve took.
func (t *Table) Release(key Key, bytes int64) { t.take(key, -bytes, -1) }

// Grow takes more room for a volume that has its place already; a negative number gives some back.
func (t *Table) Grow(key Key, bytes int64) { t.take(key, bytes, 0) }

func (t *Table) take(key Key, bytes int64, volumes int) {
	e, ok := t.byKey[key]
	if !ok {
		return
	}
	e.Used += bytes
	e.Volumes += volumes
	heap.Fix(&t.byRoom, e.rank)
}

// Resize changes a pool's size and says whether there is such a pool.
func (t *Table) Resize(key Key, size int64) bool {
	e, ok := t.byKey[key]
	if !ok {
		return false
	}
	e.Size = size
	heap.Fix(&t.byRoom, e.rank)
	return true
}

// Get returns one pool.
func (t *Table) Get(key Key) (Status, bool) {
	e, ok := t.byKey[key]
	if !ok {
		return Status{}, false
	}
	return e.Status, true
}

// List returns all pools in the order of their keys.
func (t *Table) List() []Status {
	entries := slices.SortedFunc(maps.Values(t.byKey), func(a, b *entry) int { return cmp.Compare(a.key, b.key) })
	list := make([]Status, len(entries))
	for i, e := range entries {
		list[i] = e.Status
	}
	return list
}

// roomHeap keeps the emptiest pool on top; equal ones in the order of their keys, so that choices repeat.
type roomHeap []*entry

func (h roomHeap) Len() int           { return len(h) }
func (h roomHeap) Less(i, j int) bool { return emptier(h[i], h[j]) }
func (h roomHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].rank, h[j].rank = i, j }

// Push and Pop complete heap.Interface. Pools neither come nor go, so nobody calls them.
func (h *roomHeap) Push(e any) { *h = append(*h, e.(*entry)) }
func (h *roomHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func emptier(a, b *entry) bool {
	if a.Free() != b.Free() {
		return a.Free() > b.Free()
	}
	return a.key < b.key
}
