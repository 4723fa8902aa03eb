package capacity

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

// want compares what is published.
func (w *world) want(step string, want map[string]string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.published()); diff != "" {
		w.t.Errorf("%s: published (-want +got):\n%s", step, diff)
	}
}

// metric is the value of a gauge or counter, with its label's value if it has one.
func (w *world) metric(name, label string) float64 {
	w.t.Helper()
	return metricOf(w.t, w.registry, name, label)
}

func metricOf(t *testing.T, registry *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && (label == "" || metric.GetLabel()[0].GetValue() == label) {
				if family.GetType() == dto.MetricType_COUNTER {
					return metric.GetCounter().GetValue()
				}
				return metric.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func TestClassesWithTheSameParametersShareAQuestion(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.class(storageClass("slow"))
		w.class(storageClass("gold", func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"tier": "gold"} }))
		w.after(time.Second)
		w.want("three classes", map[string]string{"fast in a": "10", "slow in a": "10", "gold in a": "10"})
		if diff := cmp.Diff(map[Pool]int{{"{}", zone("a")}: 1, {`{"tier":"gold"}`, zone("a")}: 1}, w.driver.calls()); diff != "" {
			t.Errorf("questions (-want +got):\n%s", diff)
		}
	})
}

func TestWhatChangesInASegmentIsAskedForOnceAndSoon(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, where := range zoneNames {
			w.node(where, where)
		}
		w.class(storageClass("fast"))
		w.after(time.Second)
		before := w.driver.calls()
		w.driver.says(Pool{"{}", zone("b")}, free(5))
		for range 20 {
			w.controller.Touched([]topology.Segment{zone("b")})
			time.Sleep(10 * time.Millisecond)
		}
		w.after(400 * time.Millisecond)
		w.want("less than a second later", map[string]string{"fast in a": "10", "fast in b": "5", "fast in c": "10"})
		after := w.driver.calls()
		for _, where := range zoneNames {
			pool := Pool{"{}", zone(where)}
			asked, want := after[pool]-before[pool], 0
			if where == "b" {
				want = 1
			}
			if asked != want {
				t.Errorf("the driver was asked %d times about zone %s, want %d", asked, where, want)
			}
		}
	}, func(c *Config) { c.PollInterval = time.Hour })
}

func TestWhatHappensWhileTheDriverAnswersIsAskedForAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(time.Second)
		pool := Pool{"{}", zone("a")}
		w.controller.Touched([]topology.Segment{zone("a")})
		time.Sleep(coalesce + 5*time.Millisecond) // it is answering
		w.driver.says(pool, free(3))
		w.controller.Touched([]topology.Segment{zone("a")})
		w.after(time.Second)
		w.want("in the end", map[string]string{"fast in a": "3"})
		if asked := w.driver.calls()[pool]; asked != 3 {
			t.Errorf("the driver was asked %d times, want 3", asked)
		}
	}, func(c *Config) { c.PollInterval = time.Hour })
}

func TestRoomIsHeldBackWhileAVolumeIsMade(t *testing.T) {
	for _, on := range []bool{true, false} {
		inWorld(t, func(w *world) {
			w.node("n", "a")
			w.class(storageClass("fast"))
			w.class(storageClass("slow"))
			w.after(time.Second)
			w.controller.Reserve("claim", "fast", zone("a"), 4*gi)
			w.after(time.Second)
			held, during := "6", 4*gi
			if !on {
				held, during = "10", 0
			}
			w.want("the driver is at it", map[string]string{"fast in a": held, "slow in a": held})
			if got := w.metric("berth_capacity_reserved_bytes", ""); got != float64(during) {
				t.Errorf("reserved are %v bytes, want %v", got, during)
			}
			w.driver.says(Pool{"{}", zone("a")}, free(6))
			w.controller.Created("claim", []topology.Segment{zone("a")})
			w.controller.Released("claim")
			w.after(time.Second)
			w.want("the volume is there", map[string]string{"fast in a": "6", "slow in a": "6"})
			if got := w.metric("berth_capacity_reserved_bytes", ""); got != 0 {
				t.Errorf("reserved are still %v bytes", got)
			}
			writes := 4 // two objects, and a decrease of each: what is reported in the end was published in advance
			if got := w.server.counted(); got != writes {
				t.Errorf("%d writes, want %d", got, writes)
			}
			w.driver.says(Pool{"{}", zone("a")}, free(10))
			w.controller.Deleted([]topology.Segment{zone("a")})
			w.after(coalesce + 50*time.Millisecond)
			w.want("it is deleted", map[string]string{"fast in a": "10", "slow in a": "10"})
		}, func(c *Config) { c.PollInterval, c.Reservations = time.Hour, on })
	}
}

