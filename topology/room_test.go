package topology

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOrder(t *testing.T) {
	room := func(zone string, free, largest int64) Room { return Room{seg("zone", zone), free, largest} }
	abc := zones("a", "b", "c")
	hashed := func(claim string, segments ...Segment) []string {
		first, _ := Spread(claim, len(segments))
		return names(slices.Concat(segments[first:], segments[:first]))
	}
	racks := []Segment{seg("rack", "1", "zone", "a"), seg("rack", "2", "zone", "a"), seg("rack", "1", "zone", "b")}
	slices.SortFunc(racks, Segment.Compare)
	for name, c := range map[string]struct {
		wish Wish
		want []string
	}{
		"nothing is known":            {Wish{Segments: abc}, nil},
		"nothing that matters":        {Wish{Segments: abc, Rooms: []Room{room("z", 5, 5)}}, nil},
		"the roomier first":           {Wish{Segments: abc, Rooms: []Room{room("a", 10, 10), room("b", 100, 100), room("c", 50, 50)}}, []string{"zone=b", "zone=c", "zone=a"}},
		"without room comes last":     {Wish{Bytes: 20, Segments: abc, Rooms: []Room{room("a", 10, 10), room("b", 1000, 19)}}, []string{"zone=c", "zone=b", "zone=a"}},
		"hints come first":            {Wish{Segments: abc, Hint: zones("c", "z", "c"), Rooms: []Room{room("a", 1, 1), room("b", 100, 100)}}, []string{"zone=c", "zone=b", "zone=a"}},
		"hints alone":                 {Wish{Segments: zones("a", "b"), Hint: zones("b")}, []string{"zone=b", "zone=a"}},
		"a hint that has no room":     {Wish{Bytes: 5, Segments: zones("a", "b"), Hint: zones("b"), Rooms: []Room{room("b", 4, 4), room("a", 9, 9)}}, []string{"zone=a", "zone=b"}},
		"a hint of many segments":     {Wish{Segments: racks, Hint: zones("b")}, []string{"rack=1,zone=b", "rack=2,zone=a", "rack=1,zone=a"}},
		"a hint in a wider segment":   {Wish{Segments: zones("a", "b"), Hint: []Segment{seg("rack", "1", "zone", "b")}}, []string{"zone=b", "zone=a"}},
		"rooms in a wider segment":    {Wish{Segments: zones("a", "b"), Rooms: []Room{{racks[0], 1, 1}, {seg("rack", "7", "zone", "b"), 9, 9}}}, []string{"zone=b", "zone=a"}},
		"equals by the claim's name":  {Wish{ClaimName: "x", Segments: abc, Rooms: []Room{room("a", 99, 99), room("b", 100, 100), room("c", 60, 60)}}, hashed("x", abc...)},
		"a replica has enough in all": {Wish{ClaimName: "data-set-1", Bytes: 1, Segments: abc, Rooms: []Room{room("a", 8, 8), room("b", 1000, 1000), room("c", 50, 50)}}, hashed("data-set-1", abc...)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, names(Order(c.wish))); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnOrderIsOfAllSegments tries many claims, hints and rooms: nothing is lost, nothing is there twice, and replicas are apart.
func TestAnOrderIsOfAllSegments(t *testing.T) {
	segments := zones("a", "b", "c", "d", "e")
	for seed := range 500 {
		w := Wish{ClaimName: fmt.Sprintf("data-set%d-%d", seed/7, seed), Bytes: int64(seed % 13), Segments: segments}
		for i, segment := range segments {
			if seed>>i&1 == 1 {
				w.Rooms = append(w.Rooms, Room{segment, int64(seed * i % 17), int64(seed * i % 11)})
			}
			if seed%(i+2) == 0 {
				w.Hint = append(w.Hint, segment)
			}
		}
		order := Order(w)
		if len(w.Rooms)+len(w.Hint) == 0 {
			if order != nil {
				t.Fatalf("seed %d: an order of nothing known: %v", seed, order)
			}
			continue
		}
		if diff := cmp.Diff(names(segments), names(sortUnique(slices.Clone(order)))); diff != "" || len(order) != len(segments) {
			t.Fatalf("seed %d: order %v", seed, names(order))
		}
	}
}

func TestReplicasGoToDifferentSegmentsOfEqualRoom(t *testing.T) {
	segments := zones("a", "b", "c")
	wish := Wish{Bytes: 1, Segments: segments, Rooms: []Room{{segments[0], 100, 100}, {segments[1], 900, 900}, {segments[2], 70, 70}}}
	first := map[Segment]bool{}
	for ordinal := range 3 {
		wish.ClaimName = fmt.Sprintf("data-db-%d", ordinal)
		first[Order(wish)[0]] = true
	}
	if len(first) != 3 {
		t.Errorf("three replicas begin in %d segments", len(first))
	}
}

func TestRequireKeepsToTheCallersOrder(t *testing.T) {
	abc := zones("a", "b", "c")
	need := Need{ClaimName: "x", Candidates: abc, Immediate: true, Order: zones("c", "a", "b")}
	got, err := Require(need)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"zone=a", "zone=b", "zone=c"}, names(got.Requisite)); diff != "" {
		t.Errorf("requisite: %s", diff)
	}
	if diff := cmp.Diff([]string{"zone=c", "zone=a", "zone=b"}, names(got.Preferred)); diff != "" {
		t.Errorf("preferred: %s", diff)
	}
	need.Limit = 2
	for round, want := range [][]string{{"zone=c", "zone=a"}, {"zone=b", "zone=c"}, {"zone=a", "zone=b"}} {
		need.Round = round
		if got, err = Require(need); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, names(got.Preferred)); diff != "" || len(got.Requisite) != 2 || !slices.IsSortedFunc(got.Requisite, Segment.Compare) {
			t.Errorf("round %d: %v of %v", round, names(got.Preferred), names(got.Requisite))
		}
	}
	need.Order = zones("c") // not of all segments: somebody's mistake
	if got, err = Require(need); err != nil || len(got.Preferred) != 2 {
		t.Errorf("an order of something else: %v, %v", got, err)
	}
}
