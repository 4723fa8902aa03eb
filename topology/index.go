package topology

import (
	"maps"
	"sync"
)

// Index knows the distinct segments of a cluster for one driver. It is fed with each Node's labels and each CSINode's topology
// keys as they change, and keeps a count of nodes per segment, so a change costs as much as the one node it touches. Only
// the first node that brings a new set of keys costs a pass over all nodes.
//
// The zero Index is not usable; call NewIndex. Safe for concurrent use.
type Index struct {
	mu         sync.Mutex
	nodes      map[string]*indexedNode
	registered counter                   // the nodes where the driver is registered, each in the keys registered there
	keyless    int                       // nodes where it is registered without keys: volumes are accessible from all of them
	labelled   map[KeySet]*labelledNodes // for each set of keys that some CSINode registered
	onChange   func()
	onPlace    func(Segment)
}

type indexedNode struct {
	present    bool // there is a Node
	labels     map[string]string
	csiNode    bool // there is a CSINode
	registered bool // and the driver is in its list
	keys       KeySet
}

// labelledNodes are the nodes that carry all labels of one set of keys, whether or not the driver is there.
type labelledNodes struct {
	registrations int // CSINodes that registered exactly these keys
	segments      counter
}

// in returns the node's segment in the given keys, sorted, and false if it lacks a label.
func (n *indexedNode) in(keys []string) (Segment, bool) {
	if !n.present {
		return Segment{}, false
	}
	return SegmentOf(n.labels, keys)
}

// own returns the node's segment in the keys that the driver registered there. No keys make no segment: it would say nothing.
func (n *indexedNode) own() (Segment, bool) {
	if !n.registered || n.keys.IsZero() {
		return Segment{}, false
	}
	return n.in(n.keys.Keys())
}

// NewIndex returns an empty Index.
func NewIndex() *Index {
	return &Index{nodes: map[string]*indexedNode{}, labelled: map[KeySet]*labelledNodes{}}
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
	changed, places := x.apply(name, apply)
	if changed && x.onChange != nil {
		x.onChange()
	}
	if x.onPlace == nil {
		return
	}
	for _, place := range places {
		x.onPlace(place)
	}
}

// apply reports whether anything changed that decides where a volume may be, which most of a node's labels do not, and which places came or
// went with it.
func (x *Index) apply(name string, apply func(*indexedNode)) (changed bool, places []Segment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var before indexedNode
	if node := x.nodes[name]; node != nil {
		before = *node
	}
	after := before
	apply(&after)
	if before.csiNode == after.csiNode && before.registered == after.registered && before.keys == after.keys &&
		before.present == after.present && maps.Equal(before.labels, after.labels) {
		return false, nil
	}
	if after.present || after.csiNode {
		x.nodes[name] = &after
	} else {
		delete(x.nodes, name)
	}
	affected := placesOf(&before, &after)
	known := make([]bool, len(affected))
	for i, place := range affected {
		known[i] = x.hasPlace(place)
	}
	moved := x.move(&before, &after)
	x.register(&before, &after)
	for i, place := range affected {
		if x.hasPlace(place) != known[i] {
			places = append(places, place)
		}
	}
	return moved || before.present != after.present || before.csiNode != after.csiNode ||
		before.registered != after.registered || before.keys != after.keys, places
}

// move takes a node from the segments it was in to those it is in, and reports whether there is a difference.
func (x *Index) move(before, after *indexedNode) bool {
	from, was := before.own()
	to, is := after.own()
	x.registered.move(from, was, to, is)
	if before.keyless() {
		x.keyless--
	}
	if after.keyless() {
		x.keyless++
	}
	moved := from != to || was != is
	for set, nodes := range x.labelled {
		keys := set.Keys()
		from, was := before.in(keys)
		to, is := after.in(keys)
		nodes.segments.move(from, was, to, is)
		moved = moved || from != to || was != is
	}
	return moved
}

// register keeps the sets of keys that some CSINode registered.
func (x *Index) register(before, after *indexedNode) {
	if before.registered == after.registered && before.keys == after.keys {
		return
	}
	if before.registered {
		if nodes := x.labelled[before.keys]; nodes.registrations == 1 {
			delete(x.labelled, before.keys)
		} else {
			nodes.registrations--
		}
	}
	if !after.registered {
		return
	}
	if nodes, ok := x.labelled[after.keys]; ok {
		nodes.registrations++
		return
	}
	nodes, keys := &labelledNodes{registrations: 1}, after.keys.Keys()
	for _, node := range x.nodes { // with the one that changed
		if segment, ok := node.in(keys); ok {
			nodes.segments.add(segment, +1)
		}
	}
	x.labelled[after.keys] = nodes
}
