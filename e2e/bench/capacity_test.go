package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestPublished(t *testing.T) {
	const key = "zone"
	object := func(name, class, zone, size string) *storagev1.CSIStorageCapacity {
		return &storagev1.CSIStorageCapacity{
			ObjectMeta: metav1.ObjectMeta{Name: name}, StorageClassName: class,
			NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{key: zone}},
			Capacity:     new(resource.MustParse(size)),
		}
	}
	type step struct {
		kind   watch.EventType
		object *storagev1.CSIStorageCapacity
	}
	tests := map[string]struct {
		steps          []step
		right, tooMany int
		complete       bool
		last           int // the step at which the last object came to be right
	}{
		"nothing": {},
		"all there is to say": {
			steps: []step{{watch.Added, object("1", "fast", "a", "1Gi")}, {watch.Added, object("2", "fast", "b", "2Gi")}},
			right: 2, complete: true, last: 1,
		},
		"a wrong figure that is put right": {
			steps: []step{{watch.Added, object("1", "fast", "a", "5Gi")}, {watch.Added, object("2", "fast", "b", "2Gi")}, {watch.Modified, object("1", "fast", "a", "1Gi")}},
			right: 2, complete: true, last: 2,
		},
		"a right figure that goes wrong": {
			steps: []step{{watch.Added, object("1", "fast", "a", "1Gi")}, {watch.Added, object("2", "fast", "b", "2Gi")}, {watch.Modified, object("2", "fast", "b", "3Gi")}},
			right: 1, tooMany: 1, last: 1,
		},
		"the same twice": {
			steps: []step{{watch.Added, object("1", "fast", "a", "1Gi")}, {watch.Added, object("2", "fast", "a", "1Gi")}},
			right: 1, tooMany: 1, last: 1,
		},
		"twice, and one of them deleted": {
			steps: []step{{watch.Added, object("1", "fast", "a", "1Gi")}, {watch.Added, object("2", "fast", "a", "1Gi")},
				{watch.Added, object("3", "fast", "b", "2Gi")}, {watch.Deleted, object("2", "fast", "a", "1Gi")}},
			right: 2, complete: true, last: 2,
		},
		"of another class": {
			steps: []step{{watch.Added, object("1", "slow", "a", "1Gi")}}, tooMany: 1,
		},
		"without a place": {
			steps: []step{{watch.Added, &storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Name: "1"}, StorageClassName: "fast"}}}, tooMany: 1,
		},
	}
	start := time.Unix(1000, 0)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPublished(key, map[place]int64{{"fast", "a"}: 1 << 30, {"fast", "b"}: 2 << 30})
			p.last = start
			for i, step := range tc.steps {
				p.observe(watch.Event{Type: step.kind, Object: step.object}, start.Add(time.Duration(i)*time.Second))
			}
			right, tooMany := p.count()
			if right != tc.right || tooMany != tc.tooMany || p.complete() != tc.complete || p.since(start) != time.Duration(tc.last)*time.Second {
				t.Errorf("%d right, %d too many, complete: %v, the last after %s", right, tooMany, p.complete(), p.since(start))
			}
		})
	}
}

func TestPublishedReadings(t *testing.T) {
	counts := func(right, tooMany float64) []reading {
		return []reading{{"published", unitObjects, right}, {"published_too_many", unitObjects, tooMany}}
	}
	tests := map[string]struct {
		publication
		want []reading
	}{
		"all is measured": {
			publication{right: 100, keys: 100, all: true, took: 7 * time.Second, waited: 8 * time.Second},
			append(counts(100, 0), reading{"all_published_seconds", unitSeconds, 7}),
		},
		"a part is estimated, under another name": {
			publication{right: 25, tooMany: 1, keys: 100, took: 59 * time.Second, waited: time.Minute},
			append(counts(25, 1), reading{"all_published_estimate_seconds", unitSeconds, 240}),
		},
		"nothing gives no estimate": {publication{keys: 100, waited: time.Minute}, counts(0, 0)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, publishedReadings(tc.publication), cmp.AllowUnexported(reading{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestQueueDepth(t *testing.T) {
	const metrics = `# TYPE workqueue_depth gauge
workqueue_depth{name="claims"} 3
workqueue_depth{name="csistoragecapacity-objects"} 5
workqueue_depth{name="csistoragecapacity"} 1.097e+04
`
	for queue, want := range map[string]float64{"claims": 3, capacityQueue: 10970, "unknown": -1} {
		if got := queueDepth(metrics, queue); got != want {
			t.Errorf("%s: %v, want %v", queue, got, want)
		}
	}
}

func TestCapacityWrites(t *testing.T) {
	requests := []harness.RequestCount{
		{UserAgent: berthUserAgent, Verb: "create", Resource: capacityResource, Code: 201, Count: 5},
		{UserAgent: berthUserAgent, Verb: "update", Resource: capacityResource, Code: 409, Count: 2},
		{UserAgent: berthUserAgent, Verb: "list", Resource: capacityResource, Code: 200, Count: 9},
		{UserAgent: berthUserAgent, Verb: "create", Resource: "events", Code: 201, Count: 9},
		{UserAgent: peerUserAgent, Verb: "create", Resource: capacityResource, Code: 201, Count: 9},
	}
	if got := capacityWrites(requests, berthUserAgent); got != 7 {
		t.Errorf("%d writes, want 7", got)
	}
}

func TestExhausted(t *testing.T) {
	start := time.Unix(1000, 0)
	calls := []harness.Call{
		{Time: start.Add(-1), Code: "ResourceExhausted"}, {Time: start, Code: "ResourceExhausted"},
		{Time: start.Add(1), Code: "OK"}, {Time: start.Add(1), Code: "ResourceExhausted"},
	}
	if got := exhausted(calls, start); got != 2 {
		t.Errorf("%d answers, want 2", got)
	}
}

func TestVolumesJustFit(t *testing.T) {
	for volumes := len(zones); volumes < 40; volumes++ {
		rooms := shares(volumes, len(zones))
		if total, least := sum(rooms), slices.Min(rooms); total != volumes || slices.Max(rooms) > least+1 {
			t.Errorf("%d volumes: room for %v", volumes, rooms)
		}
	}
	for claims := minPlacements; claims < 300; claims++ {
		rooms := placementRooms(claims)
		if total := sum(rooms); total < claims || total > claims+claims/20+len(rooms) || slices.Min(rooms) < 1 {
			t.Errorf("%d claims: room for %d in %v", claims, total, rooms)
		}
	}
}

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}

func TestGroupsAboutCapacityArePlannedForWhoPublishesIt(t *testing.T) {
	o := defaultOptions()
	o.Scenarios, o.Subjects, o.Rounds = []string{"capacity-polls", "burst"}, []string{subjectBerth, subjectFloor}, 2
	var got []string
	for _, task := range plan(o) {
		got = append(got, task.String())
	}
	want := []string{"round 1, berth: capacity-polls, driver latency 0s", "round 1, berth: burst, driver latency 0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