// A burst of Pods: the scheduler selects a node for twelve volumes where ten fit. That it is full is published at once, and only ten may ask the driver.
func TestOnlyAsManyAskTheDriverAsFit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(time.Second)
		before := w.server.counted()
		for i := range 12 {
			w.controller.Expect(types.UID(fmt.Sprint(i)), "fast", zone("a"), gi)
		}
		w.after(50 * time.Millisecond)
		w.want("nodes were selected", map[string]string{"fast in a": "0"})
		if got := w.server.counted() - before; got > 2 {
			t.Errorf("%d writes about that, want one when the last fits and perhaps one before", got)
		}
		var asking sync.WaitGroup
		var may atomic.Int32
		for i := range 12 {
			asking.Go(func() {
				if w.controller.ReserveIfFits(types.UID(fmt.Sprint(i)), "fast", zone("a"), gi) {
					may.Add(1)
				}
			})
		}
		asking.Wait()
		if may.Load() != 10 || w.controller.Fits("fast", zone("a"), gi) {
			t.Errorf("%d of 12 may ask the driver, want 10, and no more after them", may.Load())
		}
		if !w.controller.Fits("fast", zone("b"), gi) || !w.controller.ReserveIfFits("else", "unknown", zone("a"), gi) {
			t.Error("where nothing is known everybody may ask the driver")
		}
		for i := range 12 {
			w.controller.Released(types.UID(fmt.Sprint(i)))
		}
		w.after(time.Second)
		w.want("nothing came of it", map[string]string{"fast in a": "10"})
		if got := w.metric("berth_capacity_reserved_bytes", ""); got != 0 {
			t.Errorf("reserved are still %v bytes", got)
		}
	}, func(c *Config) { c.PollInterval, c.Reservations = time.Hour, true })
}

func TestWhatIsToldIsPublishedBeforeTellReturns(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(time.Second)
		w.controller.Reserve("claim", "fast", zone("a"), 4*gi)
		began := time.Now()
		w.controller.Tell(w.t.Context(), "fast", zone("a"))
		w.want("at once", map[string]string{"fast in a": "6"})
		if waited := time.Since(began); waited >= soon {
			t.Errorf("that took %s", waited)
		}
		w.controller.Tell(w.t.Context(), "fast", zone("a"))
		w.controller.Tell(w.t.Context(), "fast", zone("nowhere"))
		if waited := time.Since(began); waited >= soon {
			t.Errorf("where there is nothing to say it took %s", waited)
		}
	}, func(c *Config) { c.PollInterval, c.Reservations = time.Hour, true })
}

func TestADriverThatIsBusyIsAskedWhenItIsDone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(time.Second)
		pool := Pool{"{}", zone("a")}
		w.controller.Reserve("one", "fast", zone("a"), gi)
		w.controller.Reserve("two", "fast", zone("a"), gi)
		w.controller.Created("one", []topology.Segment{zone("a")})
		w.after(time.Second)
		if asked := w.driver.calls()[pool]; asked != 1 {
			t.Errorf("asked %d times although a call is under way", asked)
		}
		w.controller.Released("two")
		w.after(20 * time.Millisecond)
		if asked := w.driver.calls()[pool]; asked != 2 {
			t.Errorf("asked %d times, want it as soon as the last call is over", asked)
		}
	}, func(c *Config) { c.PollInterval = time.Hour })
}

func TestThatThereIsNoRoomIsPublishedBeforeExhaustedReturns(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.class(storageClass("slow"))
		w.after(time.Second)
		w.controller.Reserve("claim", "fast", zone("a"), 4*gi)
		w.controller.Exhausted(w.t.Context(), "fast", zone("a"), 4*gi)
		if got := w.published()["fast in a"]; got != "6/3" { // a byte less than four, and what is reserved
			t.Errorf("published is %s when the claim goes back to the scheduler", got)
		}
		w.controller.Released("claim")
		w.after(time.Second)
		w.want("the driver goes on reporting what is not there", map[string]string{"fast in a": "10/3", "slow in a": "10/3"})
		if got := w.metric("berth_capacity_publishes_total", ReasonExhausted); got != 2 {
			t.Errorf("%v publishes because of that, want one a class", got)
		}
		w.after(markFirst)
		w.want("that is over some time", map[string]string{"fast in a": "10", "slow in a": "10"})
	})
}

