package webhook

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/topology"
)

// sketchRooms is a class's rooms in a line, in GiB.
func sketchRooms(rooms []topology.Room) string {
	line := ""
	for _, room := range rooms {
		line += fmt.Sprintf("%s:%d/%d ", room.Segment, room.Free>>30, room.Largest>>30)
	}
	return line
}

func TestRoomIndex(t *testing.T) {
	upTo := func(capacity *storagev1.CSIStorageCapacity, gib int64) *storagev1.CSIStorageCapacity {
		capacity.MaximumVolumeSize = resource.NewQuantity(gib<<30, resource.BinarySI)
		return capacity
	}
	changed := func(change func(*storagev1.CSIStorageCapacity)) *storagev1.CSIStorageCapacity {
		capacity := published("fast", "a", 1)
		change(capacity)
		return capacity
	}
	twin := published("fast", "a", 2)
	twin.Name = "twin"
	tests := map[string]struct {
		events func(*RoomIndex)
		want   string
	}{
		"nothing": {func(*RoomIndex) {}, ""},
		"in order of segments": {func(x *RoomIndex) {
			x.replace(nil, published("fast", "b", 1))
			x.replace(nil, published("fast", "a", 2))
			x.replace(nil, published("slow", "c", 3))
		}, "zone=a:2/2 zone=b:1/1 "},
		"with the largest volume": {func(x *RoomIndex) { x.replace(nil, upTo(published("fast", "a", 9), 3)) }, "zone=a:9/3 "},
		"which alone will do":     {func(x *RoomIndex) { c := upTo(published("fast", "a", 9), 3); c.Capacity = nil; x.replace(nil, c) }, "zone=a:3/3 "},
		"nothing told is no room": {func(x *RoomIndex) {
			x.replace(nil, changed(func(c *storagev1.CSIStorageCapacity) { c.Capacity = nil }))
		}, "zone=a:0/-1 "},
		"an update": {func(x *RoomIndex) {
			x.replace(nil, published("fast", "a", 1))
			x.replace(published("fast", "a", 1), published("fast", "a", 5))
		}, "zone=a:5/5 "},
		"an update seen late": {func(x *RoomIndex) { x.replace(published("fast", "a", 1), published("fast", "a", 5)) }, "zone=a:5/5 "},
		"a deletion": {func(x *RoomIndex) {
			x.replace(nil, published("fast", "a", 1))
			x.replace(published("fast", "a", 1), nil)
		}, ""},
		"a deletion heard of late": {func(x *RoomIndex) {
			x.replace(nil, published("fast", "a", 1))
			x.replace(cache.DeletedFinalStateUnknown{Obj: published("fast", "a", 1)}, nil)
		}, ""},
		"a deletion of nothing": {func(x *RoomIndex) { x.replace(published("fast", "a", 1), nil) }, ""},
		"two objects, the least counts": {func(x *RoomIndex) {
			x.replace(nil, published("fast", "a", 5))
			x.replace(nil, twin)
		}, "zone=a:2/2 "},
		"two objects, one goes": {func(x *RoomIndex) {
			x.replace(nil, published("fast", "a", 5))
			x.replace(nil, twin)
			x.replace(twin, nil)
		}, "zone=a:5/5 "},
		"an object that moves": {func(x *RoomIndex) {
			x.replace(nil, published("fast", "a", 5))
			moved := published("fast", "b", 5)
			moved.Name = "fast-a"
			x.replace(published("fast", "a", 5), moved)
		}, "zone=b:5/5 "},
		"accessible from nowhere": {func(x *RoomIndex) {
			x.replace(nil, changed(func(c *storagev1.CSIStorageCapacity) { c.NodeTopology = nil }))
		}, ""},
		"accessible from everywhere": {func(x *RoomIndex) {
			x.replace(nil, changed(func(c *storagev1.CSIStorageCapacity) { c.NodeTopology.MatchLabels = nil }))
		}, ""},
		"where in more words": {func(x *RoomIndex) {
			x.replace(nil, changed(func(c *storagev1.CSIStorageCapacity) {
				c.NodeTopology.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "x", Operator: metav1.LabelSelectorOpExists}}
			}))
		}, ""},
		"something else": {func(x *RoomIndex) { x.replace(nil, makeClass()) }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x := &RoomIndex{classes: map[string]*classRooms{}}
			tt.events(x)
			if diff := cmp.Diff(tt.want, sketchRooms(x.Rooms("fast"))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRoomIndexForgetsClasses(t *testing.T) {
	x := &RoomIndex{classes: map[string]*classRooms{}}
	for i := range 10 {
		class := fmt.Sprintf("class-%d", i)
		x.replace(nil, published(class, "a", 1))
		x.replace(published(class, "a", 1), nil)
	}
	if len(x.classes) != 0 {
		t.Errorf("%d classes are left", len(x.classes))
	}
}

// TestRoomListsStayAsTheyWereRead compares lists that were read with what they said then, while the index goes on.
func TestRoomListsStayAsTheyWereRead(t *testing.T) {
	x := &RoomIndex{classes: map[string]*classRooms{}}
	random := rand.New(rand.NewPCG(1, 2))
	now := map[string]*storagev1.CSIStorageCapacity{}
	type reading struct{ list, copied []topology.Room }
	var readings []reading
	for range 2000 {
		name := string(rune('a' + random.IntN(20)))
		before := now[name]
		if after := published("fast", name, random.Int64N(4)); random.IntN(4) > 0 {
			x.replace(orNil(before), after)
			now[name] = after
		} else if before != nil {
			x.replace(before, nil)
			delete(now, name)
		}
		if random.IntN(3) == 0 {
			list := x.Rooms("fast")
			readings = append(readings, reading{list, slices.Clone(list)})
		}
		want := map[topology.Segment]int64{}
		for _, capacity := range now {
			want[topology.NewSegment(capacity.NodeTopology.MatchLabels)] = capacity.Capacity.Value()
		}
		got := map[topology.Segment]int64{}
		list := []topology.Room(nil)
		if rooms := x.classes["fast"]; rooms != nil {
			list = rooms.list
		}
		for _, room := range list {
			got[room.Segment] = room.Free
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(topology.Segment{})); diff != "" {
			t.Fatal(diff)
		}
		if !slices.IsSortedFunc(list, func(a, b topology.Room) int { return a.Segment.Compare(b.Segment) }) {
			t.Fatal("out of order")
		}
	}
	for _, reading := range readings {
		if !slices.Equal(reading.list, reading.copied) {
			t.Fatalf("a list that was read changed from %s to %s", sketchRooms(reading.copied), sketchRooms(reading.list))
		}
	}
}

func orNil(capacity *storagev1.CSIStorageCapacity) any {
	if capacity == nil {
		return nil
	}
	return capacity
}

// TestCachesFollowInformers runs the indexes on real informers.
func TestCachesFollowInformers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reserved := makeVolume(claimedBy("data", ""))
		reserved.Name = "reserved"
		bound := makeVolume(claimedBy("other", "uid"), inPhase(corev1.VolumeBound))
		bound.Name = "bound"
		client := fake.NewClientset(makeVolume(), reserved, bound, published("fast", "a", 3))
		factory := informers.NewSharedInformerFactory(client, 0)
		volumes, err := NewVolumeIndex(factory.Core().V1().PersistentVolumes().Informer())
		if err != nil {
			t.Fatal(err)
		}
		rooms, err := NewRoomIndex(factory.Storage().V1().CSIStorageCapacities().Informer())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		factory.StartWithContext(ctx)
		defer factory.Shutdown()
		defer cancel()
		synctest.Wait()

		if got := volumes.Unclaimed("fast"); len(got) != 1 || got[0].Name != "pv" {
			t.Errorf("unclaimed: %v", got)
		}
		if got := volumes.ReservedFor(objectName("ns", "data")); len(got) != 1 || got[0].Name != "reserved" {
			t.Errorf("reserved: %v", got)
		}
		if volumes.Get("bound") == nil || volumes.Get("none") != nil || volumes.Unclaimed("") != nil {
			t.Error("wrong volumes")
		}
		capacities := client.StorageV1().CSIStorageCapacities("berth")
		for _, gib := range []int64{7, 2} {
			if _, err := capacities.Update(ctx, published("fast", "a", gib), metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got, want := sketchRooms(rooms.Rooms("fast")), fmt.Sprintf("zone=a:%d/%d ", gib, gib); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if err := capacities.Delete(ctx, "fast-a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := rooms.Rooms("fast"); got != nil {
			t.Errorf("left: %s", sketchRooms(got))
		}
		if _, err := NewVolumeIndex(factory.Core().V1().PersistentVolumes().Informer()); err != nil {
			t.Errorf("an informer that others have indexed: %v", err)
		}
	})
}

func TestHintsFollowTheSource(t *testing.T) {
	source, volume := makeSource()
	snapshot, content := makeSnapshot(filesystem)
	statically, _ := makeSnapshot(filesystem)
	statically.Spec.Source = snapshotv1.VolumeSnapshotSource{VolumeSnapshotContentName: new("content")}
	stolen := volume.DeepCopy()
	stolen.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "secret", Name: "plan"}
	foreign := volume.DeepCopy()
	foreign.Spec.CSI.Driver = "other.example"
	pending := makeClaim(called("source"))
	capacity := published("fast", "a", 100)
	tests := map[string]struct {
		objects []any
		claim   *corev1.PersistentVolumeClaim
		change  func(*Lookups)
		want    string
	}{
		"a plain claim by room":                 {[]any{capacity}, makeClaim(), nil, "v1;zone=a"},
		"a plain claim, and no rooms":           {[]any{capacity}, makeClaim(), func(l *Lookups) { l.Rooms = nil }, ""},
		"a clone":                               {[]any{capacity, source, volume}, makeClaim(fromClaim), nil, "v1;zone=b"},
		"a clone of what is not there":          {[]any{capacity}, makeClaim(fromClaim), nil, ""},
		"a clone of what has no volume":         {[]any{capacity, pending}, makeClaim(fromClaim), nil, ""},
		"a clone of a volume not heard of":      {[]any{capacity, source}, makeClaim(fromClaim), nil, ""},
		"a clone of somebody else's":            {[]any{capacity, source, stolen}, makeClaim(fromClaim), nil, ""},
		"a clone of another driver's":           {[]any{capacity, source, foreign}, makeClaim(fromClaim), nil, ""},
		"a restore":                             {[]any{capacity, source, volume, snapshot, content}, makeClaim(fromSnapshot), nil, "v1;zone=b"},
		"a restore of what is not there":        {[]any{capacity, source, volume}, makeClaim(fromSnapshot), nil, ""},
		"a restore of one without a source":     {[]any{capacity, source, volume, statically, content}, makeClaim(fromSnapshot), nil, ""},
		"a restore, and snapshots aren't known": {[]any{capacity, source, volume}, makeClaim(fromSnapshot), func(l *Lookups) { l.Snapshots = nil }, ""},
		"a restore from another namespace":      {[]any{capacity, source, volume, snapshot, content}, makeClaim(fromFarSnapshot), nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			lookups := cached(t, append(tt.objects, makeClass())...)
			if tt.change != nil {
				tt.change(&lookups)
			}
			facts := MutateFacts{Driver: testDriver, Topology: true, CrossNamespace: true, Class: makeClass()}
			lookups.place(tt.claim, &facts)
			result, _ := Mutate(tt.claim, facts).(Admit)
			hint := ""
			for _, change := range result.Changes {
				if change.Key == keyHint {
					hint = change.Value
				}
			}
			if hint != tt.want {
				t.Errorf("got %q, want %q", hint, tt.want)
			}
		})
	}
}

func TestNothingIsLookedUpForOtherDriversClaims(t *testing.T) {
	lookups := Lookups{} // any look-up panics
	lookups.place(makeClaim(), &MutateFacts{Driver: testDriver})
	lookups.place(makeClaim(), &MutateFacts{Driver: testDriver, Class: makeClass(classOf("other.example"))})
	if facts := lookups.cached(t.Context(), datasource.Reference{}); facts == nil {
		t.Error("no source takes no look-up")
	}
}
