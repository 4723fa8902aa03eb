package topology

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// Requirement is the accessibility requirement of a CreateVolume call (CSI spec, TopologyRequirement). Both lists may share memory
// with an Index: they must not be changed.
type Requirement struct {
	Requisite []Segment // the volume must be accessible from at least one of these
	Preferred []Segment // the order in which the driver should try them
}

// Need is all that decides a claim's requirement.
type Need struct {
	ClaimName string // spreads the volumes of Immediate binding over the segments
	// Selected is where the scheduler placed the first Pod (WaitForFirstConsumer); the zero Segment for Immediate binding.
	Selected Segment
	// Allowed are the class's allowed topologies, nil if it has none.
	Allowed []Segment
	// Candidates are the segments to choose from where the class names none, sorted and distinct.
	Candidates []Segment
	Strict     bool // --strict-topology: nothing but the selected segment
	Immediate  bool // --immediate-topology: Immediate binding names the candidates
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
// A nil Requirement means that the driver chooses. An error means that no segment fits, and why.
func Require(need Need) (*Requirement, error) {
	if need.Selected.IsZero() {
		return requireImmediate(need)
	}
	if need.Strict {
		inAllowed := func(allowed Segment) bool { return need.Selected.Contains(allowed) }
		if need.Allowed != nil && !slices.ContainsFunc(need.Allowed, inAllowed) {
			return nil, fmt.Errorf("selected node's segment %s is not among the class's allowed topologies", need.Selected)
		}
		only := []Segment{need.Selected}
		return &Requirement{Requisite: only, Preferred: only}, nil
	}
	requisite := need.requisite()
	first := slices.IndexFunc(requisite, func(s Segment) bool { return need.Selected.Contains(s) })
	if first < 0 {
		return nil, fmt.Errorf("selected node's segment %s is in none of the %d segments a volume may be in", need.Selected, len(requisite))
	}
	return &Requirement{Requisite: requisite, Preferred: rotate(requisite, first)}, nil
}

func requireImmediate(need Need) (*Requirement, error) {
	if need.Allowed == nil && !need.Immediate {
		return nil, nil
	}
	requisite := need.requisite()
	if len(requisite) == 0 {
		return nil, fmt.Errorf("no node has the driver registered with topology keys, or none carries the labels")
	}
	hash, index := spread(need.ClaimName)
	first := int((uint64(hash) + uint64(index)) % uint64(len(requisite)))
	return &Requirement{Requisite: requisite, Preferred: rotate(requisite, first)}, nil
}

func (n Need) requisite() []Segment {
	if n.Allowed != nil {
		return n.Allowed
	}
	return n.Candidates
}

// rotate returns the segments starting at first, in a new slice unless they start there already.
func rotate(segments []Segment, first int) []Segment {
	if first == 0 {
		return segments
	}
	rotated := make([]Segment, 0, len(segments))
	return append(append(rotated, segments[first:]...), segments[:first]...)
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
