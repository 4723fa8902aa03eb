package topology

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequire(t *testing.T) {
	type want struct {
		requisite, preferred []string
		none                 bool   // the driver chooses
		err                  string // part of it
	}
	abc := zones("a", "b", "c")
	tests := map[string]struct {
		need Need
		want want
	}{
		"delayed, strict: only the selected segment": {
			Need{Selected: seg("zone", "b"), Strict: true, Candidates: abc},
			want{requisite: []string{"zone=b"}, preferred: []string{"zone=b"}}},
		"delayed, strict, selected allowed": {
			Need{Selected: seg("zone", "b", "rack", "1"), Strict: true, Allowed: zones("a", "b")},
			want{requisite: []string{"rack=1,zone=b"}, preferred: []string{"rack=1,zone=b"}}},
		"delayed, strict, selected not allowed": {
			Need{Selected: seg("zone", "c"), Strict: true, Allowed: zones("a", "b")},
			want{err: "not among the class's allowed topologies"}},
		"delayed: all candidates, the selected one first": {
			Need{Selected: seg("zone", "b"), Candidates: abc},
			want{requisite: []string{"zone=a", "zone=b", "zone=c"}, preferred: []string{"zone=b", "zone=c", "zone=a"}}},
		"delayed, allowed: one that the selected node is in first": {
			Need{Selected: seg("zone", "c", "rack", "1"), Allowed: zones("a", "c"), Candidates: abc},
			want{requisite: []string{"zone=a", "zone=c"}, preferred: []string{"zone=c", "zone=a"}}},
		"delayed, allowed, selected in none of them": {
			Need{Selected: seg("zone", "b"), Allowed: zones("a", "c")},
			want{err: "in none of the 2 segments"}},
		"Immediate: candidates rotated by the ordinal": {
			Need{ClaimName: "data-web-1", Immediate: true, Candidates: abc},
			want{requisite: []string{"zone=a", "zone=b", "zone=c"}, preferred: rotatedNames(abc, "web", 1)}},
		"Immediate: allowed instead of candidates": {
			Need{ClaimName: "data", Immediate: true, Allowed: zones("a", "b"), Candidates: abc},
			want{requisite: []string{"zone=a", "zone=b"}, preferred: rotatedNames(zones("a", "b"), "data", 0)}},
		"Immediate, allowed, --immediate-topology=false: allowed still counts": {
			Need{ClaimName: "data", Allowed: zones("a")},
			want{requisite: []string{"zone=a"}, preferred: []string{"zone=a"}}},
		"Immediate, --immediate-topology=false: the driver chooses": {
			Need{ClaimName: "data", Candidates: abc}, want{none: true}},
		"Immediate, no candidates": {
			Need{ClaimName: "data", Immediate: true}, want{err: "no node has the driver registered"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Require(tt.need)
			if tt.want.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want.err) {
					t.Fatalf("got error %v, want one with %q", err, tt.want.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.none {
				if got != nil {
					t.Fatalf("got %v, want none", got)
				}
				return
			}
			if diff := cmp.Diff(tt.want.requisite, names(got.Requisite)); diff != "" {
				t.Errorf("requisite: %s", diff)
			}
			if diff := cmp.Diff(tt.want.preferred, names(got.Preferred)); diff != "" {
				t.Errorf("preferred: %s", diff)
			}
		})
	}
}

func rotatedNames(segments []Segment, base string, index int) []string {
	hash, _ := spread(base)
	first := (int(hash%uint32(len(segments))) + index) % len(segments)
	return names(append(append([]Segment{}, segments[first:]...), segments[:first]...))
}

func TestRequireDoesNotChangeSharedCandidates(t *testing.T) {
	candidates := zones("a", "b", "c")
	for i := range 3 {
		if _, err := Require(Need{ClaimName: fmt.Sprintf("data-web-%d", i), Immediate: true, Candidates: candidates}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"zone=a", "zone=b", "zone=c"}, names(candidates)); diff != "" {
		t.Error(diff)
	}
}

func TestSpread(t *testing.T) {
	first := func(claim string, segments []Segment) string {
		r, err := Require(Need{ClaimName: claim, Immediate: true, Candidates: segments})
		if err != nil {
			t.Fatal(err)
		}
		return r.Preferred[0].String()
	}
	three := zones("a", "b", "c")
	seen := map[string]bool{}
	for i := range 3 {
		seen[first(fmt.Sprintf("data-web-%d", i), three)] = true
	}
	if len(seen) != 3 {
		t.Errorf("three replicas of a StatefulSet start in %v, want three segments", seen)
	}
	for i := range 3 {
		data, log := first(fmt.Sprintf("data-web-%d", i), three), first(fmt.Sprintf("log-web-%d", i), three)
		if data != log {
			t.Errorf("the volumes of replica %d are in %s and %s, want one segment", i, data, log)
		}
	}
	// 4294967296 does not fit 32 bits: it is a name, not an ordinal.
	if _, index := spread("data-4294967296"); index != 0 {
		t.Errorf("index %d of a number that is too large", index)
	}
}

func BenchmarkRequire(b *testing.B) {
	for _, nodes := range []int{1000, 5000} {
		index := NewIndex()
		keys := NewKeySet([]string{"host"})
		for i := range nodes {
			name := fmt.Sprintf("n%04d", i)
			index.SetNode(name, map[string]string{"host": name, "zone": "a"})
			index.SetRegistration(name, keys)
		}
		run := func(name string, need func() Need) {
			b.Run(fmt.Sprintf("%s/%d", name, nodes), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Require(need()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("immediate", func() Need {
			return Need{ClaimName: "data-web-7", Immediate: true, Candidates: index.RegisteredSegments()}
		})
		run("selected-strict", func() Need {
			s, err := index.NodeSegment("n0007")
			if err != nil {
				b.Fatal(err)
			}
			return Need{Selected: s, Strict: true}
		})
		run("selected", func() Need {
			s, err := index.NodeSegment("n0007")
			if err != nil {
				b.Fatal(err)
			}
			return Need{Selected: s, Candidates: index.LabelledSegments(s)}
		})
	}
}
