package topology

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// FuzzSegment compares what two segments do with what their maps do, for any strings.
func FuzzSegment(f *testing.F) {
	f.Add("zone", "a", "rack", "1", "zone", "b", "rack", "1")
	f.Add("zone", "a", "rack", "1", "zone", "a", "", "")
	f.Add("a", "1\x1eb\x1f2", "a", "", "a", "1", "b", "2")
	f.Add("a\x1d", "\x1e", "\x1f", "\x1dr", "a", "\x1d\x1e", "\x1du", "\xff")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3, k4, v4 string) {
		one, two := map[string]string{k1: v1, k2: v2}, map[string]string{k3: v3, k4: v4}
		s, other := NewSegment(one), NewSegment(two)
		checkSegment(t, s, one)
		checkSegment(t, other, two)
		if (s == other) != maps.Equal(one, two) {
			t.Errorf("%q and %q: equal as segments: %v", one, two, s == other)
		}
		if (s.Compare(other) == 0) != (s == other) || s.Compare(other) != -other.Compare(s) {
			t.Errorf("%q and %q: compare as %d and %d", one, two, s.Compare(other), other.Compare(s))
		}

		contains, agree, both := true, true, maps.Clone(one)
		for key, value := range two {
			have, ok := one[key]
			contains = contains && ok && have == value
			agree = agree && (!ok || have == value)
			both[key] = value
		}
		if got := s.Contains(other); got != contains {
			t.Errorf("%q contains %q: got %v", one, two, got)
		}
		merged, ok := s.Merge(other)
		if ok != agree {
			t.Fatalf("%q merges with %q: got %v", one, two, ok)
		}
		if ok {
			checkSegment(t, merged, both)
			if !merged.Contains(s) || !merged.Contains(other) {
				t.Errorf("%q merged with %q is not in both", one, two)
			}
		}
		if (s.keySet() == other.keySet()) != slices.Equal(sortedKeys(one), sortedKeys(two)) {
			t.Errorf("%q and %q: the same set of keys: %v", one, two, s.keySet() == other.keySet())
		}
	})
}

// checkSegment checks that a segment says exactly what is in a map.
func checkSegment(t *testing.T, s Segment, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, s.Map(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("round trip: %s", diff)
	}
	keys := sortedKeys(want)
	var got []string
	for key := range s.All() {
		got = append(got, key)
	}
	if !slices.Equal(got, keys) {
		t.Errorf("keys %q, want %q", got, keys)
	}
	if s.Len() != len(want) || s.IsZero() != (len(want) == 0) {
		t.Errorf("%q: length %d, zero %v", want, s.Len(), s.IsZero())
	}
	if of, ok := SegmentOf(want, keys); !ok || of != s {
		t.Errorf("%q: as labels they make %v, %v", want, of, ok)
	}
	if set := NewKeySet(keys); set != s.keySet() || !slices.Equal(set.Keys(), keys) {
		t.Errorf("%q: set of keys %q", want, set.Keys())
	}
	if !s.Contains(s) || !s.Contains(Segment{}) {
		t.Errorf("%q is not in itself, or not in everything", want)
	}
	_ = s.String()
}

func sortedKeys(pairs map[string]string) []string { return slices.Sorted(maps.Keys(pairs)) }

// FuzzAllowed builds a class from bytes and asks about every node there could be whether the list and the class agree about it, as the
// scheduler understands a class.
func FuzzAllowed(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 1, 0}, "weird")
	f.Add([]byte{0, 0, 0xff, 1, 2, 0xfe, 0xff, 0, 2, 0xff}, "\x1e")
	f.Add([]byte{0xfe, 0xfe, 0, 0xff, 1, 1}, "")
	f.Fuzz(func(t *testing.T, program []byte, odd string) {
		if len(program) > 40 {
			program = program[:40]
		}
		keys, values := []string{"host", "zone", odd}, []string{"a", "b", odd}
		terms := classOf(program, keys, values)
		before := make([]corev1.TopologySelectorTerm, len(terms))
		for i := range terms {
			terms[i].DeepCopyInto(&before[i])
		}

		allowed := Allowed(terms)
		if diff := cmp.Diff(before, terms, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("the class changed: %s", diff)
		}
		if (allowed == nil) != (len(terms) == 0) {
			t.Errorf("%d terms make %#v", len(terms), allowed)
		}
		if !slices.Equal(allowed, sortUnique(slices.Clone(allowed))) || slices.Contains(allowed, Segment{}) {
			t.Errorf("not sorted and distinct, or with an empty segment: %v", allowed)
		}
		slices.Reverse(terms)
		if !slices.Equal(allowed, Allowed(terms)) {
			t.Errorf("the order of the terms matters")
		}

		choices := append([]string{"\x00absent"}, values...)
		for i := range len(choices) * len(choices) * len(choices) {
			labels := map[string]string{}
			for at, key := range keys {
				if value := choices[[]int{i, i / len(choices), i / len(choices) / len(choices)}[at]%len(choices)]; value != choices[0] {
					labels[key] = value
				}
			}
			listed := len(terms) == 0 || slices.ContainsFunc(allowed, NewSegment(labels).Contains)
			if listed != classAllows(terms, labels) {
				t.Fatalf("node %q: in the list %v, %q; in the class %v", labels, listed, allowed, terms)
			}
		}
	})
}

