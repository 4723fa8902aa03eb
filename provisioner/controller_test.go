package provisioner

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-csi/berth/topology"
)

// countingDriver answers as told and counts.
type countingDriver struct {
	creates, deletes atomic.Int32
}

func (d *countingDriver) CreateVolume(context.Context, *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	d.creates.Add(1)
	return &csipb.Volume{VolumeId: "handle-1", CapacityBytes: 1 << 30}, nil
}

func (d *countingDriver) DeleteVolume(context.Context, *csipb.DeleteVolumeRequest) error {
	d.deletes.Add(1)
	return nil
}

// stored is the object of the default attempt as the API server has it.
func stored(changes ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	attempt := makeAttempt(created)
	pv := completed(testSettings(), attempt, attempt.Volume)
	for _, change := range changes {
		change(pv)
	}
	return pv
}

func TestAVolumeThatIsStoredIsNeverCleanedUp(t *testing.T) {
	tests := map[string]struct {
		stored  *corev1.PersistentVolume
		deletes int32
		open    bool
	}{
		"not stored":                 {nil, 1, false},
		"stored for this claim":      {stored(), 0, false},
		"stored for another claim":   {stored(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "another" }), 0, false},
		"the name is another volume": {stored(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.VolumeHandle = "other" }), 1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client, driver := fake.NewClientset(), &countingDriver{}
			if tt.stored != nil {
				if err := client.Tracker().Add(tt.stored); err != nil {
					t.Fatal(err)
				}
			}
			c := makeController(t, client)
			c.driver = driver
			attempt := makeAttempt(created)
			c.attempts.put(testUID, attempt)
			c.cleanUp(t.Context(), keyOf(makeClaim()), attempt, "the claim was deleted")
			if got := driver.deletes.Load(); got != tt.deletes {
				t.Errorf("DeleteVolume was called %d times, want %d", got, tt.deletes)
			}
			if c.attempts.get(testUID) != nil {
				t.Error("the attempt is still open")
			}
		})
	}
}

func TestCleanUpWaitsUntilItKnows(t *testing.T) {
	client, driver := fake.NewClientset(), &countingDriver{}
	client.PrependReactor("get", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	c := makeController(t, client)
	c.driver = driver
	attempt := makeAttempt(created)
	c.attempts.put(testUID, attempt)
	if !c.cleanUp(t.Context(), keyOf(makeClaim()), attempt, "w").Retries() || driver.deletes.Load() != 0 || c.attempts.get(testUID) == nil {
		t.Error("a volume was given up on without knowing whether it is stored")
	}
}

func TestWritingTheObject(t *testing.T) {
	tests := map[string]struct {
		stored  *corev1.PersistentVolume
		err     error
		retries bool
		maybe   bool // the write may have been done
	}{
		"it is new":                           {nil, nil, false, false},
		"an earlier write was done after all": {stored(), nil, false, false},
		"the name is taken":                   {stored(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "another" }), nil, true, false},
		"no answer":                           {nil, errors.New("connection reset"), true, true},
		"a timeout of the server's":           {nil, apierrors.NewTimeoutError("etcd", 1), true, true},
		"refused":                             {nil, apierrors.NewForbidden(corev1.Resource("persistentvolumes"), "x", errors.New("no")), true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if tt.stored != nil {
				if err := client.Tracker().Add(tt.stored); err != nil {
					t.Fatal(err)
				}
			}
			if tt.err != nil {
				client.PrependReactor("create", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, tt.err })
			}
			c := makeController(t, client)
			attempt := makeAttempt(created)
			c.attempts.put(testUID, attempt)
			result := c.store(t.Context(), keyOf(makeClaim()), attempt)
			if result.Retries() != tt.retries || attempt.maybeWritten != tt.maybe {
				t.Errorf("retries %v, maybe written %v; want %v, %v", result.Retries(), attempt.maybeWritten, tt.retries, tt.maybe)
			}
			if open := c.attempts.get(testUID) != nil; open != tt.retries {
				t.Errorf("attempt open: %v", open)
			}
		})
	}
}

