package provisioner

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/topology"
)

// listener is a Room that writes down what it is told, and believes that some segments have no room.
type listener struct {
	mu    sync.Mutex
	told  []string
	full  map[topology.Segment]bool
	rooms []topology.Room
}

func (l *listener) note(format string, arguments ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line := fmt.Sprintf(format, arguments...); len(l.told) == 0 || l.told[len(l.told)-1] != line { // saying it again changes nothing
		l.told = append(l.told, line)
	}
}

func (l *listener) Expect(_ types.UID, class string, segment topology.Segment, bytes int64) {
	l.note("expect %s %s %d", class, segment, bytes>>30)
}

func (l *listener) Fits(_ string, segment topology.Segment, _ int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.full[segment]
}

func (l *listener) ReserveIfFits(claim types.UID, class string, segment topology.Segment, bytes int64) bool {
	fits := l.Fits(class, segment, bytes)
	if fits {
		l.Reserve(claim, class, segment, bytes)
	}
	return fits
}

func (l *listener) Reserve(_ types.UID, class string, segment topology.Segment, bytes int64) {
	l.note("reserve %s %s %d", class, segment, bytes>>30)
}
func (l *listener) Created(_ types.UID, accessible []topology.Segment) {
	l.note("created %v", accessible)
}
func (l *listener) Released(types.UID) { l.note("released") }
func (l *listener) Exhausted(_ context.Context, class string, segment topology.Segment, bytes int64) {
	l.note("exhausted %s %s %d", class, segment, bytes>>30)
}
func (l *listener) Tell(_ context.Context, class string, segment topology.Segment) {
	l.note("tell %s %s", class, segment)
}
func (l *listener) Touched(accessible []topology.Segment) { l.note("touched %v", accessible) }
func (l *listener) Deleted(accessible []topology.Segment) { l.note("deleted %v", accessible) }
func (l *listener) Rooms(string) []topology.Room          { return l.rooms }

// madeIn is an answer of a driver that made the volume in a zone.
func madeIn(zone string) func(int, *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	return func(_ int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
		volume := asAsked(request)
		volume.AccessibleTopology = []*csipb.Topology{{Segments: map[string]string{"zone": zone}}}
		return volume, nil
	}
}

// asPreferred is an answer of a driver that makes volumes in the first preferred segment.
func asPreferred(nth int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	return madeIn(request.GetAccessibilityRequirements().GetPreferred()[0].GetSegments()["zone"])(nth, request)
}

func TestWhoPublishesCapacityHearsWhatBecomesOfTheRoom(t *testing.T) {
	inZone := func(pv *corev1.PersistentVolume) {
		pv.Spec.NodeAffinity = topology.NodeAffinity([]topology.Segment{zone("a")})
	}
	bound := func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeBound }
	refuses := func(code codes.Code) func(int, *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
		return func(int, *csipb.CreateVolumeRequest) (*csipb.Volume, error) { return nil, status.Error(code, "words") }
	}
	rooms := []topology.Room{{Segment: zone("a"), Free: 9 << 30, Largest: 9 << 30}, {Segment: zone("b"), Free: 2 << 30, Largest: 2 << 30}}
	for name, tt := range map[string]struct {
		objects []runtime.Object
		answer  func(int, *csipb.CreateVolumeRequest) (*csipb.Volume, error)
		full    string // zone
		rooms   []topology.Room
		then    func(*world) // a second later
		told    []string
		creates int
	}{
		"of a volume near the selected node": {
			objects: []runtime.Object{makeClaim(onNode("n1"))}, answer: madeIn("a"), creates: 1,
			told: []string{"expect fast zone=a 1", "reserve fast zone=a 1", "created [zone=a]", "released"},
		},
		"of one that the driver made elsewhere": {
			objects: []runtime.Object{makeClaim(onNode("n1"))}, answer: madeIn("b"), creates: 1,
			told: []string{"expect fast zone=a 1", "reserve fast zone=a 1", "created [zone=b]", "released"},
		},
		"of one that is accessible from everywhere": {
			objects: []runtime.Object{makeClaim(onNode("n1"))}, creates: 1,
			told: []string{"expect fast zone=a 1", "reserve fast zone=a 1", "created []", "released"},
		},
		"of one with Immediate binding": {
			objects: []runtime.Object{makeClaim()}, answer: asPreferred, rooms: rooms, creates: 1,
			told: []string{"reserve fast zone=a 1", "created [zone=a]", "released"},
		},
		"of a driver without room": {
			objects: []runtime.Object{makeClaim(onNode("n1"))}, answer: refuses(codes.ResourceExhausted), creates: 1,
			told: []string{"expect fast zone=a 1", "reserve fast zone=a 1", "exhausted fast zone=a 1", "released"},
		},
		"of an outcome that nobody knows": {
			objects: []runtime.Object{makeClaim(onNode("n1"))}, creates: 1,
			answer: func(nth int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
				if nth == 1 {
					return nil, status.Error(codes.Unavailable, "words")
				}
				return madeIn("a")(nth, request)
			},
			told: []string{"expect fast zone=a 1", "reserve fast zone=a 1"},
		},
		"of a volume that is expanded": {
			objects: []runtime.Object{makeVolume(inZone, bound)},
			then: func(w *world) {
				update(w, volumesResource, "", testVolume, func(pv *corev1.PersistentVolume) {
					pv.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}
				})
			},
			told: []string{"touched [zone=a]"},
		},
		"of a volume that is deleted": {
			objects: []runtime.Object{makeVolume(inZone)}, told: []string{"deleted [zone=a]"},
		},
		"of one without affinity that is deleted": {
			objects: []runtime.Object{makeVolume()}, told: []string{"deleted []"},
		},
		"of a claim whose node has no room left": {
			objects: []runtime.Object{makeClaim(onNode("n1"))}, full: "a",
			told: []string{"expect fast zone=a 1", "tell fast zone=a", "released"},
		},
		"of a claim that is sent there again": {
			objects: []runtime.Object{makeClaim(onNode("n1"))}, full: "a", answer: madeIn("a"), creates: 1,
			then: func(w *world) { update(w, claimsResource, "ns", "data", onNode("n1")) },
			told: []string{"expect fast zone=a 1", "tell fast zone=a", "released",
				"expect fast zone=a 1", "reserve fast zone=a 1", "created [zone=a]", "released"},
		},
		"of a claim that is sent to another node": {
			objects: []runtime.Object{makeClaim(onNode("n1"))}, full: "a", answer: madeIn("b"), creates: 1,
			then: func(w *world) { update(w, claimsResource, "ns", "data", onNode("n2")) },
			told: []string{"expect fast zone=a 1", "tell fast zone=a", "released",
				"expect fast zone=b 1", "reserve fast zone=b 1", "created [zone=b]", "released"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			told := &listener{full: map[topology.Segment]bool{}, rooms: tt.rooms}
			if tt.full != "" {
				told.full[zone(tt.full)] = true
			}
			inBubble(t, tt.objects, func(w *world) {
				index := topology.NewIndex()
				for node, zone := range map[string]string{"n1": "a", "n2": "b"} {
					index.SetNode(node, map[string]string{"zone": zone})
					index.SetRegistration(node, topology.NewKeySet([]string{"zone"}))
				}
				w.c.settings.Driver.Topology, w.c.config.Topology = true, index
				w.c.room, w.c.config.Room = told, told
				w.driver.answer = tt.answer
				if tt.rooms == nil { // with Immediate binding a claim that is given back is placed here
					update(w, storagev1.SchemeGroupVersion.WithResource("storageclasses"), "", "fast", waitForFirstConsumer)
				}
			}, func(w *world) {
				if tt.then != nil {
					tt.then(w)
					pass(time.Second)
				}
				if diff := cmp.Diff(tt.told, told.told[:min(len(tt.told), len(told.told))]); diff != "" {
					t.Errorf("told, of %q (-want +got):\n%s", told.told, diff)
				}
				if rest := told.told[min(len(tt.told), len(told.told)):]; name != "of an outcome that nobody knows" && slices.ContainsFunc(rest, func(line string) bool { return line != "released" }) {
					t.Errorf("told afterwards: %q", rest)
				}
				if creates := w.creates(); name != "of an outcome that nobody knows" && creates != tt.creates {
					t.Errorf("the driver was asked %d times, want %d", creates, tt.creates)
				}
			})
		})
	}
}

