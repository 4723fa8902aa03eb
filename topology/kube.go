package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
)

// maxAllowed is how many combinations of one class's allowed topologies count. They multiply, so that a class of a few lines can have
// more than fit in memory; a request with this many would not fit in the four mebibytes that gRPC receives by default.
const maxAllowed = 1 << 16

// Allowed flattens a class's allowed topologies: within a term every combination of the keys' values, the terms beside each other.
// The result is sorted and distinct. It is nil if the class has no terms, which allows everything, and empty if the terms can
// never be satisfied: an empty term, or a key without values, matches no node. Combinations beyond maxAllowed are left out,
// which allows less than the class does and never more.
func Allowed(terms []corev1.TopologySelectorTerm) []Segment {
	if len(terms) == 0 {
		return nil
	}
	all := []Segment{}
	for _, term := range terms {
		all = append(all, combinations(term, maxAllowed-len(all))...)
	}
	return sortUnique(all)
}

// combinations returns the segments that satisfy a term, limit at most.
func combinations(term corev1.TopologySelectorTerm, limit int) []Segment {
	values := map[string][]string{}
	for _, expression := range term.MatchLabelExpressions {
		mine := slices.Compact(slices.Sorted(slices.Values(expression.Values)))
		if others, again := values[expression.Key]; again { // both have to hold
			mine = slices.DeleteFunc(mine, func(value string) bool { return !slices.Contains(others, value) })
		}
		values[expression.Key] = mine
	}
	if len(values) == 0 {
		return nil
	}
	segments := []Segment{{}}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		segments = multiply(segments, key, values[key], limit)
	}
	return segments
}

// multiply puts each of the values behind each of the segments, whose keys all come before this one.
func multiply(segments []Segment, key string, values []string, limit int) []Segment {
	pairs := make([]string, len(values))
	for i, value := range values {
		pairs[i] = NewSegment(map[string]string{key: value}).encoded
	}
	longer := make([]Segment, 0, min(limit, len(segments)*len(values)))
	for _, segment := range segments {
		for _, pair := range pairs {
			if len(longer) == limit {
				return longer
			}
			longer = append(longer, Segment{encoded: segment.encoded + pair})
		}
	}
	return longer
}

// NodeAffinity is the node affinity of a volume that is accessible from the given segments (any of them), with terms and keys in a fixed
// order.
//
// A segment without keys is left out: it names no place. If others are left they stand, so the volume is used where the driver
// certainly said it can be. If none is left the result is nil, "accessible from everywhere": a requirement without terms
// would match no node, and the API server refuses it. It also refuses keys and values that no label can have, see
// ValidateSegment.
func NodeAffinity(segments []Segment) *corev1.VolumeNodeAffinity {
	var terms []corev1.NodeSelectorTerm
	for _, segment := range sortUnique(slices.Clone(segments)) {
		if segment.IsZero() {
			continue
		}
		expressions := make([]corev1.NodeSelectorRequirement, 0, segment.Len())
		for key, value := range segment.All() {
			expressions = append(expressions, corev1.NodeSelectorRequirement{
				Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value},
			})
		}
		terms = append(terms, corev1.NodeSelectorTerm{MatchExpressions: expressions})
	}
	if terms == nil {
		return nil
	}
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}}
}

// AffinitySegments returns the segments of a volume, sorted and distinct: what NodeAffinity would make its node affinity of. Terms that say it in
// another way are left out.
func AffinitySegments(affinity *corev1.VolumeNodeAffinity) []Segment {
	if affinity == nil || affinity.Required == nil {
		return nil
	}
	var segments []Segment
	for _, term := range affinity.Required.NodeSelectorTerms {
		if len(term.MatchFields) > 0 {
			continue
		}
		selector := corev1.TopologySelectorTerm{}
		for _, expression := range term.MatchExpressions {
			if expression.Operator != corev1.NodeSelectorOpIn {
				selector.MatchLabelExpressions = nil
				break
			}
			selector.MatchLabelExpressions = append(selector.MatchLabelExpressions,
				corev1.TopologySelectorLabelRequirement{Key: expression.Key, Values: expression.Values})
		}
		segments = append(segments, combinations(selector, maxAllowed-len(segments))...) // without expressions there are none
	}
	return sortUnique(segments)
}

// ValidateSegment reports which key or value of a segment cannot be a node's label. A driver may answer with such a segment; no node
// is in it, and the API server refuses a volume that claims to be. A segment without keys is valid.
func ValidateSegment(s Segment) error {
	for key, value := range s.All() {
		if problems := content.IsLabelKey(key); len(problems) > 0 {
			return fmt.Errorf("topology key %s cannot be a label: %s", quoted(key), strings.Join(problems, "; "))
		}
		if problems := content.IsLabelValue(value); len(problems) > 0 {
			return fmt.Errorf("value %s of topology key %q cannot be a label's: %s", quoted(value), key, strings.Join(problems, "; "))
		}
	}
	return nil
}

// quoted makes one readable line of whatever a driver answered, long enough to find it.
func quoted(text string) string {
	const enough = 100
	if len(text) <= enough {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q (and %d more bytes)", text[:enough], len(text)-enough)
}
