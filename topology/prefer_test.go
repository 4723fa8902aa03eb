package topology

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHintsGiveAnOrder(t *testing.T) {
	all := zones("a", "b", "c", "d", "e")
	claim := claimThatStartsAt(t, 3, all)
	racks := []Segment{seg("zone", "a", "rack", "1"), seg("zone", "b", "rack", "1"), seg("zone", "a", "rack", "2"), seg("zone", "b", "rack", "2")}
	slices.SortFunc(racks, Segment.Compare)
	inRacks := claimThatStartsAt(t, 2, racks)
	immediate := func(hint []Segment, changes ...func(*Need)) Need {
		need := Need{ClaimName: claim, Immediate: true, Candidates: all, Hint: hint}
		for _, change := range changes {
			change(&need)
		}
		return need
	}
	limit := func(limit, round int) func(*Need) {
		return func(n *Need) { n.Limit, n.Round = limit, round }
	}
	allowed := func(segments ...Segment) func(*Need) {
		return func(n *Need) { n.Allowed = segments }
	}
	onRacks := func(n *Need) { n.Candidates, n.ClaimName = racks, inRacks }
	tests := map[string]struct {
		need                 Need
		requisite, preferred []string
	}{
		"none":                              {immediate(nil), names(all), names(zones("d", "e", "a", "b", "c"))},
		"one segment, the others follow":    {immediate(zones("b")), names(all), names(zones("b", "d", "e", "a", "c"))},
		"several, in the hint's order":      {immediate(zones("e", "b", "a")), names(all), names(zones("e", "b", "a", "d", "c"))},
		"all of them":                       {immediate(zones("e", "d", "c", "b", "a")), names(all), names(zones("e", "d", "c", "b", "a"))},
		"one that is not there is skipped":  {immediate(zones("x", "b")), names(all), names(zones("b", "d", "e", "a", "c"))},
		"none that is there":                {immediate(zones("x", "y")), names(all), names(zones("d", "e", "a", "b", "c"))},
		"a segment named twice counts once": {immediate(zones("b", "b", "a", "b")), names(all), names(zones("b", "a", "d", "e", "c"))},
		"it never allows what the class does not": {
			immediate(zones("b", "c"), allowed(zones("a", "c")...)), names(zones("a", "c")), names(zones("c", "a"))},
		"it names nothing that the class allows": {
			immediate(zones("b"), allowed(zones("a")...)), names(zones("a")), names(zones("a"))},
		"a node's segment in a class's zone": {
			immediate([]Segment{seg("zone", "c", "rack", "7")}, allowed(zones("a", "c")...)), names(zones("a", "c")), names(zones("c", "a"))},
		"a zone where there are racks": {
			immediate(zones("b"), onRacks), names(racks), names([]Segment{racks[3], racks[1], racks[2], racks[0]})},
		"a zone that there is not, where there are racks": {
			immediate(zones("x"), onRacks), names(racks), names([]Segment{racks[2], racks[3], racks[0], racks[1]})},
		"a segment without keys says nothing": {
			immediate([]Segment{{}}, onRacks), names(racks), names([]Segment{racks[2], racks[3], racks[0], racks[1]})},
		"with a selected node it says nothing": {
			Need{Selected: seg("zone", "b"), Candidates: all, Hint: zones("e")}, names(all), names(zones("b", "c", "d", "e", "a"))},
		"a limit: the named ones first":               {immediate(zones("e", "b"), limit(3, 0)), names(zones("b", "d", "e")), names(zones("e", "b", "d"))},
		"a limit: the next round goes on":             {immediate(zones("e", "b"), limit(3, 1)), names(zones("a", "c", "e")), names(zones("a", "c", "e"))},
		"a limit below what is named":                 {immediate(zones("e", "b"), limit(1, 0)), names(zones("e")), names(zones("e"))},
		"a limit below what is named, the next round": {immediate(zones("e", "b"), limit(1, 1)), names(zones("b")), names(zones("b"))},
		"no room: another one comes first":            {immediate(zones("b"), limit(0, 1)), names(all), names(zones("d", "e", "a", "c", "b"))},
		"no room again: yet another one":              {immediate(zones("b"), limit(0, 2)), names(all), names(zones("e", "a", "c", "b", "d"))},
		"after a round for each it starts anew":       {immediate(zones("b"), limit(9, 5)), names(all), names(zones("b", "d", "e", "a", "c"))},
		"a negative round is the first":               {immediate(zones("b"), limit(0, math.MinInt)), names(all), names(zones("b", "d", "e", "a", "c"))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Require(tt.need)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.requisite, names(got.Requisite)); diff != "" {
				t.Errorf("requisite: %s", diff)
			}
			if diff := cmp.Diff(tt.preferred, names(got.Preferred)); diff != "" {
				t.Errorf("preferred: %s", diff)
			}
		})
	}
	if got, err := Require(Need{ClaimName: claim, Candidates: all, Hint: zones("b")}); err != nil || got != nil {
		t.Errorf("where the driver chooses, a hint makes it %v, %v", got, err)
	}
}

// A hint takes nothing away, adds nothing, and after as many rounds as there are windows every segment has come first, or was in a window.
func TestHintsAreOnlyPreferences(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 3))
		count, limit := 1+random.IntN(40), random.IntN(45)
		all := numbered(count)
		need := Need{ClaimName: fmt.Sprintf("data-web-%d", random.IntN(50)), Immediate: true, Candidates: all, Limit: limit}
		for range random.IntN(10) {
			need.Hint = append(need.Hint, numbered(60)[random.IntN(60)])
		}
		window := limit
		if limit == 0 || limit > count {
			window = count
		}
		first, offered := map[Segment]bool{}, map[Segment]bool{}
		need.Round = random.IntN(1000)
		for range count {
			need.Round++
			got, err := Require(need)
			if err != nil {
				t.Fatal(err)
			}
			sorted := slices.SortedFunc(slices.Values(got.Preferred), Segment.Compare)
			if diff := cmp.Diff(names(sorted), names(got.Requisite)); diff != "" {
				t.Fatalf("seed %d: requisite is not preferred in order: %s", seed, diff)
			}
			if len(slices.Compact(sorted)) != window {
				t.Fatalf("seed %d: %d segments, want %d of %d", seed, len(sorted), window, count)
			}
			first[got.Preferred[0]] = true
			for _, segment := range got.Preferred {
				offered[segment] = true
			}
		}
		hinted := slices.ContainsFunc(need.Hint, func(s Segment) bool { return slices.Contains(all, s) })
		if len(offered) != count || hinted && window == count && len(first) != count {
			t.Errorf("seed %d: of %d segments %d were offered, %d of them first", seed, count, len(offered), len(first))
		}
		if diff := cmp.Diff(names(numbered(count)), names(all)); diff != "" {
			t.Fatalf("seed %d: shared candidates were changed: %s", seed, diff)
		}
	}
}

func TestManyRoundsAreCountedOn(t *testing.T) {
	all := zones("a", "b", "c", "d", "e")
	need := Need{ClaimName: claimThatStartsAt(t, 0, all), Immediate: true, Candidates: all, Limit: 2, Round: math.MaxInt, Hint: zones("a")}
	got, err := Require(need)
	if err != nil {
		t.Fatal(err)
	}
	if want := all[math.MaxInt%5*2%5]; got.Preferred[0] != want {
		t.Errorf("round %d starts with %s, want %s", math.MaxInt, got.Preferred[0], want)
	}
}
