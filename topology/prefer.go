package topology

import (
	"iter"
	"slices"
)

// maxHinted is how many segments of a hint are looked at. What is further down hardly matters, and anybody may write a hint.
const maxHinted = 64

// requireHinted requires the segments that a claim with Immediate binding may be in, in an order that begins with those that its hint names; nil: the
// hint names none of them. The hint changes no more than the order: of the segments that it does not name none is left out.
//
// Each round begins further on in that order, by a window where there is a limit, else by one segment: a hint that names a segment without room must
// not lead there again and again.
func requireHinted(need Need, segments []Segment) *Requirement {
	start := Need{ClaimName: need.ClaimName}.first(len(segments))
	named := namedBy(need.Hint, segments, start)
	if len(named) == 0 {
		return nil
	}
	count := len(segments)
	limit, step := need.Limit, need.Limit
	if limit <= 0 || limit >= count {
		limit, step = count, 1
	}
	skip := int(uint64(max(0, need.Round)) % uint64(count) * uint64(step) % uint64(count)) // no product of two large numbers
	var preferred, wrapped []Segment
	for at, segment := range inOrder(segments, named, start) {
		switch {
		case at >= skip && at < skip+limit:
			preferred = append(preferred, segment)
		case at < skip+limit-count:
			wrapped = append(wrapped, segment)
		}
	}
	all := &Requirement{Requisite: segments, Preferred: append(preferred, wrapped...)}
	if limit < count {
		all.Requisite = slices.SortedFunc(slices.Values(all.Preferred), Segment.Compare)
	}
	return all
}

// namedBy returns where in sorted segments those are that a hint names, in the hint's order and each once. A segment of the hint names the segment that it
// is in or, if it is wider than all that there are, all segments in it: people may write a zone where there are racks. Among these the claim's own start
// comes first. What there is not (any more) is skipped.
func namedBy(hint, segments []Segment, start int) (named []int) {
	count := len(segments)
	most := segments[count-1].Len()
	known := map[int]bool{}
	name := func(at int) {
		if !known[at] {
			known[at] = true
			named = append(named, at)
		}
	}
	for _, wanted := range hint[:min(len(hint), maxHinted)] {
		if at := wider(segments, wanted); at >= 0 {
			name(at)
			continue
		}
		if wanted.IsZero() || wanted.Len() >= most {
			continue
		}
		for i := range count {
			if at := (start + i) % count; segments[at].Contains(wanted) {
				name(at)
			}
		}
	}
	return named
}

// inOrder iterates over all segments with their place in the order: those that are named, then the others from start on.
func inOrder(segments []Segment, named []int, start int) iter.Seq2[int, Segment] {
	skipped := slices.Sorted(slices.Values(named))
	return func(yield func(int, Segment) bool) {
		place := 0
		for _, at := range named {
			if !yield(place, segments[at]) {
				return
			}
			place++
		}
		for i := range segments {
			at := (start + i) % len(segments)
			if _, ok := slices.BinarySearch(skipped, at); ok {
				continue
			}
			if !yield(place, segments[at]) {
				return
			}
			place++
		}
	}
}
