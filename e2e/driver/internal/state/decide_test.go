package state

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

var (
	writer = Capability{Mode: "SINGLE_NODE_WRITER"}
	block  = Capability{Mode: "SINGLE_NODE_WRITER", Block: true}
	multi  = Capability{Mode: "MULTI_NODE_READER_ONLY"}
)

func inZone(name string) map[string]string { return map[string]string{"zone": name} }

// aVolume is what exists: 10 bytes in zone a.
func aVolume(change ...func(*Volume)) *Volume {
	v := &Volume{
		ID: "vol-1", Name: "pvc-1", Bytes: 10, Segments: inZone("a"), Capabilities: []Capability{writer, multi},
		Parameters: map[string]string{"tier": "fast"},
	}
	for _, f := range change {
		f(v)
	}
	return v
}

// aCreation is what made it.
func aCreation(change ...func(*NewVolume)) NewVolume {
	w := NewVolume{Name: "pvc-1", Range: Range{Required: 10}, Capabilities: []Capability{writer}, Parameters: map[string]string{"tier": "fast"}}
	for _, f := range change {
		f(&w)
	}
	return w
}

func pools(t *testing.T) *pool.Table {
	t.Helper()
	table, err := pool.NewTable([]pool.Spec{{Segments: inZone("a"), Size: 100}, {Segments: inZone("b"), Size: 100, MaxVolumeSize: 50}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestASecondCreationOfTheSameName(t *testing.T) {
	for name, c := range map[string]struct {
		existing *Volume
		want     NewVolume
		reason   Reason // "" for the existing volume
	}{
		"the same again":                {aVolume(), aCreation(), ""},
		"less is asked for":             {aVolume(), aCreation(func(w *NewVolume) { w.Range.Required = 5 }), ""},
		"any size":                      {aVolume(), aCreation(func(w *NewVolume) { w.Range = Range{} }), ""},
		"more is asked for":             {aVolume(), aCreation(func(w *NewVolume) { w.Range.Required = 11 }), Incompatible},
		"it is above the limit":         {aVolume(), aCreation(func(w *NewVolume) { w.Range = Range{Required: 5, Limit: 9} }), Incompatible},
		"it was expanded since":         {aVolume(func(v *Volume) { v.Bytes = 20 }), aCreation(), ""},
		"other parameters":              {aVolume(), aCreation(func(w *NewVolume) { w.Parameters = nil }), Incompatible},
		"block instead of mount":        {aVolume(), aCreation(func(w *NewVolume) { w.Capabilities = []Capability{block} }), Incompatible},
		"another of its access modes":   {aVolume(), aCreation(func(w *NewVolume) { w.Capabilities = []Capability{multi} }), ""},
		"another file system":           {aVolume(), aCreation(func(w *NewVolume) { w.Capabilities = []Capability{{Mode: writer.Mode, FSType: "xfs"}} }), Incompatible},
		"a source it was not made from": {aVolume(), aCreation(func(w *NewVolume) { w.Source.VolumeID = "vol-0" }), Incompatible},
		"no source, and it was made from one": {
			aVolume(func(v *Volume) { v.Source.SnapshotID = "snap-1" }), aCreation(), Incompatible,
		},
		"its source, which is gone since": {
			aVolume(func(v *Volume) { v.Source.SnapshotID = "snap-1" }), aCreation(func(w *NewVolume) { w.Source.SnapshotID = "snap-1" }), "",
		},
		"a requisite with its segment":    {aVolume(), aCreation(func(w *NewVolume) { w.Requisite = []map[string]string{inZone("b"), inZone("a")} }), ""},
		"a requisite without its segment": {aVolume(), aCreation(func(w *NewVolume) { w.Requisite = []map[string]string{inZone("b")} }), Incompatible},
		"another segment is preferred":    {aVolume(), aCreation(func(w *NewVolume) { w.Preferred = []map[string]string{inZone("b")} }), ""},
		"other mutable parameters":        {aVolume(), aCreation(func(w *NewVolume) { w.MutableParameters = map[string]string{"iops": "1"} }), Incompatible},
		"it was modified since": {
			aVolume(func(v *Volume) { v.MutableParameters = map[string]string{"iops": "1"} }), aCreation(), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			existing, _, _, no := decideCreate(createFacts{want: c.want, existing: c.existing, pools: pools(t)})
			if got := reasonOf(no); got != c.reason {
				t.Fatalf("refused with %q (%v), want %q", got, no, c.reason)
			}
			if c.reason == "" && existing != c.existing {
				t.Errorf("got %v, want the existing volume", existing)
			}
		})
	}
}

func TestANewCreation(t *testing.T) {
	source := func(w *NewVolume) { w.Source.VolumeID = "vol-0" }
	for name, c := range map[string]struct {
		want   NewVolume
		found  bool
		bytes  int64 // of the source
		size   int64
		reason Reason
	}{
		"what is required":                        {want: aCreation(), size: 10},
		"a clone of a smaller source":             {want: aCreation(source), found: true, bytes: 5, size: 10},
		"a clone without a size":                  {want: aCreation(source, func(w *NewVolume) { w.Range = Range{} }), found: true, bytes: 7, size: 7},
		"a clone smaller than its source":         {want: aCreation(source), found: true, bytes: 11, reason: OutOfRange},
		"a clone whose limit is too small":        {want: aCreation(source, func(w *NewVolume) { w.Range = Range{Limit: 5} }), found: true, bytes: 11, reason: OutOfRange},
		"a clone of nothing":                      {want: aCreation(source), reason: NotFound},
		"only a limit below the default":          {want: aCreation(func(w *NewVolume) { w.Range = Range{Limit: 20} }), size: 20},
		"nothing about size, and pools too small": {want: aCreation(func(w *NewVolume) { w.Range = Range{} }), reason: Exhausted},
		"more than a pool allows":                 {want: aCreation(func(w *NewVolume) { w.Range.Required, w.Requisite = 51, []map[string]string{inZone("b")} }), reason: OutOfRange},
		"more than there is":                      {want: aCreation(func(w *NewVolume) { w.Range.Required = 101 }), reason: Exhausted},
		"in a place that does not exist":          {want: aCreation(func(w *NewVolume) { w.Requisite = []map[string]string{inZone("x")} }), reason: Exhausted},
	} {
		t.Run(name, func(t *testing.T) {
			_, place, size, no := decideCreate(createFacts{want: c.want, sourceFound: c.found, sourceBytes: c.bytes, pools: pools(t)})
			if got := reasonOf(no); got != c.reason {
				t.Fatalf("refused with %q (%v), want %q", got, no, c.reason)
			}
			if c.reason == "" && (size != c.size || place.Key == "") {
				t.Errorf("got %d bytes in %q, want %d in some pool", size, place.Key, c.size)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	for name, c := range map[string]struct {
		r      Range
		free   int64
		limit  int64
		size   int64
		reason Reason
	}{
		"larger":                          {r: Range{Required: 15}, free: 5, size: 15},
		"as large as it is":               {r: Range{Required: 10}, size: 10},
		"smaller leaves it":               {r: Range{Required: 5}, size: 10},
		"a limit below its size":          {r: Range{Required: 5, Limit: 8}, reason: OutOfRange},
		"more than its pool has room for": {r: Range{Required: 16}, free: 5, reason: Exhausted},
		"more than its pool allows":       {r: Range{Required: 16}, free: 50, limit: 15, reason: OutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			p := pool.Status{Spec: pool.Spec{Size: 100, MaxVolumeSize: c.limit}, Used: 100 - c.free}
			size, no := decideExpand(aVolume(), c.r, p, true)
			if size != c.size || reasonOf(no) != c.reason {
				t.Errorf("got %d, %v; want %d, %q", size, no, c.size, c.reason)
			}
		})
	}
}

func TestPublish(t *testing.T) {
	on := func(node string, c Capability) func(*Volume) {
		return func(v *Volume) { v.Published = map[string]Publication{node: {Capability: c}} }
	}
	for name, c := range map[string]struct {
		volume  *Volume
		want    Publication
		has     int64
		already bool
		reason  Reason
	}{
		"first":                                {volume: aVolume(), want: Publication{Capability: writer}},
		"again":                                {volume: aVolume(on("n1", writer)), want: Publication{Capability: writer}, already: true},
		"again at the node's limit":            {volume: aVolume(on("n1", writer)), want: Publication{Capability: writer}, has: 2, already: true},
		"again in another way":                 {volume: aVolume(on("n1", writer)), want: Publication{Capability: writer, Readonly: true}, reason: Incompatible},
		"to a second node":                     {volume: aVolume(on("n2", writer)), want: Publication{Capability: writer}, reason: InUse},
		"to a second node for many":            {volume: aVolume(on("n2", multi)), want: Publication{Capability: multi}},
		"for many, while one has it to itself": {volume: aVolume(on("n2", writer)), want: Publication{Capability: multi}, reason: InUse},
		"as it was not created for":            {volume: aVolume(), want: Publication{Capability: block}, reason: Unsupported},
		"to a node that is full":               {volume: aVolume(), want: Publication{Capability: writer}, has: 2, reason: Exhausted},
	} {
		t.Run(name, func(t *testing.T) {
			already, no := decidePublish(c.volume, "n1", c.want, c.has, 2)
			if already != c.already || reasonOf(no) != c.reason {
				t.Errorf("got %v, %v; want %v, %q", already, no, c.already, c.reason)
			}
		})
	}
}

func reasonOf(no *Refusal) Reason {
	if no == nil {
		return ""
	}
	return no.Reason
}

func TestPartialModificationKeepsTheRest(t *testing.T) {
	s := open(t, t.TempDir())
	v := commit(t, s, aCreation(func(w *NewVolume) { w.MutableParameters = map[string]string{"iops": "1", "mbps": "2"} }))
	v, no, err := s.Modify(v.ID, map[string]string{"iops": "9"})
	if no != nil || err != nil {
		t.Fatal(no, err)
	}
	if diff := cmp.Diff(map[string]string{"iops": "9", "mbps": "2"}, v.MutableParameters); diff != "" {
		t.Errorf("mutable parameters (-want +got):\n%s", diff)
	}
}
