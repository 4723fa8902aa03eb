package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

func TestNobodyIsWokenAfterTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		woken := 0
		p := newPlaceless(func(ClaimKey) {
			mu.Lock()
			defer mu.Unlock()
			woken++
		})
		p.set(ClaimKey{Name: "a"}, true)
		p.changed() // in a second
		pass(placelessDelay / 2)
		p.stop()
		p.changed()
		pass(time.Minute)
		if woken != 0 {
			t.Errorf("woken %d times", woken)
		}
		p.stop() // again, as nothing runs
	})
	var left *Controller
	inBubble(t, nil, nil, func(w *world) { left = w.c })
	if !left.placeless.stopped {
		t.Error("a node that comes after the term starts a timer")
	}
}

// waitingDriver has calls wait for their turn before they are sent.
type waitingDriver struct {
	memoryDriver
	turn, takes time.Duration
}

func (d *waitingDriver) CreateVolume(ctx context.Context, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	time.Sleep(d.turn)
	csi.Sent(ctx)
	time.Sleep(d.takes)
	return d.memoryDriver.CreateVolume(ctx, request)
}

func TestADriverIsSlowFromWhenItKnows(t *testing.T) {
	for name, tt := range map[string]struct {
		driver *waitingDriver
		told   bool
	}{
		"a call that waits long for its turn":               {&waitingDriver{turn: time.Minute, takes: slowCall - time.Second}, false},
		"a call that takes long":                            {&waitingDriver{takes: slowCall + time.Second}, true},
		"a call that waits long for its turn and is slow":   {&waitingDriver{turn: time.Minute, takes: slowCall + time.Second}, true},
		"a call that takes no time, and nothing after that": {&waitingDriver{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []runtime.Object{makeClaim()}, func(w *world) { w.c.driver = tt.driver }, func(w *world) {
				pass(2 * time.Minute)
				told := slices.ContainsFunc(w.events(), func(event string) bool { return strings.HasPrefix(event, "Normal Provisioning: ") })
				if told != tt.told {
					t.Errorf("people were told %q", w.events())
				}
			})
		})
	}
}

func TestACleanUpThatCannotReadForLongIsTold(t *testing.T) {
	inBubble(t, []runtime.Object{makeClaim()}, func(w *world) {
		w.driver.answer = func(_ int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
			if err := w.core.Tracker().Delete(claimsResource, "ns", "data"); err != nil {
				return nil, err
			}
			time.Sleep(time.Second) // the cache hears of it
			return asAsked(request), nil
		}
		fails(&w.core.Fake, "get", "persistentvolumes", errors.New("connection refused"))
	}, func(w *world) {
		pass(10 * time.Second)
		if got := w.events(); len(got) > 0 {
			t.Errorf("people were told of a moment: %q", got)
		}
		pass(time.Minute)
		want := `Warning ProvisioningFailed: cannot delete a volume that nobody wants, will try again: find out whether volume "handle of ` + testVolume + `", which is to be deleted`
		if got := w.events(); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("people were told %q", got)
		}
		if _, deletes := w.driver.calls(); deletes != 0 || w.c.attempts.count() != 1 {
			t.Errorf("%d deletions without knowing whether the volume is stored", deletes)
		}
	})
}

// fullObserver notes what it is told, and what had been written to claims by then.
type fullObserver struct {
	nobody

	client *fake.Clientset
	said   []string
}

func (o *fullObserver) Exhausted(_ context.Context, class string, segment topology.Segment, bytes int64) {
	o.said = append(o.said, fmt.Sprintf("%s %s %d, %d writes before", class, segment, bytes, len(writes(&o.client.Fake, "persistentvolumeclaims"))))
}

// The scheduler decides by published capacity, so whoever publishes it hears of a full segment before the claim goes back.
func TestWhoPublishesCapacityHearsFirstOfAFullSegment(t *testing.T) {
	claim := makeClaim(onNode("n1"))
	client := fake.NewClientset(claim)
	index := topology.NewIndex()
	index.SetNode("n1", map[string]string{"zone": "a"})
	index.SetRegistration("n1", topology.NewKeySet([]string{"zone"}))
	observer := &fullObserver{client: client}
	c := makeController(t, client, func(config *Config) { config.Topology, config.Room = index, observer })
	c.driver = &memoryDriver{answer: func(int, *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
		return nil, status.Error(codes.ResourceExhausted, "full")
	}}
	if err := errors.Join(c.claims.GetIndexer().Add(claim), c.classes.GetIndexer().Add(makeClass(waitForFirstConsumer))); err != nil {
		t.Fatal(err)
	}
	c.workClaim(t.Context(), keyOf(claim))
	if diff := cmp.Diff([]string{"fast zone=a 1073741824, 0 writes before"}, observer.said); diff != "" {
		t.Error(diff)
	}
	if got := writes(&client.Fake, "persistentvolumeclaims"); len(got) != 1 {
		t.Errorf("the claim was given back with %q", got)
	}
}