func TestTwoClaimsNeverCreateTheSameVolume(t *testing.T) {
	c := makeController(t, fake.NewClientset())
	driver := &countingDriver{}
	c.driver = driver
	first, second := makeAttempt(), makeAttempt() // the same name, as a short UID length makes it
	c.attempts.put("first", first)
	other := ClaimKey{Namespace: "ns", Name: "other", UID: "second"}
	if !c.create(t.Context(), other, second, nil).Retries() || driver.creates.Load() != 0 || c.attempts.get("second") != nil {
		t.Errorf("the driver was asked %d times for the second claim", driver.creates.Load())
	}
	if !c.attempts.put("first", first) {
		t.Error("the first cannot go on")
	}
	c.attempts.drop("second") // which has none
	if c.attempts.put("second", second) {
		t.Error("the name was given away while the first has it")
	}
	c.attempts.drop("first")
	if !c.attempts.put("second", second) {
		t.Error("the name is not free again")
	}
}

func TestAClaimThatIsGoneWaitsForNoPlace(t *testing.T) {
	c := makeController(t, fake.NewClientset())
	key := keyOf(makeClaim())
	c.placeless.set(key, true)
	c.workClaim(t.Context(), key) // the cache is empty
	if len(c.placeless.keys) != 0 {
		t.Error("it is still waited for")
	}
}

func TestWhatWasWrittenIsBelievedForAMinute(t *testing.T) {
	now := time.Unix(0, 0)
	w := &written{names: map[string]writtenVolume{}, now: func() time.Time { return now }}
	w.add("pv", "claim")
	if claim, ok := w.by("pv"); !ok || claim != "claim" {
		t.Error("the write is not remembered for its claim")
	}
	if _, ok := w.by("other"); ok {
		t.Error("a write is remembered that was not made")
	}
	now = now.Add(cacheLag + time.Second)
	if _, ok := w.by("pv"); ok || len(w.names) > 0 {
		t.Error("a volume that the cache never showed is remembered for ever")
	}
}

func TestDeletionsAreForgottenWhenTheObjectIsGone(t *testing.T) {
	pv := makeVolume()
	client := fake.NewClientset(pv)
	c := makeController(t, client)
	c.driver = &countingDriver{}
	// The cache is empty: the DELETED event came before our own bookkeeping.
	if c.deleteVolume(t.Context(), pv, DeleteVolume{Handle: "handle-1"}).Retries() {
		t.Fatal("it failed")
	}
	if got := len(c.deletion.byUID); got != 0 {
		t.Errorf("%d entries are left", got)
	}
}

func TestAFreshTermAsksBeforeItDeletes(t *testing.T) {
	driver := &countingDriver{}
	c := makeController(t, fake.NewClientset()) // the leader before deleted it all
	c.driver, c.began = driver, time.Now()
	if c.deleteVolume(t.Context(), makeVolume(), DeleteVolume{Handle: "handle-1"}).Retries() || driver.deletes.Load() != 0 {
		t.Errorf("DeleteVolume was called %d times for a volume that is gone", driver.deletes.Load())
	}
}

func TestANodeIsGoneWhenTheAPIServerSaysSo(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	csiNode := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	claim := makeClaim(onNode("n1"))
	for name, tt := range map[string]struct {
		objects []runtime.Object
		retries bool
	}{
		"both are gone":                 {[]runtime.Object{claim}, false},
		"the CSINode is gone":           {[]runtime.Object{claim, node}, false},
		"the cache has not seen it yet": {[]runtime.Object{claim, node, csiNode}, true},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(tt.objects...)
			c := makeController(t, client)
			result := c.giveBackGone(t.Context(), makeInput(claimIs(onNode("n1"))), "gone")
			live, err := client.CoreV1().PersistentVolumeClaims("ns").Get(t.Context(), "data", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if result.Retries() != tt.retries || (selectedNode(live) != "") != tt.retries {
				t.Errorf("retries %v, selected node %q; want retries %v", result.Retries(), selectedNode(live), tt.retries)
			}
		})
	}
}

