package webhook

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/topology"
)

// maxHintSegments is how many segments a hint of ours names. What is further down hardly matters, and the text is on every claim.
const maxHintSegments = 16

// invalidHint refuses a hint that somebody wrote and that cannot be read. On an update only what it changes is looked at: nobody is kept
// from finishing with an object for what was let in before.
func invalidHint(claim *corev1.PersistentVolumeClaim, facts MutateFacts) *Refuse {
	key := topology.HintKey(facts.Driver)
	text, ok := claim.Annotations[key]
	if !ok || facts.Old != nil && facts.Old.Annotations[key] == text {
		return nil
	}
	if _, err := topology.ParseHint(text); err != nil {
		return &Refuse{Reason: ReasonInvalidHint, Invalid: true, Message: fmt.Sprintf(
			"annotation %s is no topology hint: %v; correct it, or leave it out to have segments chosen that have room", key, err)}
	}
	return nil
}

// hintIgnored warns of a hint that changes nothing.
func hintIgnored(claim *corev1.PersistentVolumeClaim, facts MutateFacts) []string {
	key := topology.HintKey(facts.Driver)
	segments, err := topology.ParseHint(claim.Annotations[key])
	switch {
	case err != nil: // there is none
		return nil
	case delayed(facts.Class):
		return []string{fmt.Sprintf("annotation %s has no effect: with storage class %q the scheduler chooses the place", key, facts.Class.Name)}
	case !slices.ContainsFunc(segments, func(segment topology.Segment) bool { return within(facts.Class.AllowedTopologies, segment) }):
		return []string{fmt.Sprintf("annotation %s has no effect: storage class %q allows none of its segments", key, facts.Class.Name)}
	}
	return nil
}

// chooseHint returns the hint to write; empty: none. Full means that there is no segment with enough room as far as is known.
//
// With WaitForFirstConsumer the scheduler chooses, and it knows better. For a claim that is made from something, a place near that is the
// cheap one, and often the only one. Without knowing where that is, nothing is said: the provisioner will know more.
func chooseHint(claim *corev1.PersistentVolumeClaim, facts MutateFacts) (hint string, full bool) {
	_, written := claim.Annotations[topology.HintKey(facts.Driver)]
	if written || !facts.Topology || delayed(facts.Class) {
		return "", false
	}
	terms := facts.Class.AllowedTopologies
	if reference, _ := datasource.Resolve(claim); reference.Kind != datasource.None {
		near := slices.DeleteFunc(slices.Clone(facts.Source), func(segment topology.Segment) bool { return !within(terms, segment) })
		return topology.FormatHint(near[:min(len(near), maxHintSegments)]), false
	}
	request := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	wish := topology.Wish{ClaimName: facts.SpreadBy, Bytes: request.Value(), Rooms: facts.Rooms}
	segments, known := topology.Roomiest(wish, maxHintSegments, func(segment topology.Segment) bool { return within(terms, segment) })
	return topology.FormatHint(segments), known && len(segments) == 0
}

func delayed(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// within reports whether a segment satisfies a class's allowed topologies: one of the terms, and of that all expressions.
func within(terms []corev1.TopologySelectorTerm, segment topology.Segment) bool {
	if len(terms) == 0 {
		return true
	}
	return slices.ContainsFunc(terms, func(term corev1.TopologySelectorTerm) bool {
		for _, expression := range term.MatchLabelExpressions {
			if !has(segment, expression.Key, expression.Values) {
				return false
			}
		}
		return len(term.MatchLabelExpressions) > 0 // an empty term matches no node
	})
}

// has reports whether a segment has one of the values for a key.
func has(segment topology.Segment, key string, values []string) bool {
	for have, value := range segment.All() {
		if have == key {
			return slices.Contains(values, value)
		}
	}
	return false
}

// segmentsOf returns the segments of a volume.
func segmentsOf(affinity *corev1.VolumeNodeAffinity) []topology.Segment {
	return topology.AffinitySegments(affinity)
}