// classOf reads a class: 0xfe starts a term, 0xff an expression, and any other byte is a key or else a value.
func classOf(program []byte, keys, values []string) []corev1.TopologySelectorTerm {
	var terms []corev1.TopologySelectorTerm
	expression := false
	for _, b := range program {
		if b == 0xfe || len(terms) == 0 {
			terms, expression = append(terms, corev1.TopologySelectorTerm{}), false
			continue
		}
		all := &terms[len(terms)-1].MatchLabelExpressions
		switch {
		case b == 0xff:
			expression = false
		case !expression:
			*all, expression = append(*all, corev1.TopologySelectorLabelRequirement{Key: keys[int(b)%len(keys)]}), true
		default:
			last := &(*all)[len(*all)-1]
			last.Values = append(last.Values, values[int(b)%len(values)])
		}
	}
	return terms
}

// classAllows reports what a class says about a node: any term, every expression, any value.
func classAllows(terms []corev1.TopologySelectorTerm, labels map[string]string) bool {
	fits := func(e corev1.TopologySelectorLabelRequirement) bool {
		value, ok := labels[e.Key]
		return ok && slices.Contains(e.Values, value)
	}
	return len(terms) == 0 || slices.ContainsFunc(terms, func(term corev1.TopologySelectorTerm) bool {
		return len(term.MatchLabelExpressions) > 0 && !slices.ContainsFunc(term.MatchLabelExpressions,
			func(e corev1.TopologySelectorLabelRequirement) bool { return !fits(e) })
	})
}

// FuzzNodeAffinity makes node affinities of anything a driver may answer, and has the scheduler's code judge them.
func FuzzNodeAffinity(f *testing.F) {
	f.Add("zone", "a", "rack", "1", "zone", "b")
	f.Add("topology.kubernetes.io/zone", "", "", "x", "zone", "a b")
	f.Add("a/b/c", "a", "-", "-", "zone\n", "\x1e\x1f\x1d")
	f.Add("zone", "a\n", "ZONE", "é", "/", "a")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3 string) {
		answer := []Segment{seg(k1, v1, k2, v2), {}, seg(k3, v3), seg(k1, v1)}
		before := slices.Clone(answer)
		affinity := NodeAffinity(answer)
		if !slices.Equal(before, answer) {
			t.Fatalf("the answer changed: %v", answer)
		}
		slices.Reverse(answer)
		if diff := cmp.Diff(affinity, NodeAffinity(answer)); diff != "" {
			t.Errorf("the order of the answer matters: %s", diff)
		}

		valid := true
		for _, segment := range answer {
			err := ValidateSegment(segment)
			valid = valid && err == nil
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
		selector, err := nodeaffinity.NewNodeSelector(affinity.Required)
		if valid != (err == nil) {
			t.Fatalf("%q: valid: %v, but the scheduler says %v", answer, valid, err)
		}
		if terms := len(affinity.Required.NodeSelectorTerms); terms != len(sortUnique(answer))-1 {
			t.Errorf("%d terms for %q", terms, answer)
		}
		if !valid {
			return
		}
		for _, segment := range answer {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: segment.Map()}}
			if selector.Match(node) == segment.IsZero() {
				t.Errorf("a node in %q: matches %v", segment, selector.Match(node))
			}
		}
	})
}