func TestOnlyChangesThatMatterMakeAnotherClass(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*storagev1.StorageClass)
		same   bool
	}{
		"a label":          {func(c *storagev1.StorageClass) { c.Labels = map[string]string{"a": "b"}; c.ResourceVersion = "9" }, true},
		"made anew":        {func(c *storagev1.StorageClass) { c.UID = "new" }, false},
		"parameters":       {parameters("a", "b"), false},
		"binding mode":     {waitForFirstConsumer, false},
		"reclaim policy":   {retain, false},
		"mount options":    {func(c *storagev1.StorageClass) { c.MountOptions = []string{"ro"} }, false},
		"allowed topology": {func(c *storagev1.StorageClass) { c.AllowedTopologies = []corev1.TopologySelectorTerm{{}} }, false},
		"another's":        {func(c *storagev1.StorageClass) { c.Provisioner = "other" }, false},
	} {
		if got := sameClass(makeClass(), makeClass(tt.change)); got != tt.same {
			t.Errorf("%s: same %v, want %v", name, got, tt.same)
		}
	}
}

func TestPlacelessClaimsAreWokenOnce(t *testing.T) {
	var mu sync.Mutex
	var woken []ClaimKey
	p := newPlaceless(func(key ClaimKey) {
		mu.Lock()
		defer mu.Unlock()
		woken = append(woken, key)
	})
	p.changed() // nobody waits
	p.set(ClaimKey{Name: "a"}, true)
	p.set(ClaimKey{Name: "b"}, true)
	p.set(ClaimKey{Name: "b"}, false)
	for range 100 {
		p.changed()
	}
	p.wakeAll()
	if len(woken) != 1 || woken[0].Name != "a" || len(p.keys) != 0 {
		t.Errorf("woken: %v", woken)
	}
}

// A driver that makes the wrong volume makes it each time. It is asked again after an hour, and each volume is deleted once.
func TestARejectedVolumeIsDeletedOnceAndNotTriedAgainForAnHour(t *testing.T) {
	tests := map[string]struct {
		claim *corev1.PersistentVolumeClaim
		spoil func(*csipb.Volume)
		told  string
	}{
		"too small": {makeClaim(), func(v *csipb.Volume) { v.CapacityBytes = 1 }, "the driver created a volume of 1 bytes where at least 1073741824 were asked for; the volume was deleted again"},
		"in an impossible place": {makeClaim(), func(v *csipb.Volume) {
			v.AccessibleTopology = []*csipb.Topology{{Segments: map[string]string{"zone": "not a label"}}}
		}, "no PersistentVolume can be made for: accessible_topology"},
		"restored, without its content source": {makeClaim(fromSnapshot), func(v *csipb.Volume) { v.ContentSource = nil },
			"the driver created a volume without saying that it was filled from VolumeSnapshot ns/snap: it may be empty; the volume was deleted again"},
		"cloned, without its content source": {makeClaim(fromClaim), func(v *csipb.Volume) { v.ContentSource = nil },
			"the driver created a volume without saying that it was filled from PersistentVolumeClaim ns/source: it may be empty; the volume was deleted again"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []runtime.Object{makeSnapshot(), makeContent(), makeSource(), makeSourceVolume()}, func(w *world) {
				w.c.settings.Driver.Topology, w.c.config.Topology, w.c.settings.ImmediateTopology = true, topology.NewIndex(), false
				w.driver.answer = func(_ int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
					volume := asAsked(request)
					tt.spoil(volume)
					return volume, nil
				}
			}, func(w *world) {
				w.add(tt.claim)
				pass(time.Second)
				for hours := range 3 {
					if creates, deletes := w.driver.calls(); creates != hours+1 || deletes != hours+1 {
						t.Errorf("after %d hours: %d creations, %d deletions", hours, creates, deletes)
					}
					pass(time.Hour)
				}
				if got := w.driver.deleted[0].GetVolumeId(); got != "handle of "+testVolume {
					t.Errorf("deleted %q", got)
				}
				if got := w.events(); len(got) != 1 || !strings.Contains(got[0], tt.told) {
					t.Errorf("people were told %q", got)
				}
				if got := writes(&w.core.Fake, "persistentvolumes"); len(got) > 0 {
					t.Errorf("objects were written: %q", got)
				}
			})
		})
	}
}