func TestNobodyWaitsForAnAPIServerThatIsAway(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(time.Second)
		w.server.setFault(func(string) (error, error) { return fmt.Errorf("away"), nil })
		began := time.Now()
		w.controller.Exhausted(w.t.Context(), "fast", zone("a"), gi)
		w.controller.Exhausted(w.t.Context(), "unknown", zone("a"), gi)
		w.controller.Exhausted(w.t.Context(), "fast", zone("unknown"), gi)
		if took := time.Since(began); took > exhaustedWait {
			t.Errorf("that took %s", took)
		}
		if len(w.controller.waiters.byKey) != 0 {
			t.Error("somebody is waiting still")
		}
	})
}

func TestADriverThatFailsLeavesWhatItSaidAndGetsOld(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(time.Second)
		pool := Pool{"{}", zone("a")}
		w.driver.failing(pool, true)
		w.driver.says(pool, free(3))
		w.after(5 * time.Minute)
		w.want("as it was", map[string]string{"fast in a": "10"})
		if age := w.metric("berth_capacity_staleness_seconds", ""); age < 280 || age > 301 {
			t.Errorf("it is %v seconds old", age)
		}
		if asked := w.driver.calls()[pool]; asked < 25 || asked > 40 {
			t.Errorf("the driver was asked %d times in five minutes, want a growing wait up to 10s between two", asked)
		}
		w.driver.failing(pool, false)
		w.controller.DriverIsBack()
		w.after(time.Second)
		w.want("it is back", map[string]string{"fast in a": "3"})
		if age := w.metric("berth_capacity_staleness_seconds", ""); age > 1 {
			t.Errorf("it is %v seconds old", age)
		}
	})
}

func TestASegmentMayGoForAMoment(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(time.Second)
		writes := w.server.counted()
		for range 5 { // its plugin is being restarted
			w.places.DeleteRegistration("n")
			w.after(10 * time.Second)
			w.node("n", "a")
			w.after(10 * time.Second)
		}
		if got := w.server.counted() - writes; got != 0 {
			t.Errorf("%d writes for a segment that came again", got)
		}
		w.node("n", "b")
		w.after(grace + time.Second)
		w.want("it moved", map[string]string{"fast in b": "10"})
	})
}

func TestAClassThatIsSwitched(t *testing.T) {
	immediate := func(c *storagev1.StorageClass) { c.VolumeBindingMode = new(storagev1.VolumeBindingImmediate) }
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(time.Second)
		w.class(storageClass("fast", immediate))
		w.after(time.Second)
		w.want("to Immediate", map[string]string{})
		w.class(storageClass("fast"))
		w.after(time.Second)
		w.want("and back", map[string]string{"fast in a": "10"})
		w.class(storageClass("fast", func(c *storagev1.StorageClass) { c.Provisioner = "another" }))
		w.after(time.Second)
		w.want("to another driver", map[string]string{})
		if asked := len(w.controller.book.pools); asked != 0 {
			t.Errorf("%d pools are asked about still", asked)
		}
	})
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast", immediate))
		w.after(time.Second)
		w.want("with the flag", map[string]string{"fast in a": "10"})
	}, func(c *Config) { c.Immediate = true })
}

func TestADriverWithoutTopologyHasOneObjectAClass(t *testing.T) {
	inWorld(t, func(w *world) {
		w.class(storageClass("fast"))
		w.after(time.Second)
		w.controller.Reserve("claim", "fast", topology.Segment{}, 4*gi)
		w.after(time.Second)
		w.want("for all nodes", map[string]string{"fast in ": "6"})
		w.driver.says(Pool{"{}", topology.Segment{}}, free(5))
		w.controller.Created("claim", nil)
		w.after(time.Second)
		w.want("after the volume", map[string]string{"fast in ": "5"})
	}, func(c *Config) { c.Places, c.PollInterval = nil, time.Hour })
}

func TestOwnersAreWaitedFor(t *testing.T) {
	tries := 0
	inWorld(t, func(w *world) {
		w.node("n", "a")
		w.class(storageClass("fast"))
		w.after(2*ownerPause - time.Second)
		w.want("before", map[string]string{})
		w.after(2 * time.Second)
		for _, object := range w.server.all() {
			if len(object.OwnerReferences) != 1 || object.OwnerReferences[0].UID != us.UID {
				t.Errorf("owners are %v", object.OwnerReferences)
			}
		}
		w.want("after", map[string]string{"fast in a": "10"})
	}, func(c *Config) {
		c.Owner = func(context.Context) (*metav1.OwnerReference, error) {
			if tries++; tries < 3 {
				return nil, fmt.Errorf("not yet")
			}
			return &us, nil
		}
	})
}

