package webhook

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-csi/berth/topology"
)

func names(segments []topology.Segment) string {
	var all []string
	for _, segment := range segments {
		all = append(all, segment.String())
	}
	return strings.Join(all, " ")
}

func term(pairs ...string) corev1.TopologySelectorTerm {
	var t corev1.TopologySelectorTerm
	for i := 0; i < len(pairs); i += 2 {
		t.MatchLabelExpressions = append(t.MatchLabelExpressions, corev1.TopologySelectorLabelRequirement{
			Key: pairs[i], Values: strings.Split(pairs[i+1], ",")})
	}
	return t
}

// wanted is what a claim wants of a segment.
type wanted struct {
	bytes    int64
	spreadBy string
}

// roomiest is the rule as the webhook uses it.
func roomiest(rooms []topology.Room, terms []corev1.TopologySelectorTerm, want wanted) ([]topology.Segment, bool) {
	wish := topology.Wish{ClaimName: want.spreadBy, Bytes: want.bytes, Rooms: rooms}
	return topology.Roomiest(wish, maxHintSegments, func(segment topology.Segment) bool { return within(terms, segment) })
}

func TestRoomiest(t *testing.T) {
	rack := func(zone, rack string, gib int64) topology.Room {
		return topology.Room{Segment: topology.NewSegment(map[string]string{"zone": zone, "rack": rack}), Free: gib << 30, Largest: gib << 30}
	}
	tests := map[string]struct {
		rooms []topology.Room
		terms []corev1.TopologySelectorTerm
		gib   int64
		claim string
		want  string
		known bool
	}{
		"nothing is published":                     {},
		"the roomier first":                        {rooms: []topology.Room{room("a", 10), room("b", 100), room("c", 30)}, gib: 1, want: "zone=b zone=c zone=a", known: true},
		"where it does not fit is left out":        {rooms: []topology.Room{room("a", 10), room("b", 100)}, gib: 11, want: "zone=b", known: true},
		"exactly fits":                             {rooms: []topology.Room{room("a", 10)}, gib: 10, want: "zone=a", known: true},
		"it fits nowhere":                          {rooms: []topology.Room{room("a", 10)}, gib: 11, known: true},
		"the largest volume decides, not the sum":  {rooms: []topology.Room{{Segment: zone("a"), Free: 100 << 30, Largest: 5 << 30}, room("b", 10)}, gib: 6, want: "zone=b", known: true},
		"nothing asked for fits where there is no": {rooms: []topology.Room{{Segment: zone("a"), Free: 0, Largest: 0}}, want: "zone=a", known: true},
		"unknown room is none":                     {rooms: []topology.Room{{Segment: zone("a"), Free: 0, Largest: -1}}, known: true},
		"only what the class allows":               {rooms: []topology.Room{room("a", 10), room("b", 100)}, terms: []corev1.TopologySelectorTerm{term("zone", "a")}, gib: 1, want: "zone=a", known: true},
		"nothing of what the class allows":         {rooms: []topology.Room{room("a", 10)}, terms: []corev1.TopologySelectorTerm{term("zone", "b")}, gib: 1},
		"an empty term allows nothing":             {rooms: []topology.Room{room("a", 10)}, terms: []corev1.TopologySelectorTerm{{}}, gib: 1},
		"one of several terms, all of one":         {rooms: []topology.Room{rack("a", "1", 5), rack("a", "2", 50), rack("b", "1", 10)}, terms: []corev1.TopologySelectorTerm{term("zone", "a", "rack", "1"), term("zone", "b,c")}, gib: 1, want: "rack=1,zone=b rack=1,zone=a", known: true},
		"a key that a segment lacks":               {rooms: []topology.Room{room("a", 10)}, terms: []corev1.TopologySelectorTerm{term("rack", "1")}, gib: 1},
		"equals go by the claim's name":            {rooms: []topology.Room{room("a", 100), room("b", 99), room("c", 60), room("d", 40)}, gib: 1, claim: "x", want: "zone=a zone=b zone=c zone=d", known: true},
		"and another name, another turn":           {rooms: []topology.Room{room("a", 100), room("b", 99), room("c", 60), room("d", 40)}, gib: 1, claim: "y", want: "zone=c zone=a zone=b zone=d", known: true},
		"replicas go where several fit, in turn":   {rooms: []topology.Room{room("a", 900), room("b", 80), room("c", 5), room("d", 4)}, gib: 1, claim: "data-web-0", want: "zone=a zone=b zone=c zone=d", known: true},
		"the next one at the next place":           {rooms: []topology.Room{room("a", 900), room("b", 80), room("c", 5), room("d", 4)}, gib: 1, claim: "data-web-1", want: "zone=b zone=c zone=a zone=d", known: true},
		"and round":                                {rooms: []topology.Room{room("a", 900), room("b", 80), room("c", 5), room("d", 4)}, gib: 1, claim: "data-web-3", want: "zone=a zone=b zone=c zone=d", known: true},
		"replicas go by room where it is scarce":   {rooms: []topology.Room{room("a", 2), room("b", 7), room("c", 1)}, gib: 1, claim: "data-web-0", want: "zone=b zone=a zone=c", known: true},
		"replicas that ask for nothing":            {rooms: []topology.Room{room("a", 2), room("b", 700)}, claim: "data-web-1", want: "zone=a zone=b", known: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, known := roomiest(tt.rooms, tt.terms, wanted{bytes: tt.gib << 30, spreadBy: tt.claim})
			if diff := cmp.Diff(tt.want, names(got)); diff != "" || known != tt.known {
				t.Errorf("known: %v, want %v; %s", known, tt.known, diff)
			}
		})
	}
}

