package webhook

import (
	"math"
	"math/bits"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-csi/berth/topology"
)

// Room is what was published about one segment, for volumes of one class.
type Room struct {
	Segment topology.Segment
	Free    int64 // bytes
	Largest int64 // bytes that one volume may have
}

// wanted is what a claim wants of a segment.
type wanted struct {
	bytes    int64
	spreadBy string
}

const (
	unfit = math.MaxUint8
	// replicaRoom is for how many volumes of a replica's size a segment may have room before more of it makes no difference.
	replicaRoom = 8
)

// roomiest returns the segments where a volume fits, best first, no more than a hint names. Known is false if nothing was published for any
// segment that the class allows, and then there is nothing to choose by.
//
// Segments count as equally good while the best has less than twice the room of the other, and among equals the claim's name decides as it
// does in topology.Require: figures are always a little old, and a burst of claims shall not pile up on the one that was the emptiest.
// Replicas of a StatefulSet are spread for their safety, so for them the room for a few like them is as good as any more.
func roomiest(rooms []Room, terms []corev1.TopologySelectorTerm, want wanted) (segments []topology.Segment, known bool) {
	levels := make([]uint8, len(rooms))
	best, fitting := int64(0), 0
	for i, room := range rooms {
		levels[i] = unfit
		if !within(terms, room.Segment) {
			continue
		}
		known = true
		if room.Largest >= want.bytes {
			levels[i] = 0
			fitting++
			best = max(best, room.Free)
		}
	}
	if _, replica := topology.Spread(want.spreadBy, 1); replica && want.bytes <= math.MaxInt64/replicaRoom {
		best = min(best, replicaRoom*want.bytes)
	}
	var counts [64]int
	for i, room := range rooms {
		if levels[i] != unfit {
			levels[i] = halvings(best, room.Free)
			counts[levels[i]]++
		}
	}
	segments = make([]topology.Segment, 0, min(fitting, maxHintSegments))
	for level, count := range counts {
		if room := cap(segments) - len(segments); room > 0 && count > 0 {
			segments = appendTurn(segments, turn{rooms, levels, uint8(level), count, min(count, room)}, want.spreadBy)
		}
	}
	return segments, known
}

// halvings is how often the best has to be halved until the other is no worse.
func halvings(best, free int64) uint8 {
	best, free = max(best, 1), max(free, 1)
	if free >= best {
		return 0
	}
	return uint8(bits.Len64(uint64(best/free)) - 1)
}

// turn is one level of rooms, of which some are taken.
type turn struct {
	rooms       []Room
	levels      []uint8
	level       uint8
	count, take int
}

// appendTurn takes segments of one level in their order, beginning where it is the claim's turn and going on at the start.
func appendTurn(segments []topology.Segment, t turn, spreadBy string) []topology.Segment {
	first, _ := topology.Spread(spreadBy, t.count)
	base, nth := len(segments), 0
	segments = segments[:base+t.take]
	for i, room := range t.rooms {
		if t.levels[i] != t.level {
			continue
		}
		if at := (nth - first + t.count) % t.count; at < t.take {
			segments[base+at] = room.Segment
		}
		nth++
	}
	return segments
}
