package topology

import (
	"maps"
	"slices"
)

// counter counts nodes per segment. It also has the sorted list of these segments, which it brings up to date when it is asked for:
// a change notes what came or went, and the next question merges that in.
type counter struct {
	nodes   map[Segment]int
	list    []Segment // as of the last question; nil: to be made again
	changed []Segment // came or went since then
}

// move takes a node from one segment to another. The node need not have been, or be, in any.
func (c *counter) move(before Segment, was bool, after Segment, is bool) {
	if was && is && before == after {
		return
	}
	if was {
		c.add(before, -1)
	}
	if is {
		c.add(after, +1)
	}
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
	if c.list == nil || was > 0 && was+by > 0 {
		return
	}
	c.changed = append(c.changed, segment)
	if len(c.changed) > len(c.list) { // nobody asks, and sorting everything is cheaper by now
		c.list, c.changed = nil, nil
	}
}

// sorted returns the segments that have nodes, in order. The list is made anew, not changed, when the segments change, so callers
// may keep it.
func (c *counter) sorted() []Segment {
	if c.list == nil {
		c.list = slices.Clip(slices.SortedFunc(maps.Keys(c.nodes), Segment.Compare))
		return c.list
	}
	if len(c.changed) == 0 {
		return c.list
	}
	fresh, rest := make([]Segment, 0, len(c.nodes)), c.list
	for _, segment := range sortUnique(c.changed) {
		at, listed := slices.BinarySearchFunc(rest, segment, Segment.Compare)
		fresh = append(fresh, rest[:at]...)
		if c.nodes[segment] > 0 {
			fresh = append(fresh, segment)
		}
		if listed {
			at++
		}
		rest = rest[at:]
	}
	c.list, c.changed = append(fresh, rest...), nil
	return c.list
}