func TestRoomiestNamesNoMoreThanAHintHas(t *testing.T) {
	var rooms []topology.Room
	for i := range 5000 {
		rooms = append(rooms, room(fmt.Sprintf("z%04d", i), int64(i+1)))
	}
	got, _ := roomiest(rooms, nil, wanted{bytes: 1, spreadBy: "data"})
	if len(got) != maxHintSegments {
		t.Fatalf("%d segments", len(got))
	}
	seen := map[topology.Segment]bool{}
	for _, segment := range got {
		if seen[segment] || segment.IsZero() {
			t.Errorf("%v is there twice, or empty", segment)
		}
		seen[segment] = true
		if segment.Compare(zone("z2499")) < 0 {
			t.Errorf("%v has less than half the room of the best", segment)
		}
	}
}

func TestRoomiestSurvivesAnyFigure(t *testing.T) {
	figures := []int64{math.MinInt64, -1, 0, 1, 2, 1 << 30, math.MaxInt64 / 8, math.MaxInt64}
	for _, bytes := range figures {
		var rooms []topology.Room
		for i, free := range figures {
			for j, largest := range figures {
				rooms = append(rooms, topology.Room{Segment: zone(fmt.Sprintf("%d-%d", i, j)), Free: free, Largest: largest})
			}
		}
		for _, claim := range []string{"x", "data-web-7"} {
			segments, known := roomiest(rooms, nil, wanted{bytes: bytes, spreadBy: claim})
			if !known || len(segments) == 0 {
				t.Errorf("%d bytes: nothing found", bytes)
			}
		}
	}
}

func TestSegmentsOfAVolume(t *testing.T) {
	in := func(key string, values ...string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
	}
	terms := func(terms ...corev1.NodeSelectorTerm) *corev1.VolumeNodeAffinity {
		return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}}
	}
	expressions := func(expressions ...corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: expressions}
	}
	tests := map[string]struct {
		affinity *corev1.VolumeNodeAffinity
		want     string
	}{
		"none":                           {},
		"nothing required":               {affinity: &corev1.VolumeNodeAffinity{}},
		"what we write":                  {topology.NodeAffinity([]topology.Segment{zone("b"), zone("a")}), "zone=a zone=b"},
		"two zones at once, as a region": {terms(expressions(in("zone", "a", "b"), in("disk", "ssd"))), "disk=ssd,zone=a disk=ssd,zone=b"},
		"another operator":               {terms(expressions(in("zone", "a"), corev1.NodeSelectorRequirement{Key: "x", Operator: corev1.NodeSelectorOpExists}), expressions(in("zone", "c"))), "zone=c"},
		"a node by its name":             {terms(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{in("metadata.name", "n")}}), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, names(segmentsOf(tt.affinity))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRoomiestKeepsItsPromises checks random rooms: every segment fits and is allowed, none is there twice, there are as many as can be, and
// none comes behind one that has less than half its room.
func TestRoomiestKeepsItsPromises(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		var rooms []topology.Room
		byName := map[topology.Segment]topology.Room{}
		for i := range random.IntN(40) {
			one := room(fmt.Sprintf("z%02d", i), random.Int64N(1<<random.IntN(20)+1))
			rooms = append(rooms, one)
			byName[one.Segment] = one
		}
		terms := []corev1.TopologySelectorTerm{term("zone", "z01,z02,z03,z04,z05,z10,z20,z21,z22,z30"), term("zone", "z11,z12,z13,z14,z15,z16,z17,z18")}
		want := wanted{bytes: random.Int64N(64) << 30, spreadBy: fmt.Sprintf("claim-%c", 'a'+random.IntN(26))}
		fitting := 0
		for _, one := range rooms {
			if within(terms, one.Segment) && one.Largest >= want.bytes {
				fitting++
			}
		}
		segments, _ := roomiest(rooms, terms, want)
		if len(segments) != min(fitting, maxHintSegments) {
			t.Fatalf("%d segments of %d", len(segments), fitting)
		}
		taken := map[topology.Segment]bool{}
		for i, segment := range segments {
			one := byName[segment]
			if taken[segment] || one.Largest < want.bytes || !within(terms, segment) {
				t.Fatalf("%v does not do, or is there twice", segment)
			}
			taken[segment] = true
			if i > 0 && one.Free/2 >= max(1, byName[segments[i-1]].Free) {
				t.Fatalf("out of order: %s", names(segments))
			}
		}
	}
}
