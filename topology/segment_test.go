package topology

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// seg makes a segment of pairs: seg("zone", "a", "rack", "1").
func seg(pairs ...string) Segment {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return NewSegment(m)
}

func zones(names ...string) []Segment {
	segments := make([]Segment, len(names))
	for i, name := range names {
		segments[i] = seg("zone", name)
	}
	return segments
}

func names(segments []Segment) []string {
	var all []string
	for _, s := range segments {
		all = append(all, s.String())
	}
	return all
}

func TestSegmentsWithTheSamePairsAreTheSameMapKey(t *testing.T) {
	set := map[Segment]int{}
	set[seg("zone", "a", "rack", "1")]++
	set[seg("rack", "1", "zone", "a")]++
	set[seg("zone", "a")]++
	if len(set) != 2 || set[seg("zone", "a", "rack", "1")] != 2 {
		t.Errorf("got %v, want two keys, one of them counted twice", set)
	}
}

func TestSegmentRoundTripsThroughItsMap(t *testing.T) {
	want := map[string]string{"topology.kubernetes.io/zone": "eu-1a", "rack": "", "host": "n1"}
	if diff := cmp.Diff(want, NewSegment(want).Map()); diff != "" {
		t.Error(diff)
	}
	if got := (Segment{}).Map(); got != nil {
		t.Errorf("the zero segment has the map %v, want nil", got)
	}
	if got := NewSegment(want).Len(); got != 3 {
		t.Errorf("Len is %d, want 3", got)
	}
}

func TestSegmentContains(t *testing.T) {
	tests := map[string]struct {
		segment, other Segment
		want           bool
	}{
		"itself":                     {seg("zone", "a"), seg("zone", "a"), true},
		"a wider one":                {seg("zone", "a", "rack", "1"), seg("zone", "a"), true},
		"not a narrower one":         {seg("zone", "a"), seg("zone", "a", "rack", "1"), false},
		"not another value":          {seg("zone", "a"), seg("zone", "b"), false},
		"not one with other keys":    {seg("zone", "a"), seg("rack", "a"), false},
		"everything is in no bounds": {seg("zone", "a"), Segment{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.segment.Contains(tt.other); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSegmentOfNeedsEveryLabel(t *testing.T) {
	labels := map[string]string{"zone": "a", "rack": "1", "other": "x"}
	if got, ok := SegmentOf(labels, []string{"rack", "zone"}); !ok || got != seg("zone", "a", "rack", "1") {
		t.Errorf("got %v %v", got, ok)
	}
	if got, ok := SegmentOf(labels, []string{"host", "zone"}); ok {
		t.Errorf("a node without the label host is in %v", got)
	}
}

func TestMergeRefusesContradiction(t *testing.T) {
	if got, ok := seg("zone", "a").Merge(seg("rack", "1")); !ok || got != seg("zone", "a", "rack", "1") {
		t.Errorf("got %v %v", got, ok)
	}
	if got, ok := seg("zone", "a").Merge(seg("zone", "b")); ok {
		t.Errorf("two zones made %v", got)
	}
}

func TestAllowedTopologies(t *testing.T) {
	expression := func(key string, values ...string) corev1.TopologySelectorLabelRequirement {
		return corev1.TopologySelectorLabelRequirement{Key: key, Values: values}
	}
	term := func(expressions ...corev1.TopologySelectorLabelRequirement) corev1.TopologySelectorTerm {
		return corev1.TopologySelectorTerm{MatchLabelExpressions: expressions}
	}
	tests := map[string]struct {
		terms []corev1.TopologySelectorTerm
		want  []string
	}{
		"none":                              {nil, nil},
		"one key, values beside each other": {[]corev1.TopologySelectorTerm{term(expression("zone", "b", "a"))}, []string{"zone=a", "zone=b"}},
		"two keys multiply": {[]corev1.TopologySelectorTerm{term(expression("zone", "a", "b"), expression("rack", "1", "2"))},
			[]string{"rack=1,zone=a", "rack=1,zone=b", "rack=2,zone=a", "rack=2,zone=b"}},
		"terms add up, repeats once":             {[]corev1.TopologySelectorTerm{term(expression("zone", "a")), term(expression("zone", "b", "a"))}, []string{"zone=a", "zone=b"}},
		"an empty term allows nothing by itself": {[]corev1.TopologySelectorTerm{term(), term(expression("zone", "a"))}, []string{"zone=a"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, names(Allowed(tt.terms))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNodeAffinity(t *testing.T) {
	in := func(pairs ...string) corev1.NodeSelectorTerm {
		var term corev1.NodeSelectorTerm
		for i := 0; i < len(pairs); i += 2 {
			term.MatchExpressions = append(term.MatchExpressions, corev1.NodeSelectorRequirement{
				Key: pairs[i], Operator: corev1.NodeSelectorOpIn, Values: []string{pairs[i+1]}})
		}
		return term
	}
	required := func(terms ...corev1.NodeSelectorTerm) *corev1.VolumeNodeAffinity {
		return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}}
	}
	tests := map[string]struct {
		segments []Segment
		want     *corev1.VolumeNodeAffinity
	}{
		"no segments: from everywhere":          {nil, nil},
		"empty segments only: from anywhere":    {[]Segment{{}, {}}, nil},
		"one":                                   {zones("a"), required(in("zone", "a"))},
		"keys in one order":                     {[]Segment{seg("zone", "a", "rack", "1")}, required(in("rack", "1", "zone", "a"))},
		"terms in one order, repeats once":      {zones("b", "a", "b"), required(in("zone", "a"), in("zone", "b"))},
		"an empty one among others is left out": {append(zones("a"), Segment{}), required(in("zone", "a"))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, NodeAffinity(tt.segments)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