func TestAJournalThatWasLeftBehindIsCounted(t *testing.T) {
	page := func(name string, entries ...string) *corev1.ConfigMap {
		page := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: simNamespace, Name: name}, BinaryData: map[string][]byte{}}
		for _, entry := range entries {
			page.BinaryData[entry] = []byte("packed")
		}
		return page
	}
	for name, tt := range map[string]struct {
		pages []runtime.Object
		err   error
		said  string // empty: nothing
	}{
		"none":                      {nil, nil, ""},
		"an empty one":              {[]runtime.Object{page(simJournal)}, nil, ""},
		"one with entries":          {[]runtime.Object{page(simJournal, "a", "b")}, nil, "entries=2"},
		"of several pages":          {[]runtime.Object{page(simJournal, "a", "b"), page(simJournal+"-1", "c")}, nil, "entries=3"},
		"one that must not be read": {[]runtime.Object{page(simJournal, "a")}, forbidden(corev1.SchemeGroupVersion.WithResource("configmaps")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(tt.pages...)
			if tt.err != nil {
				fails(&client.Fake, "get", "configmaps", tt.err)
			}
			c := makeController(t, client, func(config *Config) { config.JournalNamespace, config.LeftJournal = simNamespace, simJournal })
			logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true), ktesting.Verbosity(0)))
			c.countLeft(klog.NewContext(t.Context(), logger))
			sink, ok := logger.GetSink().(ktesting.Underlier)
			if !ok {
				t.Fatal("no buffer")
			}
			got := sink.GetBuffer().String()
			if lines := strings.Count(got, "\n"); lines > 1 || (tt.said == "") != (got == "") || !strings.Contains(got, tt.said) {
				t.Errorf("said %q, want %q", got, tt.said)
			}
		})
	}
}

// A hint that cannot be read is told once, however often the claim is tried.
func TestAHintThatCannotBeReadIsToldOnce(t *testing.T) {
	inBubble(t, []runtime.Object{makeClaim(annotated(topology.HintKey(testDriver), "zone-a"))}, func(w *world) {
		index := topology.NewIndex()
		index.SetNode("n1", map[string]string{"zone": "a"})
		index.SetRegistration("n1", topology.NewKeySet([]string{"zone"}))
		w.c.settings.Driver.Topology, w.c.config.Topology = true, index
		w.driver.answer = func(nth int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
			if nth < 4 {
				return nil, status.Error(codes.Internal, "words")
			}
			return asAsked(request), nil
		}
	}, func(w *world) {
		pass(time.Minute)
		told := slices.DeleteFunc(w.events(), func(event string) bool { return !strings.Contains(event, ReasonHintIgnored) })
		if len(told) != 1 || w.creates() != 4 {
			t.Errorf("%d calls, people were told %q", w.creates(), told)
		}
	})
}

// What follows are faults of the established provisioner that must not come back here.

// There, requests that cannot succeed wait five minutes whatever --retry-interval-max says.
func TestNoRetryOfWhatCannotSucceedWaitsLongerThanTheLongest(t *testing.T) {
	for name, tt := range map[string]struct{ longest, first time.Duration }{
		"as by default":    {5 * time.Minute, 5 * time.Minute},
		"shorter":          {30 * time.Second, 30 * time.Second},
		"longer, at first": {time.Hour, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []runtime.Object{makeClaim()}, func(w *world) {
				w.c.config.BackoffMax = tt.longest
				w.driver.answer = func(int, *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
					return nil, status.Error(codes.InvalidArgument, "words")
				}
			}, func(w *world) {
				pass(tt.first - 2*time.Second)
				if got := w.creates(); got != 1 {
					t.Errorf("%d calls before %s", got, tt.first)
				}
				pass(2 * time.Second)
				if got := w.creates(); got != 2 {
					t.Errorf("%d calls after %s", got, tt.first)
				}
			})
		})
	}
}

// There, two queues are both called "claims", and their metrics are one's.
func TestQueuesHaveNamesOfTheirOwn(t *testing.T) {
	c := makeController(t, fake.NewClientset())
	names := []string{c.claimLoop.Name(), c.volumeLoop.Name(), c.sourceLoop.Name(), c.events.loop.Name()}
	if got := slices.Compact(slices.Sorted(slices.Values(names))); len(got) != len(names) || slices.Contains(got, "") {
		t.Errorf("queues are called %q", names)
	}
}

// There, a claim that turns out to need nothing is counted as one that failed.
func TestNothingToDoIsNoFailure(t *testing.T) {
	for name, tt := range map[string]struct {
		claim   *corev1.PersistentVolumeClaim // as the cache has it; nil: it is gone
		volumes []*corev1.PersistentVolume
	}{
		"its volume is stored":        {makeClaim(), []*corev1.PersistentVolume{makeVolume()}},
		"it is bound":                 {makeClaim(boundTo("x")), nil},
		"it is gone":                  {nil, nil},
		"it is being deleted":         {makeClaim(deleting), nil},
		"it is another driver's":      {makeClaim(annotated("volume.kubernetes.io/storage-provisioner", "other")), nil},
		"it is left to the binder":    {makeClaim(), []*corev1.PersistentVolume{onShelf()}},
		"it is left to its populator": {makeClaim(fromPopulator), nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := makeWorld(t)
			w.cached()
			if tt.claim != nil {
				w.cached(tt.claim)
			}
			for _, volume := range tt.volumes {
				if err := w.c.volumes.GetIndexer().Add(volume); err != nil {
					t.Fatal(err)
				}
			}
			result := w.c.workClaim(t.Context(), keyOf(makeClaim()))
			counted := make(chan prometheus.Metric, 10)
			w.c.metrics.provisionFailed.Collect(counted)
			if result.Retries() || len(counted) > 0 || w.creates() > 0 {
				t.Errorf("%s; %d kinds of failures, %d calls", result, len(counted), w.creates())
			}
		})
	}
}