// Of claims with Immediate binding that come at once, each is placed with the ones before it in mind.
func TestAClaimIsPlacedAnewWhereTheRoomIsGone(t *testing.T) {
	told := &listener{
		full:  map[topology.Segment]bool{zone("a"): true}, // since the list of rooms was made
		rooms: []topology.Room{{Segment: zone("a"), Free: 9 << 30, Largest: 9 << 30}, {Segment: zone("b"), Free: 2 << 30, Largest: 2 << 30}},
	}
	fresh := []topology.Room{{Segment: zone("a")}, told.rooms[1]}
	inBubble(t, []runtime.Object{makeClaim()}, func(w *world) {
		index := topology.NewIndex()
		for node, zone := range map[string]string{"n1": "a", "n2": "b"} {
			index.SetNode(node, map[string]string{"zone": zone})
			index.SetRegistration(node, topology.NewKeySet([]string{"zone"}))
		}
		w.c.settings.Driver.Topology, w.c.config.Topology = true, index
		room := &refreshed{listener: told, fresh: fresh}
		w.c.room, w.c.config.Room = room, room
		w.driver.answer = asPreferred
	}, func(w *world) {
		if diff := cmp.Diff([]string{"released", "reserve fast zone=b 1", "created [zone=b]", "released"}, told.told); diff != "" || w.creates() != 1 {
			t.Errorf("the driver was asked %d times; told (-want +got):\n%s", w.creates(), diff)
		}
	})
}

// refreshed is a listener that knows better rooms when somebody was turned down.
type refreshed struct {
	*listener

	fresh []topology.Room
}

func (r *refreshed) ReserveIfFits(claim types.UID, class string, segment topology.Segment, bytes int64) bool {
	fits := r.listener.ReserveIfFits(claim, class, segment, bytes)
	if !fits {
		r.rooms = r.fresh
	}
	return fits
}

func TestAClaimIsTurnedDownOnceInASegment(t *testing.T) {
	now := time.Unix(0, 0)
	turned := newTurned()
	turned.now = func() time.Time { return now }
	want := func(step string, claim types.UID, where string, may bool) {
		t.Helper()
		if got := turned.may(claim, zone(where)); got != may {
			t.Errorf("%s: may be turned down in %s: %v, want %v", step, where, got, may)
		}
	}
	want("at first", "one", "a", true)
	turned.note("one", zone("a"))
	want("the same again", "one", "a", false)
	want("elsewhere", "one", "b", true)
	want("another claim", "two", "a", true)
	for i := range turnedOften {
		turned.note("one", zone(fmt.Sprint(i)))
	}
	want("often enough", "one", "b", false)
	now = now.Add(turnedFor + 1)
	want("some time later", "one", "a", true)
	turned.note("one", zone("a"))
	want("that begins anew", "one", "b", true)
	turned.forget("one")
	want("the claim is gone", "one", "a", true)
	if len(turned.byClaim) != 0 {
		t.Errorf("left are %v", turned.byClaim)
	}
}
