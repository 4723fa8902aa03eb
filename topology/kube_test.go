package topology

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
)

func TestAllowedTopologies(t *testing.T) {
	expression := func(key string, values ...string) corev1.TopologySelectorLabelRequirement {
		return corev1.TopologySelectorLabelRequirement{Key: key, Values: values}
	}
	term := func(expressions ...corev1.TopologySelectorLabelRequirement) corev1.TopologySelectorTerm {
		return corev1.TopologySelectorTerm{MatchLabelExpressions: expressions}
	}
	tests := map[string]struct {
		terms []corev1.TopologySelectorTerm
		want  []string // nil: everything is allowed
	}{
		"none":                              {nil, nil},
		"one key, values beside each other": {[]corev1.TopologySelectorTerm{term(expression("zone", "b", "a"))}, []string{"zone=a", "zone=b"}},
		"two keys multiply": {[]corev1.TopologySelectorTerm{term(expression("zone", "a", "b"), expression("rack", "1", "2"))},
			[]string{"rack=1,zone=a", "rack=1,zone=b", "rack=2,zone=a", "rack=2,zone=b"}},
		"terms add up, repeats once":             {[]corev1.TopologySelectorTerm{term(expression("zone", "a")), term(expression("zone", "b", "a"))}, []string{"zone=a", "zone=b"}},
		"an empty term allows nothing by itself": {[]corev1.TopologySelectorTerm{term(), term(expression("zone", "a"))}, []string{"zone=a"}},
		"only empty terms allow nothing at all":  {[]corev1.TopologySelectorTerm{term(), term()}, []string{}},
		"a key without values allows nothing":    {[]corev1.TopologySelectorTerm{term(expression("zone", "a"), expression("rack"))}, []string{}},
		"and neither before another":             {[]corev1.TopologySelectorTerm{term(expression("rack"), expression("zone", "a"))}, []string{}},
		"repeated values once":                   {[]corev1.TopologySelectorTerm{term(expression("zone", "a", "a"), expression("rack", "1", "1"))}, []string{"rack=1,zone=a"}},
		"a repeated key has to hold both times":  {[]corev1.TopologySelectorTerm{term(expression("zone", "a", "b"), expression("zone", "b", "c"))}, []string{"zone=b"}},
		"a contradiction allows nothing":         {[]corev1.TopologySelectorTerm{term(expression("zone", "a"), expression("zone", "b"))}, []string{}},
		"an empty value is a value":              {[]corev1.TopologySelectorTerm{term(expression("zone", ""))}, []string{"zone="}},
		"wider before narrower": {[]corev1.TopologySelectorTerm{term(expression("zone", "a"), expression("rack", "1")), term(expression("zone", "b"))},
			[]string{"zone=b", "rack=1,zone=a"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Allowed(tt.terms)
			if diff := cmp.Diff(tt.want, names(got), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if (got == nil) != (tt.want == nil) {
				t.Errorf("got %#v, want %#v: nil allows everything, an empty list nothing", got, tt.want)
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

func TestAllowedTopologiesCannotExplode(t *testing.T) {
	var some []string
	for i := range 100 {
		some = append(some, fmt.Sprint(i))
	}
	var term corev1.TopologySelectorTerm
	for key := range 20 { // 100^20 combinations
		term.MatchLabelExpressions = append(term.MatchLabelExpressions,
			corev1.TopologySelectorLabelRequirement{Key: fmt.Sprintf("key%02d", key), Values: some})
	}
	got := Allowed([]corev1.TopologySelectorTerm{term, term, term})
	if len(got) != maxAllowed {
		t.Fatalf("got %d segments, want %d", len(got), maxAllowed)
	}
	if got[0].Len() != 20 || got[maxAllowed-1].Len() != 20 {
		t.Errorf("%s does not have every key: it allows more than the class does", got[0])
	}
}

func TestClassesAreNotChanged(t *testing.T) {
	terms := []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
		{Key: "zone", Values: []string{"b", "a", "a"}}, {Key: "rack", Values: []string{"2", "1"}}, {Key: "zone", Values: []string{"c", "b"}}}}}
	before := *terms[0].DeepCopy()
	Allowed(terms)
	if diff := cmp.Diff(before, terms[0]); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersAreNotChanged(t *testing.T) {
	answer := zones("b", "a", "b")
	NodeAffinity(answer)
	if diff := cmp.Diff("bab", letters(answer)); diff != "" {
		t.Error(diff)
	}
}

func TestValidateSegment(t *testing.T) {
	tests := map[string]struct {
		segment Segment
		want    []string // parts of the error; none: valid
	}{
		"what nodes have":            {seg("topology.kubernetes.io/zone", "eu-1a", "rack", "R_3.b"), nil},
		"an empty value is a value":  {seg("rack", ""), nil},
		"no keys":                    {Segment{}, nil},
		"a key with a space":         {seg("my zone", "a"), []string{`topology key "my zone" cannot be a label: `, "alphanumeric"}},
		"an empty key":               {seg("", "a"), []string{`topology key "" cannot be a label: `}},
		"a key with an empty prefix": {seg("/zone", "a"), []string{`topology key "/zone"`, "prefix"}},
		"a value that is a path": {seg("rack", "1", "zone", "pool/1"),
			[]string{`value "pool/1" of topology key "zone" cannot be a label's: `}},
		"a value that is too long": {seg("zone", strings.Repeat("x", 64)), []string{`value "xxx`, "63"}},
		"a huge value":             {seg("zone", strings.Repeat("x", 1<<20)), []string{`xxx" (and 1048476 more bytes) of topology key "zone"`}},
		"separators":               {seg("zone", "a\x1erack\x1f1"), []string{`value "a\x1erack\x1f1" of topology key "zone"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := ValidateSegment(tt.segment)
			if len(tt.want) == 0 {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("it is valid")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want %q in it", err, part)
				}
			}
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}
