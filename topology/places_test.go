package topology

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWhoHearsOfPlacesKnowsThemAll follows random changes by what OnPlace tells, and compares with the index, and that with a recount.
func TestWhoHearsOfPlacesKnowsThemAll(t *testing.T) {
	type node struct {
		zone                string // empty: no label
		present, registered bool
		keys                []string
	}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 2))
		index, heard, model, told := NewIndex(), map[Segment]bool{}, map[string]*node{}, 0
		index.OnPlace(func(place Segment) {
			told++
			if index.HasPlace(place) {
				heard[place] = true
			} else {
				delete(heard, place)
			}
		})
		for step := range 200 {
			name := fmt.Sprintf("n%d", random.IntN(5))
			n := model[name]
			if n == nil {
				n = &node{}
				model[name] = n
			}
			switch random.IntN(6) {
			case 0, 1:
				n.present, n.zone = true, []string{"a", "b", ""}[random.IntN(3)]
				labels := map[string]string{"step": fmt.Sprint(step)}
				if n.zone != "" {
					labels["zone"] = n.zone
				}
				index.SetNode(name, labels)
			case 2:
				n.present = false
				index.DeleteNode(name)
			case 3, 4:
				n.registered, n.keys = true, [][]string{{"zone"}, {}}[random.IntN(2)]
				index.SetRegistration(name, NewKeySet(n.keys))
			case 5:
				n.registered = false
				index.DeleteCSINode(name)
			}
			want := map[Segment]bool{}
			for _, n := range model {
				switch {
				case !n.present || !n.registered:
				case len(n.keys) == 0:
					want[Segment{}] = true
				case n.zone != "":
					want[seg("zone", n.zone)] = true
				}
			}
			places := index.Places()
			if len(places) != len(want) || !slices.IsSortedFunc(places, Segment.Compare) {
				t.Fatalf("seed %d, step %d: places %v, want %v", seed, step, places, want)
			}
			for _, place := range places {
				if !want[place] || !heard[place] {
					t.Fatalf("seed %d, step %d: place %q: wanted %v, heard of %v", seed, step, place, want[place], heard[place])
				}
			}
			if len(heard) != len(places) {
				t.Fatalf("seed %d, step %d: heard of %v, places %v", seed, step, heard, places)
			}
		}
		if told == 0 {
			t.Fatal("nothing was ever told")
		}
	}
}

func TestANodeMoreInAPlaceIsNoNews(t *testing.T) {
	index := NewIndex()
	var told []string
	index.OnPlace(func(place Segment) { told = append(told, place.String()) })
	for _, name := range []string{"n1", "n2"} {
		index.SetNode(name, map[string]string{"zone": "a"})
		index.SetRegistration(name, NewKeySet([]string{"zone"}))
	}
	index.SetNode("n1", map[string]string{"zone": "a", "other": "x"})
	index.DeleteNode("n1")
	if diff := cmp.Diff([]string{"zone=a"}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	index.SetNode("n2", map[string]string{"zone": "b"})
	if diff := cmp.Diff([]string{"zone=a", "zone=a", "zone=b"}, told); diff != "" {
		t.Errorf("told after a move (-want +got):\n%s", diff)
	}
}

func TestAllows(t *testing.T) {
	host := seg("host", "h1", "zone", "a")
	for name, c := range map[string]struct {
		allowed []Segment
		segment Segment
		want    bool
	}{
		"no allowed topologies allow all":           {nil, host, true},
		"terms that nothing satisfies allow none":   {[]Segment{}, host, false},
		"the segment itself":                        {[]Segment{seg("zone", "a")}, seg("zone", "a"), true},
		"another one":                               {[]Segment{seg("zone", "b")}, seg("zone", "a"), false},
		"a wider one that it is in":                 {[]Segment{seg("zone", "a"), seg("zone", "b")}, host, true},
		"a narrower one, of which it is not a part": {[]Segment{host}, seg("zone", "a"), false},
		"everywhere is allowed by any":              {[]Segment{seg("zone", "b")}, Segment{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Allows(c.allowed, c.segment); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
