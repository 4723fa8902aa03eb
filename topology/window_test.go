package topology

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLimitIsAWindow(t *testing.T) {
	all := zones("a", "b", "c", "d", "e", "f", "g")
	claim, start := claimThatStartsAt(t, 5, all), 5
	tests := map[string]struct {
		need                 Need
		requisite, preferred string // zones
	}{
		"no limit": {
			Need{ClaimName: claim, Immediate: true, Candidates: all}, "abcdefg", "fgabcde"},
		"a limit that is not reached": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 8}, "abcdefg", "fgabcde"},
		"a limit that is just reached": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 7}, "abcdefg", "fgabcde"},
		"without a limit that cuts there are no rounds": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 7, Round: 2}, "abcdefg", "fgabcde"},
		"Immediate: starts where the order starts without a limit": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 2}, "fg", "fg"},
		"Immediate: past the end it goes on at the start, requisite in order": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 4}, "abfg", "fgab"},
		"Immediate: the next round starts where the last one ended": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 4, Round: 1}, "cdef", "cdef"},
		"Immediate: one at a time": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 1, Round: 2}, "a", "a"},
		"Immediate, allowed: the same": {
			Need{ClaimName: claim, Allowed: all, Limit: 4, Round: 1}, "cdef", "cdef"},
		"delayed: starts with the selected segment": {
			Need{Selected: seg("zone", "c"), Candidates: all, Limit: 3}, "cde", "cde"},
		"delayed, past the end": {
			Need{Selected: seg("zone", "g"), Candidates: all, Limit: 3}, "abg", "gab"},
		"delayed: rounds are the scheduler's business": {
			Need{Selected: seg("zone", "c"), Candidates: all, Limit: 3, Round: 1}, "cde", "cde"},
		"delayed, allowed": {
			Need{Selected: seg("rack", "1", "zone", "f"), Allowed: all, Limit: 3}, "afg", "fga"},
		"delayed, strict: one is below any limit": {
			Need{Selected: seg("zone", "c"), Candidates: all, Strict: true, Limit: 3}, "c", "c"},
		"a negative limit is none": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: math.MinInt}, "abcdefg", "fgabcde"},
		"a negative round is the first": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 2, Round: math.MinInt}, "fg", "fg"},
		"a huge limit": {
			Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: math.MaxInt, Round: math.MaxInt}, "abcdefg", "fgabcde"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Require(tt.need)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.requisite, letters(got.Requisite)); diff != "" {
				t.Errorf("requisite: %s", diff)
			}
			if diff := cmp.Diff(tt.preferred, letters(got.Preferred)); diff != "" {
				t.Errorf("preferred: %s", diff)
			}
		})
	}
	// However many rounds there were, they count on.
	huge, err := Require(Need{ClaimName: claim, Immediate: true, Candidates: all, Limit: 3, Round: math.MaxInt})
	if err != nil {
		t.Fatal(err)
	}
	if want := all[(start+math.MaxInt%7*3)%7]; huge.Preferred[0] != want {
		t.Errorf("round %d starts with %s, want %s", math.MaxInt, huge.Preferred[0], want)
	}
}

// TestRoundsOfferEverySegment also says what a single window promises.
func TestRoundsOfferEverySegment(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 2))
		count, limit := 1+random.IntN(40), 1+random.IntN(45)
		all := numbered(count)
		need := Need{ClaimName: fmt.Sprintf("data-web-%d", random.IntN(50)), Immediate: true, Candidates: all}
		whole, err := Require(need)
		if err != nil {
			t.Fatal(err)
		}
		need.Limit = limit
		start := random.IntN(1000) // any rounds that follow each other do
		rounds, offered := (count+limit-1)/limit, map[Segment]int{}
		for round := range rounds {
			need.Round = start + round
			got, err := Require(need)
			if err != nil {
				t.Fatal(err)
			}
			inOrder := slices.SortedFunc(slices.Values(got.Preferred), Segment.Compare)
			if diff := cmp.Diff(names(inOrder), names(got.Requisite)); diff != "" {
				t.Fatalf("%d of %d: requisite is not preferred in order: %s", limit, count, diff)
			}
			if len(slices.Compact(inOrder)) != min(limit, count) {
				t.Fatalf("%d of %d: a window of %v", limit, count, got.Preferred)
			}
			for _, segment := range got.Preferred {
				offered[segment]++
			}
		}
		if len(offered) != count {
			t.Errorf("%d of %d: after %d rounds only %d were offered", limit, count, rounds, len(offered))
		}
		// The windows overlap only where the last one is filled up.
		if again := rounds*min(limit, count) - count; again != repeats(offered) {
			t.Errorf("%d of %d: %d segments were offered again, want %d", limit, count, repeats(offered), again)
		}
		need.Round = 0
		if got, err := Require(need); err != nil || got.Preferred[0] != whole.Preferred[0] {
			t.Errorf("%d of %d: first %v, %v; without a limit it is %s", limit, count, got, err, whole.Preferred[0])
		}
	}
}

func TestClaimsStartInDifferentWindows(t *testing.T) {
	all, starts := numbered(500), map[Segment]bool{}
	for i := range 100 {
		got, err := Require(Need{ClaimName: fmt.Sprintf("claim%d", i), Immediate: true, Candidates: all, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		starts[got.Preferred[0]] = true
	}
	if len(starts) < 70 {
		t.Errorf("100 claims start at %d places of 500", len(starts))
	}
}

func TestWindowDoesNotLetGrowIntoSharedCandidates(t *testing.T) {
	all := zones("a", "b", "c", "d")
	for first := range all {
		got := window(all, first, 2)
		_ = append(got.Requisite, seg("zone", "x"))
		_ = append(got.Preferred, seg("zone", "x"))
	}
	if diff := cmp.Diff("abcd", letters(all)); diff != "" {
		t.Error(diff)
	}
}

// TestWiderIsTheFirstInOrder compares the search with looking at each.
func TestWiderIsTheFirstInOrder(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 3))
		anywhere := func() Segment {
			pairs := map[string]string{}
			for _, key := range []string{"host", "rack", "zone"} {
				if random.IntN(2) == 0 {
					pairs[key] = string(rune('a' + random.IntN(2)))
				}
			}
			return NewSegment(pairs)
		}
		var segments []Segment
		for range random.IntN(10) {
			segments = append(segments, anywhere())
		}
		segments = sortUnique(segments)
		selected := anywhere()
		if got, want := wider(segments, selected), slices.IndexFunc(segments, selected.Contains); got != want {
			t.Errorf("%v in %v: got %d, want %d", selected, segments, got, want)
		}
	}
}

func claimThatStartsAt(t *testing.T, place int, segments []Segment) string {
	t.Helper()
	for i := range 100 {
		claim := fmt.Sprintf("data-web-%d", i)
		if (Need{ClaimName: claim}).first(len(segments)) == place {
			return claim
		}
	}
	t.Fatal("no replica starts there")
	return ""
}

// letters joins the values of segments of one key.
func letters(segments []Segment) string {
	var all string
	for _, segment := range segments {
		for _, value := range segment.All() {
			all += value
		}
	}
	return all
}

func numbered(count int) []Segment {
	all := make([]Segment, count)
	for i := range all {
		all[i] = seg("host", fmt.Sprintf("n%04d", i))
	}
	return all
}

func repeats(counts map[Segment]int) int {
	more := 0
	for _, count := range counts {
		more += count - 1
	}
	return more
}
