package topology

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

func TestSegmentsHaveOneOrder(t *testing.T) {
	want := []string{"host=n1", "host=n10", "host=n2", "zone=", "zone=a", "host=a,zone=z", "host=b,zone=a"}
	got := sortUnique([]Segment{seg("host", "b", "zone", "a"), seg("zone", "a"), seg("host", "n10"), seg("host", "n2"), seg("zone", ""),
		seg("zone", "z", "host", "a"), seg("host", "n1"), seg("zone", "a")})
	if diff := cmp.Diff(want, names(got)); diff != "" {
		t.Error(diff)
	}
}

// A driver's answer may hold anything, and so may the values of a class's allowed topologies.
func TestSeparatorsInKeysAndValuesDoNotMixSegmentsUp(t *testing.T) {
	pairs := []map[string]string{
		{"a": "1\x1eb\x1f2"}, {"a": "1", "b": "2"}, {"a\x1f1\x1eb": "2"}, {"a": "1\x1drb\x1du2"}, {"a": "1\x1d"}, {"a\x1d": "1"}, {"": ""}, {},
	}
	seen := map[Segment]int{}
	for i, want := range pairs {
		segment := NewSegment(want)
		if other, again := seen[segment]; again {
			t.Errorf("%q is the same as %q", want, pairs[other])
		}
		seen[segment] = i
		if diff := cmp.Diff(want, segment.Map(), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if segment.Len() != len(want) {
			t.Errorf("%q has %d keys", want, segment.Len())
		}
	}
}
