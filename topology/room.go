package topology

import "slices"

// Room is what is known of the room for volumes of one class in one segment.
type Room struct {
	Segment Segment
	Free    int64 // bytes
	Largest int64 // the size of the largest volume that fits; no more than Free where the driver tells nothing else
}

// Wish is what decides in which order the segments for a volume with Immediate binding are tried.
type Wish struct {
	ClaimName string // spreads the volumes over segments that are equally good
	Bytes     int64
	Segments  []Segment // that the volume may be in, sorted and distinct
	Hint      []Segment // that it had better be in, the best first
	Rooms     []Room    // that are known
}

// Order returns all segments of a wish, the best first: those of the hint, then those with room for the volume, the roomier the better, then
// those of which nothing is known, and in the end those without room, for all figures are a little old. A hinted segment that is known to have no room loses its
// place. If nothing is known and nothing hinted it returns nil: Require has an order for that.
//
// Among segments that are equally roomy (see grading) the claim's name decides, as it does in Require, so that the replicas of a StatefulSet go to
// different ones.
func Order(w Wish) []Segment {
	rooms := w.rooms()
	if len(rooms) == 0 && len(w.Hint) == 0 {
		return nil
	}
	const unknown, without = levels, levels + 1
	g := newGrading(w.ClaimName, w.Bytes)
	for _, room := range rooms {
		g.see(room)
	}
	var byLevel [levels + 2][]Segment
	fits := make(map[Segment]bool, len(w.Segments))
	for i, segment := range w.Segments {
		level := unknown
		if room, known := rooms[i]; known {
			if level = without; g.fits(room) {
				level = g.level(room)
			}
		}
		fits[segment] = level != without
		byLevel[level] = append(byLevel[level], segment)
	}
	order, taken := make([]Segment, 0, len(w.Segments)), map[Segment]bool{}
	take := func(segment Segment) {
		if !taken[segment] {
			taken[segment] = true
			order = append(order, segment)
		}
	}
	for _, hint := range w.Hint {
		for _, segment := range w.hinted(hint) {
			if fits[segment] {
				take(segment)
			}
		}
	}
	for _, equals := range byLevel {
		first, _ := Spread(w.ClaimName, len(equals))
		for i := range equals {
			take(equals[(first+i)%len(equals)])
		}
	}
	return order
}

// rooms are what is known of the segments, by their place in the list. A segment that is wider than those that something is known of has the best
// of theirs.
func (w Wish) rooms() map[int]Room {
	rooms := map[int]Room{}
	for _, room := range w.Rooms {
		at := wider(w.Segments, room.Segment)
		if at < 0 {
			continue
		}
		known := rooms[at]
		rooms[at] = Room{Free: max(known.Free, room.Free), Largest: max(known.Largest, room.Largest)}
	}
	return rooms
}

// hinted are the segments that a hint means: itself, one that it is in, or all that are in it.
func (w Wish) hinted(hint Segment) []Segment {
	if at := wider(w.Segments, hint); at >= 0 {
		return w.Segments[at : at+1]
	}
	var within []Segment
	for _, segment := range w.Segments {
		if segment.Contains(hint) {
			within = append(within, segment)
		}
	}
	return within
}

// ordered requires the segments in the caller's order, and of these a window of limit that each round moves on.
func ordered(need Need, segments []Segment) *Requirement {
	count := len(need.Order)
	if need.Limit <= 0 || need.Limit >= count {
		return &Requirement{Requisite: segments, Preferred: need.Order}
	}
	first := int(uint64(max(0, need.Round)) % uint64(count) * uint64(need.Limit) % uint64(count))
	preferred := make([]Segment, 0, need.Limit)
	for i := range need.Limit {
		preferred = append(preferred, need.Order[(first+i)%count])
	}
	return &Requirement{Requisite: sortUnique(slices.Clone(preferred)), Preferred: preferred}
}
