package topology

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// largeIndex has as many nodes, each a segment of its own: the worst case. The sets of keys are registered in turn.
func largeIndex(nodes int, keySets ...KeySet) *Index {
	index := NewIndex()
	for i := range nodes {
		name := fmt.Sprintf("n%04d", i)
		index.SetNode(name, map[string]string{"host": name, "zone": "a"})
		index.SetRegistration(name, keySets[i%len(keySets)])
	}
	return index
}

// BenchmarkRequire is what a claim costs, with the index's part. The selected node is the last in order.
func BenchmarkRequire(b *testing.B) {
	tests := []struct {
		name      string
		delayed   bool
		strict    bool
		limit     int
		immediate bool
	}{
		{name: "selected-strict", delayed: true, strict: true},
		{name: "selected", delayed: true},
		{name: "selected-limit-128", delayed: true, limit: 128},
		{name: "immediate", immediate: true},
		{name: "immediate-limit-128", immediate: true, limit: 128},
	}
	for _, nodes := range []int{1000, 5000} {
		index, last := largeIndex(nodes, NewKeySet([]string{"host"})), fmt.Sprintf("n%04d", nodes-1)
		for _, tt := range tests {
			b.Run(fmt.Sprintf("%s/%d", tt.name, nodes), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					need := Need{ClaimName: "data-web-7", Strict: tt.strict, Immediate: tt.immediate, Limit: tt.limit, Round: 3}
					if tt.delayed {
						selected, err := index.NodeSegment(last)
						if err != nil {
							b.Fatal(err)
						}
						need.Selected, need.Candidates = selected, index.LabelledSegments(selected)
					} else {
						need.Candidates = index.RegisteredSegments()
					}
					if _, err := Require(need); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkIndex is what changes cost, and a claim's question after them.
func BenchmarkIndex(b *testing.B) {
	const nodes = 5000
	host, both := NewKeySet([]string{"host"}), NewKeySet([]string{"host", "zone"})
	at := [2]map[string]string{{"host": "n0007", "zone": "a"}, {"host": "elsewhere", "zone": "a"}}
	edited := [2]map[string]string{{"host": "n0007", "zone": "a", "edit": "1"}, {"host": "n0007", "zone": "a", "edit": "2"}}
	tests := []struct {
		name    string
		keySets []KeySet
		step    func(index *Index, i int)
	}{
		{"a-node-moves", []KeySet{host}, func(x *Index, i int) { x.SetNode("n0007", at[i%2]) }},
		{"a-node-moves-during-an-upgrade", []KeySet{host, both}, func(x *Index, i int) { x.SetNode("n0007", at[i%2]) }},
		{"an-unrelated-label-changes", []KeySet{host}, func(x *Index, i int) { x.SetNode("n0007", edited[i%2]) }},
		{"nothing-changes", []KeySet{host}, func(x *Index, _ int) { x.SetNode("n0007", at[0]) }},
		{"claim", []KeySet{host}, func(x *Index, _ int) { x.RegisteredSegments() }},
		{"claim-during-an-upgrade", []KeySet{host, both}, func(x *Index, _ int) { x.RegisteredSegments() }},
		{"claim-with-a-node", []KeySet{host}, func(x *Index, _ int) {
			segment, _ := x.NodeSegment("n0007")
			x.LabelledSegments(segment)
		}},
		{"claim-after-a-node-moved", []KeySet{host}, func(x *Index, i int) {
			x.SetNode("n0007", at[i%2])
			x.RegisteredSegments()
		}},
		{"claim-after-an-unrelated-label-changed", []KeySet{host}, func(x *Index, i int) {
			x.SetNode("n0007", edited[i%2])
			x.RegisteredSegments()
		}},
		{"first-node-of-a-new-set-of-keys", []KeySet{host}, func(x *Index, i int) {
			x.SetRegistration("n0007", [2]KeySet{both, host}[i%2])
		}},
	}
	for _, tt := range tests {
		b.Run(fmt.Sprintf("%s/%d", tt.name, nodes), func(b *testing.B) {
			index := largeIndex(nodes, tt.keySets...)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				tt.step(index, i)
			}
		})
	}
	b.Run(fmt.Sprintf("fill/%d", nodes), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			largeIndex(nodes, host).RegisteredSegments()
		}
	})
}

func BenchmarkAllowed(b *testing.B) {
	for _, values := range []int{3, 70} { // of two keys each
		var some []string
		for i := range values {
			some = append(some, fmt.Sprintf("v%02d", i))
		}
		terms := []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
			{Key: "topology.kubernetes.io/zone", Values: some}, {Key: "rack", Values: some}}}}
		b.Run(fmt.Sprint(values*values), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Allowed(terms)
			}
		})
	}
}