// What the driver called wrong in itself is tried again after five minutes, or when somebody changed it; anything else by the usual backoff.
func TestWhatCannotSucceedIsTriedRarely(t *testing.T) {
	for code, rarely := range map[codes.Code]bool{
		codes.InvalidArgument: true, codes.NotFound: true, codes.OutOfRange: true,
		codes.Internal: false, codes.AlreadyExists: false, codes.PermissionDenied: false, codes.ResourceExhausted: false, codes.Unavailable: false,
	} {
		t.Run(code.String(), func(t *testing.T) {
			inBubble(t, []runtime.Object{makeClaim()}, func(w *world) {
				w.c.config.BackoffMax = time.Hour // as --retry-interval-max may be
				w.driver.answer = func(int, *csipb.CreateVolumeRequest) (*csipb.Volume, error) { return nil, status.Error(code, "words") }
			}, func(w *world) {
				creates := func() int {
					creates, _ := w.driver.calls()
					return creates
				}
				pass(4 * time.Minute)
				if got := creates(); (got == 1) != rarely {
					t.Errorf("%d calls in four minutes", got)
				}
				if !rarely {
					return
				}
				pass(time.Minute)
				if got := creates(); got != 2 {
					t.Errorf("%d calls in five minutes", got)
				}
				update(w, claimsResource, "ns", "data", onNode("n"))
				pass(time.Second)
				if got := creates(); got != 3 {
					t.Errorf("%d calls after the claim changed", got)
				}
			})
		})
	}
}

func TestAClaimIsLeftToItsPopulatorAndToldOnce(t *testing.T) {
	told := []string{"Normal Provisioning: the claim is to be filled from Shelf.books.example ns/novels: a volume populator for that kind is expected to provision its volume"}
	inBubble(t, []runtime.Object{makeClaim(fromPopulator)}, nil, func(w *world) {
		for _, change := range []func(*corev1.PersistentVolumeClaim){
			annotated("color", "blue"), onNode("n"), deleting,
		} {
			update(w, claimsResource, "ns", "data", change)
			pass(10 * time.Second)
		}
		if diff := cmp.Diff(told, w.events()); diff != "" {
			t.Error(diff)
		}
		if creates, _ := w.driver.calls(); creates != 0 {
			t.Errorf("%d calls", creates)
		}
		if err := w.core.Tracker().Delete(claimsResource, "ns", "data"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if len(w.c.announced.made) > 0 {
			t.Errorf("a claim that is gone is remembered: %v", w.c.announced.made)
		}
	})
}

// A request names a part of the segments (--topology-limit): as long as the driver has no room there, the next one names others.
func TestOtherSegmentsAreTriedUntilThereIsRoom(t *testing.T) {
	inBubble(t, []runtime.Object{makeClaim()}, func(w *world) {
		index := topology.NewIndex()
		for _, node := range []string{"a", "b", "c"} {
			index.SetNode(node, map[string]string{"zone": node})
			index.SetRegistration(node, topology.NewKeySet([]string{"zone"}))
		}
		w.c.settings.Driver.Topology, w.c.config.Topology, w.c.settings.TopologyLimit = true, index, 1
		w.driver.answer = func(_ int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
			if request.GetAccessibilityRequirements().GetRequisite()[0].GetSegments()["zone"] == "c" {
				volume := asAsked(request)
				volume.AccessibleTopology = request.GetAccessibilityRequirements().GetRequisite()
				return volume, nil
			}
			return nil, status.Error(codes.ResourceExhausted, "full")
		}
	}, func(w *world) {
		pass(time.Minute)
		if _, err := w.core.CoreV1().PersistentVolumes().Get(t.Context(), testVolume, metav1.GetOptions{}); err != nil {
			t.Errorf("%d calls, and no volume: %v", len(w.driver.created), err)
		}
		seen := map[string]bool{}
		for _, request := range w.driver.created {
			seen[request.GetAccessibilityRequirements().GetRequisite()[0].GetSegments()["zone"]] = true
		}
		if len(seen) != len(w.driver.created) {
			t.Errorf("%d calls for %d segments", len(w.driver.created), len(seen))
		}
		if len(w.c.attempts.rounds) > 0 {
			t.Errorf("a claim that has its volume is remembered: %v", w.c.attempts.rounds)
		}
	})
}
