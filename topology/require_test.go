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
		"delayed, allowed: the widest that the selected node is in first": {
			Need{Selected: seg("zone", "c", "rack", "1"), Allowed: []Segment{seg("zone", "b"), seg("zone", "c"), seg("zone", "c", "rack", "1")}},
			want{requisite: []string{"zone=b", "zone=c", "rack=1,zone=c"}, preferred: []string{"zone=c", "rack=1,zone=c", "zone=b"}}},
		"delayed, allowed by keys and values of the node itself": {
			Need{Selected: seg("zone", "c"), Allowed: []Segment{seg("rack", "1"), seg("zone", "c"), seg("zone", "d")}},
			want{requisite: []string{"rack=1", "zone=c", "zone=d"}, preferred: []string{"zone=c", "zone=d", "rack=1"}}},
		"delayed, allowed by another key than the node's": {
			Need{Selected: seg("zone", "a"), Allowed: []Segment{seg("rack", "1")}, Candidates: abc},
			want{err: "in none of the 1 segments"}},
		"delayed, allowed more narrowly than the node's keys say": {
			Need{Selected: seg("zone", "a"), Allowed: []Segment{seg("rack", "1", "zone", "a")}, Candidates: abc},
			want{err: "in none of the 1 segments"}},
		"delayed, the node left its segment after it was read": {
			Need{Selected: seg("zone", "d"), Candidates: abc},
			want{err: "in none of the 3 segments"}},
		"delayed, no candidates": {
			Need{Selected: seg("zone", "d")}, want{err: "in none of the 0 segments"}},
		"delayed, the class allows nothing": {
			Need{Selected: seg("zone", "a"), Allowed: []Segment{}, Candidates: abc},
			want{err: "in none of the 0 segments"}},
		"delayed, strict, the class allows nothing": {
			Need{Selected: seg("zone", "a"), Strict: true, Allowed: []Segment{}, Candidates: abc},
			want{err: "not among the class's allowed topologies"}},
		"delayed, strict, allowed by another key than the node's": {
			Need{Selected: seg("zone", "a"), Strict: true, Allowed: []Segment{seg("rack", "1")}},
			want{err: "not among the class's allowed topologies"}},
		"delayed, --immediate-topology does not matter": {
			Need{Selected: seg("zone", "a"), Immediate: true, Candidates: abc},
			want{requisite: []string{"zone=a", "zone=b", "zone=c"}, preferred: []string{"zone=a", "zone=b", "zone=c"}}},
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
		"Immediate: strict does not matter": {
			Need{ClaimName: "data-web-1", Immediate: true, Strict: true, Candidates: abc},
			want{requisite: []string{"zone=a", "zone=b", "zone=c"}, preferred: rotatedNames(abc, "web", 1)}},
		"Immediate, the class allows nothing": {
			Need{ClaimName: "data", Immediate: true, Allowed: []Segment{}, Candidates: abc},
			want{err: "nothing satisfies the class's allowed topologies"}},
		"Immediate, --immediate-topology=false, the class allows nothing": {
			Need{ClaimName: "data", Allowed: []Segment{}, Candidates: abc},
			want{err: "nothing satisfies the class's allowed topologies"}},
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
}

func TestSpreadHashesWhatTheEstablishedProvisionerHashes(t *testing.T) {
	tests := map[string]struct { // the hashes are FNV-1, computed elsewhere
		hash, index uint32
	}{
		"data":                {1959470013, 0},
		"data-web-x":          {412248343, 0}, // no number: the whole name
		"data-web-0":          {1181096325, 0},
		"log-web-7":           {1181096325, 7},
		"my-data-web-007":     {1181096325, 7},
		"web-4294967295":      {1181096325, 4294967295},
		"data-web-4294967296": {2450562679, 0}, // does not fit 32 bits: a name, not an ordinal
		"data--3":             {2166136261, 3},
		"":                    {2166136261, 0},
	}
	for claim, want := range tests {
		if hash, index := spread(claim); hash != want.hash || index != want.index {
			t.Errorf("%q: got %d and %d, want %d and %d", claim, hash, index, want.hash, want.index)
		}
	}
}
