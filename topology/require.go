package topology

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// Requirement is the accessibility requirement of a CreateVolume call (CSI spec, TopologyRequirement). Both lists may share memory
// with each other and with an Index: they must not be changed.
type Requirement struct {
	Requisite []Segment // the volume must be accessible from at least one of these; sorted
	Preferred []Segment // the order in which the driver should try them
}

// Need is all that decides a claim's requirement.
type Need struct {
	ClaimName string // spreads the volumes of Immediate binding over the segments
	// Selected is where the scheduler placed the first Pod (WaitForFirstConsumer); the zero Segment for Immediate binding.
	Selected Segment
	// Allowed are the class's allowed topologies as the function Allowed makes them: nil if the class has none, empty if it has some
	// that nothing satisfies.
	Allowed []Segment
	// Candidates are the segments to choose from where the class names none, sorted and distinct.
	Candidates []Segment
	// Order is the order in which Immediate binding is to try the segments, all of them, as the function Order makes it; nil: by the claim's name.
	Order     []Segment
	Strict    bool // --strict-topology: nothing but the selected segment
	Immediate bool // --immediate-topology: Immediate binding names the candidates
	// Limit is how many segments a request names at most. Zero or less: all of them. With a limit a driver cannot choose among all
	// segments in one call, so a caller that sets it has to ask again, in another Round, when the driver had no room.
	Limit int
	// Round is in how many requests before this one the driver had no room. It moves the window of Limit segments on, for Immediate
	// binding only: with a selected node it is the scheduler who tries another.
	Round int
	// Hint are the segments that had better be tried first, the best first, as ParseHint reads them; for Immediate binding only.
	Hint []Segment
}

// Require decides what to require, by the rules that users of the established provisioner know:
//
//	binding    strict  allowed  immediate | requisite   preferred
//	delayed    yes     any      any       | selected    selected
//	delayed    no      no       any       | candidates  the selected one first
//	delayed    no      yes      any       | allowed     one that the selected node is in first
//	Immediate  any     yes      any       | allowed     rotated by the claim's name
//	Immediate  any     no       yes       | candidates  rotated by the claim's name
//	Immediate  any     no       no        | none: the driver chooses
//
// With a hint, what it names of a rotated list comes first (see requireHinted).
//
// "Rotated by the claim's name" is where Need.Order, in which a hint has its say, is nil.
//
// Where there are more than Need.Limit segments, both lists are the same window of that many: the segments that would come first among
// the preferred, and for Immediate binding the next ones in each Round.
//
// A nil Requirement means that the driver chooses. An error means that no segment fits, and why.
func Require(need Need) (*Requirement, error) {
	if need.Selected.IsZero() {
		return requireImmediate(need)
	}
	if need.Strict {
		if need.Allowed != nil && wider(need.Allowed, need.Selected) < 0 {
			return nil, fmt.Errorf("selected node's segment %s is not among the class's allowed topologies", need.Selected)
		}
		only := []Segment{need.Selected}
		return &Requirement{Requisite: only, Preferred: only}, nil
	}
	segments := need.segments()
	first := wider(segments, need.Selected)
	if first < 0 {
		return nil, fmt.Errorf("selected node's segment %s is in none of the %d segments a volume may be in", need.Selected, len(segments))
	}
	return window(segments, first, need.Limit), nil
}

func requireImmediate(need Need) (*Requirement, error) {
	if need.Allowed == nil && !need.Immediate {
		return nil, nil
	}
	segments := need.segments()
	switch {
	case len(segments) > 0 && len(need.Order) == len(segments):
		return ordered(need, segments), nil
	case len(segments) > 0:
		if hinted := requireHinted(need, segments); hinted != nil {
			return hinted, nil
		}
		return window(segments, need.first(len(segments)), need.Limit), nil
	case need.Allowed != nil:
		return nil, errors.New("nothing satisfies the class's allowed topologies")
	default:
		return nil, errors.New("no node has the driver registered with topology keys, or none carries the labels")
	}
}

// segments are those that the volume may be in, in order.
func (n Need) segments() []Segment {
	if n.Allowed != nil {
		return n.Allowed
	}
	return n.Candidates
}

// first is where in a list of this many segments Immediate binding starts: at a place of the claim's own, and further on by a window
// in each round, so that enough rounds offer every segment.
func (n Need) first(segments int) int {
	hash, index := spread(n.ClaimName)
	count := uint64(segments)
	first := (uint64(hash) + uint64(index)) % count
	if n.Limit > 0 && n.Limit < segments && n.Round > 0 {
		first = (first + uint64(n.Round)%count*uint64(n.Limit)) % count // no product of two large numbers
	}
	return int(first)
}

// wider returns where in sorted segments the first one is that the given segment is in, and -1 if there is none. It takes a linear
// search only through segments with fewer keys: among those with as many it can only be the same one.
func wider(segments []Segment, segment Segment) int {
	keys := segment.Len()
	for i, candidate := range segments {
		if candidate.Len() >= keys {
			break
		}
		if segment.Contains(candidate) {
			return i
		}
	}
	if at, found := slices.BinarySearchFunc(segments, segment, Segment.Compare); found {
		return at
	}
	return -1
}

// window requires a number of segments, limit at most, starting at first and going on with the start of the list after its end. It
// allocates only if it has to, and no more than it returns.
func window(segments []Segment, first, limit int) *Requirement {
	count := len(segments)
	if limit <= 0 || limit > count {
		limit = count
	}
	end := first + limit
	if end <= count {
		inOrder := segments[first:end:end]
		return &Requirement{Requisite: inOrder, Preferred: inOrder}
	}
	head, tail := segments[:end-count], segments[first:]
	all := &Requirement{Requisite: segments, Preferred: slices.Concat(tail, head)}
	if limit < count {
		all.Requisite = slices.Concat(head, tail)
	}
	return all
}

// spread derives a place in the list of segments from a claim's name. The claims of a StatefulSet are named
// TEMPLATE-SET-ORDINAL: they hash by SET and count on by ORDINAL, so that the replicas land in different segments while the several volumes
// of one replica land together.
func spread(claim string) (hash, index uint32) {
	base := claim
	if dash := strings.LastIndexByte(claim, '-'); dash >= 0 {
		if ordinal, err := strconv.ParseUint(claim[dash+1:], 10, 32); err == nil {
			index = uint32(ordinal)
			base = claim[:dash]
			base = base[strings.LastIndexByte(base, '-')+1:]
		}
	}
	h := fnv.New32()
	_, _ = h.Write([]byte(base)) // never fails
	return h.Sum32(), index
}
