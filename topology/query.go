package topology

import (
	"errors"
	"fmt"
)

// ErrNodeGone says that a selected node, or its CSINode, is not known. If it really is gone, waiting helps nobody and the claim goes
// back to the scheduler, which picks another node; but a cache may just not have seen it yet.
var ErrNodeGone = errors.New("node is gone")

// NodeSegment returns the segment of a node in the keys that the driver registered there. The error is ErrNodeGone (wrapped) or says
// which label the node lacks.
func (x *Index) NodeSegment(name string) (Segment, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	node := x.nodes[name]
	switch {
	case node == nil || !node.present:
		return Segment{}, fmt.Errorf("node %q does not exist: %w", name, ErrNodeGone)
	case !node.csiNode:
		return Segment{}, fmt.Errorf("CSINode %q does not exist: %w", name, ErrNodeGone)
	case !node.registered: // not yet, or just now not: its plugin is being restarted
		return Segment{}, fmt.Errorf("the driver is not registered in CSINode %q at the moment", name)
	case node.keys.IsZero():
		return Segment{}, fmt.Errorf("CSINode %q lists the driver without topology keys", name)
	}
	segment, ok := node.own()
	if !ok {
		return Segment{}, fmt.Errorf("node %q lacks a label for one of the driver's topology keys %s", name, node.keys)
	}
	return segment, nil
}

// LabelledSegments returns the distinct segments, in order, of all nodes that carry the keys of the given segment as labels, whether
// or not the driver is registered there yet. The result is shared: it must not be changed.
func (x *Index) LabelledSegments(like Segment) []Segment {
	x.mu.Lock()
	defer x.mu.Unlock()
	if nodes := x.labelled[like.keySet()]; nodes != nil {
		return nodes.segments.sorted()
	}
	return nil
}

// RegisteredSegments returns the distinct segments, in order, of all nodes where the driver is registered, each in the keys
// registered there. With one set of keys in the cluster these are the segments of that set. While two sets are in use (a
// driver being upgraded) it is the union of both, so the answer never depends on which node was looked at. The result is
// shared: it must not be changed.
func (x *Index) RegisteredSegments() []Segment {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.registered.sorted()
}
