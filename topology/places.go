package topology

// A place is where there is something to be asked about a driver's capacity: a segment with a node in it where the driver is registered.
// A driver that registers without topology keys has one place that is everywhere, the zero Segment.

// keyless reports whether the driver is registered there without topology keys.
func (n *indexedNode) keyless() bool { return n.present && n.registered && n.keys.IsZero() }

// place is the node's, and false if it is in none.
func (n *indexedNode) place() (Segment, bool) {
	if n.keyless() {
		return Segment{}, true
	}
	return n.own()
}

// placesOf are the distinct places of a node before and after a change, unless it stayed in its place.
func placesOf(before, after *indexedNode) []Segment {
	from, was := before.place()
	to, is := after.place()
	switch {
	case was && is && from == to:
		return nil
	case was && is:
		return []Segment{from, to}
	case was:
		return []Segment{from}
	case is:
		return []Segment{to}
	}
	return nil
}

func (x *Index) hasPlace(segment Segment) bool {
	if segment.IsZero() {
		return x.keyless > 0
	}
	return x.registered.nodes[segment] > 0
}

// HasPlace reports whether the segment is one of the Places.
func (x *Index) HasPlace(segment Segment) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.hasPlace(segment)
}

// Places returns the RegisteredSegments, after the zero Segment if the driver is registered on a node without topology keys. The result is
// shared: it must not be changed.
func (x *Index) Places() []Segment {
	x.mu.Lock()
	defer x.mu.Unlock()
	segments := x.registered.sorted()
	if x.keyless == 0 {
		return segments
	}
	return append([]Segment{{}}, segments...)
}

// OnPlace has f called, without a lock held, with each place that comes or goes; HasPlace tells which. A place that goes and comes again soon may
// be told in any order, so f had better only note that there is something to look at. It must be set before the first change.
func (x *Index) OnPlace(f func(Segment)) { x.onPlace = f }

// Allows reports whether a volume in a segment is within a class's allowed topologies, as the function Allowed makes them. The zero Segment is
// everywhere: a driver without topology keys has nothing to allow.
func Allows(allowed []Segment, segment Segment) bool {
	return allowed == nil || segment.IsZero() || wider(allowed, segment) >= 0
}
