package topology

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// KeySet is a set of topology keys as a comparable value, in sorted order. A driver normally registers the same set on
// every node; while it is upgraded there may be two.
type KeySet struct {
	joined string
}

// NewKeySet makes a KeySet. The slice is neither kept nor changed.
func NewKeySet(keys []string) KeySet {
	sorted := slices.Clone(keys)
	slices.Sort(sorted)
	return KeySet{joined: strings.Join(slices.Compact(sorted), recordSeparator)}
}

// keySet returns the segment's keys.
func (s Segment) keySet() KeySet {
	keys := make([]string, 0, s.Len())
	for key := range s.All() {
		keys = append(keys, key)
	}
	return NewKeySet(keys)
}

// Keys returns the sorted keys.
func (k KeySet) Keys() []string {
	if k.joined == "" {
		return nil
	}
	return strings.Split(k.joined, recordSeparator)
}

// IsZero reports whether there are no keys.
func (k KeySet) IsZero() bool { return k.joined == "" }

// String is the form people read: "key,key".
func (k KeySet) String() string { return strings.Join(k.Keys(), ",") }

// Index knows the distinct segments of a cluster for one driver. It is fed with each Node's labels and each CSINode's topology
// keys as they change, and keeps a count of nodes per segment, so a change costs as much as the one node it touches. Only
// the first node that brings a new set of keys costs a pass over all nodes.
//
// The zero Index is not usable; call NewIndex. Safe for concurrent use.
type Index struct {
	mu       sync.Mutex
	nodes    map[string]*indexedNode
	keys     map[KeySet]*keySetSegments
	onChange func()
}

type indexedNode struct {
	present    bool // there is a Node
	labels     map[string]string
	csiNode    bool // there is a CSINode
	registered bool // and the driver is in its list
	keys       KeySet
}

// keySetSegments counts nodes per segment for one set of keys.
type keySetSegments struct {
	registrations int     // CSINodes that registered exactly these keys
	labelled      counter // nodes that carry all these labels
	registered    counter // those of them whose driver instance registered exactly these keys
}

// counter counts nodes per segment and remembers the sorted list of segments until one comes or goes.
type counter struct {
	nodes map[Segment]int
	list  []Segment // nil: to be made again
}

// add changes the count of one segment.
func (c *counter) add(segment Segment, by int) {
	if c.nodes == nil {
		c.nodes = map[Segment]int{}
	}
	was := c.nodes[segment]
	if was+by == 0 {
		delete(c.nodes, segment)
	} else {
		c.nodes[segment] = was + by
	}
	if was == 0 || was+by == 0 {
		c.list = nil
	}
}

// sorted returns the segments that have nodes, in order. The list is made anew, not changed, when the segments change, so
// callers may keep it.
func (c *counter) sorted() []Segment {
	if c.list == nil {
		c.list = slices.SortedFunc(maps.Keys(c.nodes), Segment.Compare)
	}
	return c.list
}

// NewIndex returns an empty Index.
func NewIndex() *Index {
	return &Index{nodes: map[string]*indexedNode{}, keys: map[KeySet]*keySetSegments{}}
}

// SetNode records a Node's labels. The map must not change afterwards.
func (x *Index) SetNode(name string, labels map[string]string) {
	x.change(name, func(n *indexedNode) { n.present, n.labels = true, labels })
}

// DeleteNode forgets a Node.
func (x *Index) DeleteNode(name string) {
	x.change(name, func(n *indexedNode) { n.present, n.labels = false, nil })
}

// SetRegistration records the topology keys with which the driver is registered in a CSINode. No keys is a valid registration.
func (x *Index) SetRegistration(name string, keys KeySet) {
	x.change(name, func(n *indexedNode) { n.csiNode, n.registered, n.keys = true, true, keys })
}

// DeleteRegistration records that there is a CSINode without the driver: it is not registered yet, or not at the moment.
func (x *Index) DeleteRegistration(name string) {
	x.change(name, func(n *indexedNode) { n.csiNode, n.registered, n.keys = true, false, KeySet{} })
}

// DeleteCSINode forgets a CSINode.
func (x *Index) DeleteCSINode(name string) {
	x.change(name, func(n *indexedNode) { n.csiNode, n.registered, n.keys = false, false, KeySet{} })
}

// OnChange has f called, without a lock held, after each change that may give a claim a place: a node or a registration that came or
// changed. It must be set before the first change.
func (x *Index) OnChange(f func()) { x.onChange = f }

// change applies one node's change and moves its contribution from what it was to what it is.
func (x *Index) change(name string, apply func(*indexedNode)) {
	if x.apply(name, apply) && x.onChange != nil {
		x.onChange()
	}
}

// apply reports whether anything changed.
func (x *Index) apply(name string, apply func(*indexedNode)) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := indexedNode{}
	node := x.nodes[name]
	if node != nil {
		before = *node
	} else {
		node = &indexedNode{}
		x.nodes[name] = node
	}
	apply(node)
	if before.csiNode == node.csiNode && before.registered == node.registered && before.keys == node.keys &&
		before.present == node.present && maps.Equal(before.labels, node.labels) {
		return false
	}
	x.count(before, -1)
	x.register(before, *node)
	x.count(*node, +1)
	if !node.present && !node.csiNode {
		delete(x.nodes, name)
	}
	return true
}

// count adds a node to, or takes it from, every set of keys.
func (x *Index) count(node indexedNode, by int) {
	if !node.present {
		return
	}
	for keys, segments := range x.keys {
		segments.count(node, keys, by)
	}
}

func (s *keySetSegments) count(node indexedNode, keys KeySet, by int) {
	segment, ok := SegmentOf(node.labels, keys.Keys())
	if !ok {
		return
	}
	s.labelled.add(segment, by)
	if node.registered && node.keys == keys {
		s.registered.add(segment, by)
	}
}

// register keeps the sets of keys that some CSINode registered. It runs between taking a node out and putting it in again, so a
// new set counts all nodes but the one that is being changed.
func (x *Index) register(before, after indexedNode) {
	if before.registered == after.registered && before.keys == after.keys {
		return
	}
	if before.registered {
		if segments := x.keys[before.keys]; segments.registrations == 1 {
			delete(x.keys, before.keys)
		} else {
			segments.registrations--
		}
	}
	if !after.registered {
		return
	}
	if segments, ok := x.keys[after.keys]; ok {
		segments.registrations++
		return
	}
	segments := &keySetSegments{registrations: 1}
	for _, node := range x.nodes {
		// The node being changed is already as it will be, and is counted by the caller.
		if node.present && !(node.registered && node.keys == after.keys) {
			segments.count(*node, after.keys, +1)
		}
	}
	x.keys[after.keys] = segments
}
