package topology

import (
	corev1 "k8s.io/api/core/v1"
)

// Allowed flattens a class's allowed topologies: within a term every combination of the keys' values, the terms beside each other.
// The result is sorted and distinct; nil if the class has none.
func Allowed(terms []corev1.TopologySelectorTerm) []Segment {
	var all []Segment
	for _, term := range terms {
		segments := []Segment{{}}
		for _, expression := range term.MatchLabelExpressions {
			var wider []Segment
			for _, segment := range segments {
				for _, value := range expression.Values {
					if merged, ok := segment.Merge(NewSegment(map[string]string{expression.Key: value})); ok {
						wider = append(wider, merged)
					}
				}
			}
			segments = wider
		}
		for _, segment := range segments {
			if !segment.IsZero() {
				all = append(all, segment)
			}
		}
	}
	return sortUnique(all)
}

// NodeAffinity is the node affinity of a volume that is accessible from the given segments (any of them), with terms and keys in a fixed
// order. It is nil, "accessible from everywhere", if no segment has a key: a requirement without terms would match no node, and the API
// server refuses it.
func NodeAffinity(segments []Segment) *corev1.VolumeNodeAffinity {
	var terms []corev1.NodeSelectorTerm
	for _, segment := range sortUnique(append([]Segment(nil), segments...)) {
		if segment.IsZero() {
			continue
		}
		var expressions []corev1.NodeSelectorRequirement
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
