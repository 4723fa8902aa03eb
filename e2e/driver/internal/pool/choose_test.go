package pool_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

type segments = map[string]string

func zone(name string) segments { return segments{"zone": name} }

// table is zones a, b and c of 100, with used bytes taken.
func table(t *testing.T, used map[string]int64, change ...func([]pool.Spec)) *pool.Table {
	t.Helper()
	specs := []pool.Spec{{Segments: zone("a"), Size: 100}, {Segments: zone("b"), Size: 100}, {Segments: zone("c"), Size: 100}}
	for _, f := range change {
		f(specs)
	}
	return newTable(t, specs, used)
}

func newTable(tb testing.TB, specs []pool.Spec, used map[string]int64) *pool.Table {
	tb.Helper()
	table, err := pool.NewTable(specs)
	if err != nil {
		tb.Fatal(err)
	}
	for name, bytes := range used {
		table.Reserve(pool.KeyOf(zone(name)), bytes)
	}
	return table
}

func in(s segments) pool.Choice { return pool.Chosen{Key: pool.KeyOf(s), Segments: s} }

func TestChoose(t *testing.T) {
	limitA := func(s []pool.Spec) { s[0].MaxVolumeSize = 5 }
	limitAll := func(s []pool.Spec) { s[0].MaxVolumeSize, s[1].MaxVolumeSize, s[2].MaxVolumeSize = 5, 7, 6 }
	for name, c := range map[string]struct {
		used   map[string]int64
		change func([]pool.Spec)
		want   pool.Want
		choice pool.Choice
	}{
		"without requirement the emptiest pool": {
			used: map[string]int64{"a": 20, "b": 10, "c": 30}, want: pool.Want{Bytes: 10}, choice: in(zone("b")),
		},
		"of equally empty pools the first by name": {want: pool.Want{Bytes: 10}, choice: in(zone("a"))},
		"without requirement a fuller pool if the emptiest limits its volumes": {
			used: map[string]int64{"b": 50, "c": 60}, change: limitA, want: pool.Want{Bytes: 10}, choice: in(zone("b")),
		},
		"without requirement no pool has room": {
			used: map[string]int64{"a": 95, "b": 96, "c": 97}, want: pool.Want{Bytes: 10}, choice: pool.Full{Acceptable: true, Largest: 5},
		},
		"the first preferred with room, not the emptiest": {
			used:   map[string]int64{"b": 50},
			want:   pool.Want{Bytes: 10, Requisite: []segments{zone("a"), zone("b"), zone("c")}, Preferred: []segments{zone("b"), zone("a"), zone("c")}},
			choice: in(zone("b")),
		},
		"the next preferred if the first is full": {
			used:   map[string]int64{"b": 95},
			want:   pool.Want{Bytes: 10, Requisite: []segments{zone("a"), zone("b"), zone("c")}, Preferred: []segments{zone("b"), zone("c")}},
			choice: in(zone("c")),
		},
		"nothing but the first preferred where the driver tries no other": {
			used: map[string]int64{"b": 95},
			want: pool.Want{
				Bytes: 10, OnlyFirst: true,
				Requisite: []segments{zone("a"), zone("b"), zone("c")}, Preferred: []segments{zone("b"), zone("c")},
			},
			choice: pool.Full{Acceptable: true, Largest: 5},
		},
		"another requisite if all preferred are full": {
			used:   map[string]int64{"b": 95},
			want:   pool.Want{Bytes: 10, Requisite: []segments{zone("a"), zone("b")}, Preferred: []segments{zone("b")}},
			choice: in(zone("a")),
		},
		"the emptiest requisite": {
			used:   map[string]int64{"a": 10, "b": 5},
			want:   pool.Want{Bytes: 10, Requisite: []segments{zone("a"), zone("b")}},
			choice: in(zone("b")),
		},
		"never outside the requisite": {
			used:   map[string]int64{"a": 95, "b": 92},
			want:   pool.Want{Bytes: 10, Requisite: []segments{zone("a"), zone("b")}, Preferred: []segments{zone("a")}},
			choice: pool.Full{Acceptable: true, Largest: 8},
		},
		"preferred alone binds nothing": {
			used:   map[string]int64{"a": 95},
			want:   pool.Want{Bytes: 10, Preferred: []segments{zone("a")}},
			choice: in(zone("b")),
		},
		"an unknown segment": {
			want: pool.Want{Bytes: 10, Requisite: []segments{zone("x")}}, choice: pool.Full{},
		},
		"larger than any acceptable pool allows": {
			change: limitAll, want: pool.Want{Bytes: 10, Requisite: []segments{zone("a"), zone("c")}}, choice: pool.TooLarge{MaxVolumeSize: 6},
		},
		"larger than every pool allows": {
			change: limitAll, want: pool.Want{Bytes: 10}, choice: pool.TooLarge{MaxVolumeSize: 7},
		},
		"one acceptable pool would allow it but is full": {
			used: map[string]int64{"b": 95}, change: limitA,
			want: pool.Want{Bytes: 10, Requisite: []segments{zone("a"), zone("b")}}, choice: pool.Full{Acceptable: true, Largest: 5},
		},
		"exactly the room there is": {
			used: map[string]int64{"a": 90}, want: pool.Want{Bytes: 10, Requisite: []segments{zone("a")}}, choice: in(zone("a")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change == nil {
				c.change = func([]pool.Spec) {}
			}
			got := table(t, c.used, c.change).Choose(c.want)
			if diff := cmp.Diff(c.choice, got); diff != "" {
				t.Errorf("choice (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChooseBySomeOfAPoolsSegments(t *testing.T) {
	full := segments{"region": "r1", "zone": "z1"}
	other := segments{"region": "r2", "zone": "z2"}
	coarse := segments{"region": "r3"}
	pools := newTable(t, []pool.Spec{{Segments: full, Size: 100}, {Segments: other, Size: 200}, {Segments: coarse, Size: 50}}, nil)
	for name, c := range map[string]struct {
		term   segments
		choice pool.Choice
	}{
		"exactly":                          {full, in(full)},
		"a coarser term":                   {segments{"region": "r2"}, in(other)},
		"a coarser term, by the other key": {segments{"zone": "z1"}, in(full)},
		"a finer term":                     {segments{"region": "r3", "zone": "z9"}, in(coarse)},
		"a pair that contradicts":          {segments{"region": "r1", "zone": "z2"}, pool.Full{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := pools.Choose(pool.Want{Bytes: 10, Requisite: []segments{c.term}})
			if diff := cmp.Diff(c.choice, got); diff != "" {
				t.Errorf("choice (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCapacity(t *testing.T) {
	limitA := func(s []pool.Spec) { s[0].MaxVolumeSize = 60 }
	for name, c := range map[string]struct {
		used   map[string]int64
		change func([]pool.Spec)
		term   segments
		want   pool.Capacity
	}{
		"of one segment is its room":                             {used: map[string]int64{"b": 30}, term: zone("b"), want: pool.Capacity{Available: 70, Largest: 70}},
		"of a limited segment has a maximum":                     {change: limitA, term: zone("a"), want: pool.Capacity{Available: 100, Largest: 60, LargestKnown: true}},
		"of a limited segment is never more than its room":       {used: map[string]int64{"a": 90}, change: limitA, term: zone("a"), want: pool.Capacity{Available: 10, Largest: 10, LargestKnown: true}},
		"of all segments is their sum, and the largest of rooms": {used: map[string]int64{"a": 1}, want: pool.Capacity{Available: 299, Largest: 100, LargestKnown: true}},
		"of an unknown segment is nothing":                       {term: zone("x")},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change == nil {
				c.change = func([]pool.Spec) {}
			}
			if diff := cmp.Diff(c.want, table(t, c.used, c.change).Capacity(c.term)); diff != "" {
				t.Errorf("capacity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAShrunkPoolHasNoNegativeRoom(t *testing.T) {
	pools := table(t, map[string]int64{"a": 50})
	if !pools.Resize(pool.KeyOf(zone("a")), 10) {
		t.Fatal("there is no pool a")
	}
	if got := pools.Capacity(zone("a")).Available; got != 0 {
		t.Errorf("available %d, want 0", got)
	}
	pools.Release(pool.KeyOf(zone("a")), 50)
	if got := pools.Capacity(zone("a")).Available; got != 10 {
		t.Errorf("available %d after the release, want 10", got)
	}
}

// TestVolumesSpread is a property: what is created freely is spread evenly, and no pool is ever overfilled.
func TestVolumesSpread(t *testing.T) {
	var specs []pool.Spec
	for i := range 50 {
		specs = append(specs, pool.Spec{Segments: zone(fmt.Sprintf("z%02d", i)), Size: 100})
	}
	pools := newTable(t, specs, nil)
	for i := range 500 {
		c, ok := pools.Choose(pool.Want{Bytes: 10}).(pool.Chosen)
		if !ok {
			t.Fatalf("volume %d finds no room", i)
		}
		pools.Reserve(c.Key, 10)
	}
	if c, ok := pools.Choose(pool.Want{Bytes: 1}).(pool.Full); !ok {
		t.Errorf("there is still room: %v", c)
	}
	for _, p := range pools.List() {
		if p.Used != 100 || p.Volumes != 10 {
			t.Errorf("%v has %d bytes in %d volumes, want 100 in 10", p.Segments, p.Used, p.Volumes)
		}
	}
}

func BenchmarkChooseAmong5000(b *testing.B) {
	var specs []pool.Spec
	for i := range 5000 {
		specs = append(specs, pool.Spec{Segments: zone(fmt.Sprintf("z%04d", i)), Size: 1 << 40})
	}
	pools := newTable(b, specs, nil)
	b.Run("anywhere", func(b *testing.B) {
		for b.Loop() {
			pools.Reserve(pools.Choose(pool.Want{Bytes: 10}).(pool.Chosen).Key, 10)
		}
	})
	b.Run("one segment named", func(b *testing.B) {
		want := pool.Want{Bytes: 10, Requisite: []segments{zone("z2500")}, Preferred: []segments{zone("z2500")}}
		for b.Loop() {
			pools.Reserve(pools.Choose(want).(pool.Chosen).Key, 10)
		}
	})
}
