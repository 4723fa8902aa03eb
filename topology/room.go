package topology

import (
	"math"
	"math/bits"
	"slices"
)

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

// replicaRoom is for how many volumes of a replica's size a segment may have room before more of it makes no difference: replicas are spread for
// their safety.
const replicaRoom = 8

// Order returns all segments of a wish, the best first: those of the hint, then those with room for the volume, the roomier the better, then
// those of which nothing is known, and in the end those without room, for all figures are a little old. A hinted segment that is known to have no room loses its
// place. If nothing is known and nothing hinted it returns nil: Require has an order for that.
//
// Segments count as equally roomy while the best has less than twice the room of the other. Among equals the claim's name decides, as it does in
// Require, so that a burst of claims does not pile up on the one that was the emptiest, and the replicas of a StatefulSet go to different ones.
func Order(w Wish) []Segment {
	rooms := w.rooms()
	if len(rooms) == 0 && len(w.Hint) == 0 {
		return nil
	}
	const unknown, without, levels = 64, 65, 66
	best := int64(0)
	for _, room := range rooms {
		if room.Largest >= w.Bytes {
			best = max(best, room.Free)
		}
	}
	if _, replica := Spread(w.ClaimName, 1); replica && w.Bytes <= math.MaxInt64/replicaRoom {
		best = min(best, replicaRoom*w.Bytes)
	}
	var byLevel [levels][]Segment
	fits := make(map[Segment]bool, len(w.Segments))
	for i, segment := range w.Segments {
		level := unknown
		if room, known := rooms[i]; known {
			if level = without; room.Largest >= w.Bytes {
				level = halvings(best, room.Free)
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

// halvings is how often the best has to be halved until the other is no worse.
func halvings(best, free int64) int {
	best, free = max(best, 1), max(free, 1)
	if free >= best {
		return 0
	}
	return bits.Len64(uint64(best/free)) - 1
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
