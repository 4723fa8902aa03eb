package topology

import (
	"math"
	"math/bits"
)

// replicaRoom is for how many volumes of a replica's size a segment may have room before more of it makes no difference: replicas are spread for
// their safety.
const replicaRoom = 8

// grading says how good a segment is for a volume by its room. It is the one rule for the order in which segments are tried (Order) and for the hint that
// claims are given (Roomiest).
//
// Segments count as equally good while the best has less than twice the room of the other: figures are always a little old, and a burst of claims shall
// not pile up on the one that was the emptiest. Replicas of a StatefulSet are spread for their safety, so for them the room for a few like them is as good
// as any more.
type grading struct {
	bytes int64
	most  int64 // that a segment's room counts for
	best  int64 // of the segments that were seen
}

func newGrading(claimName string, bytes int64) grading {
	g := grading{bytes: bytes, most: math.MaxInt64}
	if _, replica := Spread(claimName, 1); replica && bytes <= math.MaxInt64/replicaRoom {
		g.most = replicaRoom * bytes
	}
	return g
}

// fits reports whether the volume fits.
func (g *grading) fits(room Room) bool { return room.Largest >= g.bytes }

// see notes a segment's room. All have to be seen before grades are given.
func (g *grading) see(room Room) {
	if g.fits(room) {
		g.best = max(g.best, min(g.most, room.Free))
	}
}

// levels is how many grades there are.
const levels = 64

// level is the grade of a segment where the volume fits, 0 the best: how often the best room has to be halved until this one is no worse.
func (g *grading) level(room Room) int {
	best, free := max(g.best, 1), max(room.Free, 1)
	if free >= best {
		return 0
	}
	return bits.Len64(uint64(best/free)) - 1
}

// Roomiest returns the segments where a volume fits, the best first, no more than limit. It looks at the wish's name, size and rooms, of which each segment
// has one. Known is false if there is none that is allowed, and then there is nothing to choose by.
func Roomiest(w Wish, limit int, allowed func(Segment) bool) (segments []Segment, known bool) {
	const unfit = math.MaxUint8
	grades := make([]uint8, len(w.Rooms))
	g, fitting := newGrading(w.ClaimName, w.Bytes), 0
	for i, room := range w.Rooms {
		grades[i] = unfit
		if !allowed(room.Segment) {
			continue
		}
		known = true
		if g.fits(room) {
			grades[i] = 0
			fitting++
			g.see(room)
		}
	}
	var counts [levels]int
	for i, room := range w.Rooms {
		if grades[i] != unfit {
			grades[i] = uint8(g.level(room))
			counts[grades[i]]++
		}
	}
	segments = make([]Segment, 0, min(fitting, limit))
	for level, count := range counts {
		if left := cap(segments) - len(segments); left > 0 && count > 0 {
			segments = appendTurn(segments, turn{w.Rooms, grades, uint8(level), count, min(count, left)}, w.ClaimName)
		}
	}
	return segments, known
}

// turn is one level of rooms, of which some are taken.
type turn struct {
	rooms       []Room
	grades      []uint8
	level       uint8
	count, take int
}

// appendTurn takes segments of one level in their order, beginning where it is the claim's turn and going on at the start.
func appendTurn(segments []Segment, t turn, claimName string) []Segment {
	first, _ := Spread(claimName, t.count)
	base, nth := len(segments), 0
	segments = segments[:base+t.take]
	for i, room := range t.rooms {
		if t.grades[i] != t.level {
			continue
		}
		if at := (nth - first + t.count) % t.count; at < t.take {
			segments[base+at] = room.Segment
		}
		nth++
	}
	return segments
}