// TestTheNextLeaderGoesOn: what a leader published is as good as the next one's own.
func TestTheNextLeaderGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, where := range zoneNames {
			w.node(where, where)
		}
		w.class(storageClass("fast"))
		w.start()
		w.after(time.Second)
		w.stop()
		writes := w.server.counted()
		w.places, w.registry = topology.NewIndex(), prometheus.NewRegistry()
		w.make()
		for _, where := range zoneNames {
			w.node(where, where)
		}
		w.start()
		defer w.stop()
		w.after(time.Minute)
		if got := w.server.counted() - writes; got != 0 {
			t.Errorf("%d writes by the next leader", got)
		}
		w.want("by the next leader", map[string]string{"fast in a": "10", "fast in b": "10", "fast in c": "10"})
	})
}

func TestRooms(t *testing.T) {
	inWorld(t, func(w *world) {
		w.node("n1", "a")
		w.node("n2", "b")
		w.class(storageClass("fast"))
		w.class(storageClass("now", func(c *storagev1.StorageClass) { c.VolumeBindingMode = new(storagev1.VolumeBindingImmediate) }))
		w.after(time.Second)
		w.controller.Reserve("claim", "fast", zone("b"), 4*gi)
		w.after(time.Second)
		want := []topology.Room{{Segment: zone("a"), Free: 10 * gi, Largest: 10 * gi}, {Segment: zone("b"), Free: 6 * gi, Largest: 6 * gi}}
		for _, class := range []string{"fast", "now"} { // which has no objects, and the same pools
			if diff := cmp.Diff(want, w.controller.Rooms(class), cmp.Comparer(func(a, b topology.Segment) bool { return a == b })); diff != "" {
				t.Errorf("%s (-want +got):\n%s", class, diff)
			}
		}
		if got := w.controller.Rooms("unknown"); got != nil {
			t.Errorf("an unknown class has %v", got)
		}
	}, func(c *Config) { c.PollInterval = time.Hour })
}

// TestMetricsOfManyObjects reads them with ten thousand objects. Nothing is counted then, so that it takes next to nothing.
const manySegments, manyClasses = 2500, 4

// manyObjects is a book of 10,000 objects that are as they should be, and its metrics.
func manyObjects(registry *prometheus.Registry) *book {
	there := map[topology.Segment]bool{}
	b := newBook("d", func(class map[string]string) map[string]string { return class }, func(s topology.Segment) bool { return there[s] })
	newMetrics(registry, b)
	for i := range manyClasses {
		b.setClass(storageClass(fmt.Sprint("class-", i)))
	}
	for i := range manySegments {
		segment := zone(fmt.Sprint(i))
		there[segment] = true
		b.placeChanged(segment)
		for class := range manyClasses {
			object := Facts{Key: Key{Class: fmt.Sprint("class-", class), Segment: segment}, Driver: "d", Manager: ManagedBy}.object()
			object.UID, object.ResourceVersion = types.UID(object.Name), "1"
			b.seen(object)
		}
	}
	return b
}

// BenchmarkScrape reads all metrics of a controller with 10,000 objects, as Prometheus does.
func BenchmarkScrape(b *testing.B) {
	registry := prometheus.NewRegistry()
	manyObjects(registry)
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", nil)
	for b.Loop() {
		recorder := httptest.NewRecorder()
		if handler.ServeHTTP(recorder, request); recorder.Code != http.StatusOK {
			b.Fatal(recorder.Body)
		}
	}
}

func TestMetricsOfManyObjects(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := manyObjects(registry)
	b.seen(published("obsolete", csi.Capacity{}))
	began := time.Now()
	for name, want := range map[string]float64{
		"csistoragecapacities_desired_goal": manySegments * manyClasses, "csistoragecapacities_desired_current": manySegments * manyClasses, "csistoragecapacities_obsolete": 1,
	} {
		if got := metricOf(t, registry, name, ""); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	t.Logf("three scrapes took %s", time.Since(began))
	if took := time.Since(began) / 3; took > 100*time.Millisecond { // a scan of all pairs takes minutes
		t.Errorf("a scrape took %s", took)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "csistoragecapacities_") && !strings.HasPrefix(family.GetHelp(), "[ALPHA] ") {
			t.Errorf("%s does not say how stable it is: %q", family.GetName(), family.GetHelp())
		}
	}
}

func TestAConfigurationThatCannotBe(t *testing.T) {
	for name, config := range map[string]Config{"no interval": {Threads: 1}, "no thread": {PollInterval: time.Second}} {
		if _, err := New(config); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
