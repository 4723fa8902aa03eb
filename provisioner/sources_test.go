package provisioner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"google.golang.org/protobuf/testing/protocmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/worker"
)

// withEverything is a driver that can do everything.
func withEverything(in *Input) {
	in.Settings.Driver.Snapshots, in.Settings.Driver.Clones, in.Settings.Driver.Modify = true, true, true
	in.Settings.CrossNamespace, in.Settings.AttributesClasses = true, true
}

func found(facts *datasource.Facts) func(*Input) { return func(in *Input) { in.Source = facts } }

func TestDecideOnSources(t *testing.T) {
	create := "create " + testVolume
	noPlace := func(in *Input) { in.Place = Place{} }
	tests := map[string]struct {
		in   Input
		want string // prefix of the sketch
	}{
		"from a snapshot, nobody has looked":            {makeInput(withEverything, claimIs(fromSnapshot)), "look up VolumeSnapshot ns/snap"},
		"from a claim, nobody has looked":               {makeInput(withEverything, claimIs(fromClaim)), "look up PersistentVolumeClaim ns/source"},
		"from another namespace, nobody has looked":     {makeInput(withEverything, claimIs(fromFarSnapshot)), "look up VolumeSnapshot far/snap"},
		"a snapshot that is in order":                   {makeInput(withEverything, claimIs(fromSnapshot), found(snapshotFacts())), create},
		"a claim that is in order":                      {makeInput(withEverything, claimIs(fromClaim), found(claimFacts())), create},
		"a snapshot that does not exist":                {makeInput(withEverything, claimIs(fromSnapshot), found(&datasource.Facts{SnapshotsServed: true})), "refuse: waiting for VolumeSnapshot ns/snap: it does not exist"},
		"a claim that does not exist":                   {makeInput(withEverything, claimIs(fromClaim), found(&datasource.Facts{})), "refuse: waiting for PersistentVolumeClaim ns/source: it does not exist"},
		"a populator's":                                 {makeInput(withEverything, claimIs(fromPopulator)), "leave to populator: the claim is to be filled from Shelf.books.example ns/novels"},
		"a populator's, and no place":                   {makeInput(withEverything, claimIs(fromPopulator), noPlace), "leave to populator: "},
		"a driver without snapshots, without looking":   {makeInput(claimIs(fromSnapshot)), "refuse: driver " + testDriver + " cannot restore"},
		"a driver without clones, without looking":      {makeInput(claimIs(fromClaim)), "refuse: driver " + testDriver + " cannot clone"},
		"another namespace, the gate is off":            {makeInput(withEverything, claimIs(fromFarSnapshot), func(in *Input) { in.Settings.CrossNamespace = false }), `refuse: the claim gives a namespace, "far"`},
		"another namespace, nothing is granted":         {makeInput(withEverything, claimIs(fromFarSnapshot), found(&datasource.Facts{SnapshotsServed: true, GrantsServed: true})), `refuse: no ReferenceGrant in namespace "far"`},
		"a source without a name":                       {makeInput(withEverything, claimIs(fromClaim, func(c *corev1.PersistentVolumeClaim) { c.Spec.DataSource.Name = "" })), "refuse: the claim's data source of kind"},
		"no place: nobody has to look":                  {makeInput(withEverything, claimIs(fromSnapshot), noPlace), "refuse: no place for the volume"},
		"a wrong parameter: nobody has to look":         {makeInput(withEverything, claimIs(fromSnapshot), classIs(parameters("csi.storage.k8s.io/x", "y"))), `refuse: storage class "fast": parameter`},
		"another driver's snapshot":                     {makeInput(withEverything, claimIs(fromSnapshot), found(&datasource.Facts{SnapshotsServed: true, Snapshot: makeSnapshot(), Content: makeContent(func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.Driver = "other" })})), "refuse: "},
		"a snapshot of another mode":                    {makeInput(withEverything, claimIs(fromSnapshot), found(snapshotOfMode(corev1.PersistentVolumeBlock)), func(in *Input) { in.Settings.PreventModeConversion = true }), "refuse: the claim's volume mode is Filesystem"},
		"a snapshot of another mode, where that may be": {makeInput(withEverything, claimIs(fromSnapshot), found(snapshotOfMode(corev1.PersistentVolumeBlock))), create},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketch(Decide(tt.in)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func snapshotOfMode(mode corev1.PersistentVolumeMode) *datasource.Facts {
	facts := snapshotFacts()
	facts.Content.Spec.SourceVolumeMode = &mode
	return facts
}

func TestTheDriverIsToldWhatTheVolumeIsMadeFrom(t *testing.T) {
	for name, tt := range map[string]struct {
		in   Input
		want *csipb.VolumeContentSource
	}{
		"nothing":    {makeInput(withEverything), nil},
		"a snapshot": {makeInput(withEverything, claimIs(fromSnapshot), found(snapshotFacts())), csi.ContentSource("snapshot-handle", "")},
		"a claim":    {makeInput(withEverything, claimIs(fromClaim), found(claimFacts())), csi.ContentSource("", "source-handle")},
	} {
		got, ok := Decide(tt.in).(Create)
		if !ok {
			t.Fatalf("%s: no attempt", name)
		}
		if diff := cmp.Diff(tt.want, got.Attempt.Request.GetVolumeContentSource(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if reference, _ := datasource.Resolve(tt.in.Claim); got.Attempt.Source != reference {
			t.Errorf("%s: source %v", name, got.Attempt.Source)
		}
	}
}

// source is a kind of source with the objects that make it whole.
type source struct {
	kind     func(*corev1.PersistentVolumeClaim)
	key      datasource.Key
	resource schema.GroupVersionResource
	ours     string // finalizer
	marked   []runtime.Object
	unmarked []runtime.Object
}

func sources() map[string]source {
	return map[string]source{
		"snapshot": {fromSnapshot, snapKey, snapshotsResource, datasource.FinalizerSnapshot,
			[]runtime.Object{makeSnapshot(markedSnapshot), makeContent()}, []runtime.Object{makeSnapshot(), makeContent()}},
		"claim": {fromClaim, sourceKey, claimsResource, datasource.FinalizerClaim,
			[]runtime.Object{makeSource(markedClaim), makeSourceVolume()}, []runtime.Object{makeSource(), makeSourceVolume()}},
	}
}

// client is the one that knows a source's resource.
func (w *world) client(s source) *clienttesting.Fake {
	if s.resource == snapshotsResource {
		return &w.snapshots.Fake
	}
	return &w.core.Fake
}

func TestASourceIsProtectedBeforeTheDriverIsAsked(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "x"}, "x", errors.New("it changed"))
	for kind, s := range sources() {
		tests := map[string]struct {
			objects []runtime.Object
			fail    func(*world)
			writes  []string
			asked   bool // the driver is
			marked  bool
		}{
			"it is not protected yet": {s.unmarked, nil, []string{"patch"}, true, true},
			"it is already":           {s.marked, nil, nil, true, true},
			"it changes meanwhile":    {s.unmarked, func(w *world) { fails(w.client(s), "patch", s.resource.Resource, conflict) }, []string{"patch"}, false, false},
			"the API server is away":  {s.unmarked, func(w *world) { fails(w.client(s), "patch", s.resource.Resource, errors.New("refused")) }, []string{"patch"}, false, false},
			"an older role, without patch": {s.unmarked, func(w *world) { fails(w.client(s), "patch", s.resource.Resource, forbidden(s.resource)) },
				[]string{"patch", "update"}, true, true},
			"a role that allows neither": {s.unmarked, func(w *world) { forbid(w.client(s), s) },
				[]string{"patch", "update"}, s.resource == snapshotsResource, false},
		}
		for name, tt := range tests {
			t.Run(kind+": "+name, func(t *testing.T) {
				w := makeWorld(t, tt.objects...)
				claim := makeClaim(s.kind)
				w.cached(claim)
				if tt.fail != nil {
					tt.fail(w)
				}
				w.driver.answer = func(_ int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
					if marked := slices.Contains(w.finalizers(s.resource, s.key.Name), s.ours); marked != tt.marked {
						t.Errorf("the driver is asked while the source's protection is %v", marked)
					}
					return asAsked(request), nil
				}
				result := w.c.workClaim(t.Context(), keyOf(claim))
				tried := result.Retries() || result == worker.After(releasePause)
				if creates, _ := w.driver.calls(); (creates == 1) != tt.asked || tried == tt.asked {
					t.Errorf("%d calls, then %+v", creates, result)
				}
				if diff := cmp.Diff(tt.writes, writes(w.client(s), s.resource.Resource)); diff != "" {
					t.Error(diff)
				}
				if got := slices.Contains(w.finalizers(s.resource, s.key.Name), s.ours); got != tt.marked {
					t.Errorf("protected: %v", got)
				}
				if w.c.attempts.count() != 0 {
					t.Error("an attempt is open that the driver knows nothing of, or that is finished")
				}
				if len(w.c.holds.held) != 0 {
					t.Error("the source is held by a claim that is not being worked")
				}
			})
		}
	}
}

// forbid has neither patch nor update allowed.
func forbid(client *clienttesting.Fake, s source) {
	fails(client, "patch", s.resource.Resource, forbidden(s.resource))
	fails(client, "update", s.resource.Resource, forbidden(s.resource))
}

// An attempt whose outcome is unknown keeps its source: nobody looks at it again, and nobody takes its protection off.
func TestASourceIsHeldWhileTheOutcomeIsUnknown(t *testing.T) {
	for kind, s := range sources() {
		t.Run(kind, func(t *testing.T) {
			w := makeWorld(t, s.unmarked...)
			claim := makeClaim(s.kind)
			w.cached(claim)
			w.driver.answer = func(nth int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
				if nth < 3 {
					return nil, errors.New("connection reset")
				}
				return asAsked(request), nil
			}
			work := func() { w.c.workClaim(t.Context(), keyOf(claim)) }
			work()
			if err := w.c.claims.GetIndexer().Delete(claim); err != nil { // from now on nothing but the attempt waits for the source
				t.Fatal(err)
			}
			fails(w.client(s), "get", s.resource.Resource, errors.New("nobody is to look again"))
			work()
			if w.c.workSource(t.Context(), s.key).Retries() || len(w.c.holds.held) != 1 {
				t.Errorf("held: %v", w.c.holds.held)
			}
			if got := w.finalizers(s.resource, s.key.Name); !slices.Contains(got, s.ours) {
				t.Errorf("finalizers %q", got)
			}
			work() // there is a volume, which nobody wants any more
			if creates, deletes := w.driver.calls(); creates != 3 || deletes != 1 || len(w.c.holds.held) != 0 {
				t.Errorf("%d creations, %d deletions, held: %v", creates, deletes, w.c.holds.held)
			}
			if diff := cmp.Diff(w.driver.created[0], w.driver.created[2], protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASourceThatCannotBeReadIsNoReasonToAskTheDriver(t *testing.T) {
	for kind, s := range sources() {
		w := makeWorld(t, s.unmarked...)
		claim := makeClaim(s.kind)
		w.cached(claim)
		fails(w.client(s), "get", s.resource.Resource, errors.New("connection refused"))
		retries := w.c.workClaim(t.Context(), keyOf(claim)).Retries()
		if creates, _ := w.driver.calls(); creates != 0 || !retries || len(w.c.holds.held) != 0 {
			t.Errorf("%s: %d calls, retries %v, held: %v", kind, creates, retries, w.c.holds.held)
		}
		if got := writes(w.client(s), s.resource.Resource); len(got) > 0 {
			t.Errorf("%s: written: %q", kind, got)
		}
	}
}

func TestReleasingASource(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "x"}, "x", errors.New("it changed"))
	for kind, s := range sources() {
		get := func(w *world) { fails(w.client(s), "get", s.resource.Resource, errors.New("connection refused")) }
		behind := func(w *world) { fails(&w.core.Fake, "get", "persistentvolumes", errors.New("connection refused")) }
		if s.resource == snapshotsResource {
			behind = func(w *world) { fails(&w.snapshots.Fake, "get", "volumesnapshotcontents", forbidden(contentsResource)) }
		}
		writing := func(verb string, err error) func(*world) {
			return func(w *world) { fails(w.client(s), verb, s.resource.Resource, err) }
		}
		waiting := func(changes ...func(*corev1.PersistentVolumeClaim)) func(*world) {
			return func(w *world) { w.cached(makeClaim(append(changes, s.kind)...)) }
		}
		tests := map[string]struct {
			prepare func(*world)
			writes  []string
			retries bool
			kept    bool
		}{
			"nobody needs it":                      {nil, []string{"patch"}, false, false},
			"an older role, without patch":         {writing("patch", forbidden(s.resource)), []string{"patch", "update"}, false, false},
			"it changes meanwhile":                 {writing("patch", conflict), []string{"patch"}, true, true},
			"a role that allows neither":           {func(w *world) { forbid(w.client(s), s) }, []string{"patch", "update"}, true, true},
			"it is gone meanwhile":                 {writing("patch", apierrors.NewNotFound(s.resource.GroupResource(), "x")), []string{"patch"}, false, true},
			"it cannot be read":                    {get, nil, true, true},
			"what is behind it cannot be read":     {behind, nil, true, true},
			"a claim waits for it":                 {waiting(), nil, false, true},
			"a claim that is being deleted waited": {waiting(deleting), []string{"patch"}, false, false},
			"a claim has its volume":               {waiting(boundTo("x")), []string{"patch"}, false, false},
			"another driver's claim waits":         {waiting(annotated("volume.kubernetes.io/storage-provisioner", "other")), []string{"patch"}, false, false},
			"a claim holds it":                     {func(w *world) { w.c.holds.take("somebody", s.key) }, nil, false, true},
		}
		for name, tt := range tests {
			t.Run(kind+": "+name, func(t *testing.T) {
				w := makeWorld(t, s.marked...)
				if tt.prepare != nil {
					tt.prepare(w)
				}
				if got := w.c.workSource(t.Context(), s.key); got.Retries() != tt.retries {
					t.Errorf("retries: %v", got.Retries())
				}
				if diff := cmp.Diff(tt.writes, writes(w.client(s), s.resource.Resource)); diff != "" {
					t.Error(diff)
				}
				if needed := tt.kept && !tt.retries && tt.writes == nil; needed && len(w.client(s).Actions()) > 0 {
					t.Errorf("it is read though somebody needs it: %v", w.client(s).Actions())
				}
				want := []string{"other.example/finalizer"}
				if tt.kept {
					want = append(want, s.ours)
				}
				if diff := cmp.Diff(want, w.finalizers(s.resource, s.key.Name)); diff != "" {
					t.Error(diff)
				}
				if len(w.c.holds.releasing) > 0 {
					t.Error("claims are kept from the source for ever")
				}
			})
		}
	}
}

func TestWhatIsNotKnownToBeFreeIsNotReleased(t *testing.T) {
	w := makeWorld(t, sources()["snapshot"].marked...)
	delete(w.c.claims.GetIndexer().GetIndexers(), indexPendingBySource)
	if got := w.c.waitingFor(snapKey); got == 0 {
		t.Error("nobody waits, as far as nobody knows")
	}
	w.c.workSource(t.Context(), snapKey)
	if got := writes(&w.snapshots.Fake, "volumesnapshots"); len(got) > 0 {
		t.Errorf("it was written: %q", got)
	}
}

func TestAnotherDriversFinalizerIsLeftAlone(t *testing.T) {
	others := map[string][]runtime.Object{
		"snapshot": {makeSnapshot(markedSnapshot, snapshotGoes), makeContent(func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.Driver = "other" })},
		"claim":    {makeSource(markedClaim, deleting), makeSourceVolume(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "other" })},
	}
	for kind, s := range sources() {
		w := makeWorld(t, others[kind]...)
		if w.c.workSource(t.Context(), s.key).Retries() {
			t.Errorf("%s: retried", kind)
		}
		if got := writes(w.client(s), s.resource.Resource); len(got) > 0 {
			t.Errorf("%s: written: %q", kind, got)
		}
	}
}

func TestASourceThatIsGoneIsNoFailure(t *testing.T) {
	for kind, s := range sources() {
		if makeWorld(t).c.workSource(t.Context(), s.key).Retries() {
			t.Errorf("%s: retried", kind)
		}
	}
}

// A claim that comes while the protection is being taken off waits for that, and then puts it on again.
func TestAClaimThatComesDuringARelease(t *testing.T) {
	for kind, s := range sources() {
		t.Run(kind, func(t *testing.T) {
			w := makeWorld(t, s.marked...)
			claim := makeClaim(s.kind)
			comes := func() {
				w.cached(claim)
				if w.c.workClaim(t.Context(), keyOf(claim)).Retries() {
					t.Error("the wait counts as a failure")
				}
				if creates, _ := w.driver.calls(); creates != 0 || len(w.c.holds.held) != 0 {
					t.Errorf("%d calls, held: %v", creates, w.c.holds.held)
				}
			}
			first, done := true, make(chan struct{})
			w.client(s).PrependReactor("patch", s.resource.Resource, func(clienttesting.Action) (bool, runtime.Object, error) {
				if !first {
					return false, nil, nil
				}
				first = false
				go func() {
					defer close(done)
					comes()
				}()
				select {
				case <-done:
				case <-time.After(5 * time.Second): // this client does one thing at a time
					t.Error("the claim did not wait, but looked at its source")
				}
				return false, nil, nil
			})
			w.c.workSource(t.Context(), s.key)
			<-done
			if got := w.finalizers(s.resource, s.key.Name); slices.Contains(got, s.ours) {
				t.Fatalf("not released: %q", got)
			}
			w.c.workClaim(t.Context(), keyOf(claim))
			if creates, _ := w.driver.calls(); creates != 1 || !slices.Contains(w.finalizers(s.resource, s.key.Name), s.ours) {
				t.Errorf("%d calls, finalizers %q", creates, w.finalizers(s.resource, s.key.Name))
			}
		})
	}
}

// bind binds a claim to the volume of its name, as the controller-manager does.
func (w *world) bind(name string) {
	w.t.Helper()
	update(w, claimsResource, "ns", name, func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.VolumeName, claim.Status.Phase = w.c.settings.VolumeName(claim.UID), corev1.ClaimBound
	})
}

func TestManyClaimsFromOneSourceAtOnce(t *testing.T) {
	for kind, s := range sources() {
		t.Run(kind, func(t *testing.T) {
			names := []string{"a", "b", "c", "d"}
			objects := slices.Clone(s.unmarked)
			for _, name := range names {
				objects = append(objects, makeClaim(called(name), s.kind))
			}
			inBubble(t, objects, nil, func(w *world) {
				pass(time.Minute)
				if creates, deletes := w.driver.calls(); creates != len(names) || deletes != 0 {
					t.Errorf("%d creations, %d deletions", creates, deletes)
				}
				if told := w.events(); slices.ContainsFunc(told, func(message string) bool { return strings.HasPrefix(message, "Warning") }) {
					t.Errorf("that others use the source is no concern of people's: %q", told)
				}
				protected := func() bool { return slices.Contains(w.finalizers(s.resource, s.key.Name), s.ours) }
				for _, name := range names {
					if !protected() {
						t.Errorf("released before %q is bound", name)
					}
					w.bind(name)
					pass(time.Second)
				}
				if protected() {
					t.Error("protected though every claim is bound")
				}
			})
		})
	}
}

func TestTheLastClaimThatGoesReleasesItsSource(t *testing.T) {
	for kind, s := range sources() {
		t.Run(kind, func(t *testing.T) {
			waits := makeClaim(s.kind, func(c *corev1.PersistentVolumeClaim) { c.Spec.Resources = makeSource().Spec.Resources })
			inBubble(t, append(slices.Clone(s.unmarked), waits), func(w *world) {
				w.driver.answer = func(int, *csipb.CreateVolumeRequest) (*csipb.Volume, error) { return nil, errors.New("no answer") }
			}, func(w *world) {
				pass(time.Second)
				if err := w.core.Tracker().Delete(claimsResource, "ns", "data"); err != nil {
					t.Fatal(err)
				}
				pass(10 * time.Minute)
				if !slices.Contains(w.finalizers(s.resource, s.key.Name), s.ours) {
					t.Error("released while it is not known whether there is a volume")
				}
				w.driver.mu.Lock()
				w.driver.answer = nil
				w.driver.mu.Unlock()
				pass(10 * time.Minute)
				if _, deletes := w.driver.calls(); deletes != 1 || slices.Contains(w.finalizers(s.resource, s.key.Name), s.ours) {
					t.Errorf("%d deletions, finalizers %q", deletes, w.finalizers(s.resource, s.key.Name))
				}
			})
		})
	}
}

// What a process that was killed left behind is found at the next start, and what the API server refused for long by the sweep.
func TestWhatIsLeftProtectedIsFound(t *testing.T) {
	for kind, s := range sources() {
		t.Run(kind+": at the start", func(t *testing.T) {
			inBubble(t, s.marked, nil, func(w *world) {
				pass(time.Second)
				if diff := cmp.Diff([]string{"other.example/finalizer"}, w.finalizers(s.resource, s.key.Name)); diff != "" {
					t.Error(diff)
				}
			})
		})
		t.Run(kind+": by the sweep", func(t *testing.T) {
			var away atomic.Bool
			away.Store(true)
			inBubble(t, s.marked, func(w *world) {
				w.c.config.SweepInterval = 5 * time.Minute
				instead(&w.c.sourceLoop, func(ctx context.Context, key datasource.Key) worker.Result {
					if away.Load() {
						return worker.Done()
					}
					return w.c.workSource(ctx, key)
				})
			}, func(w *world) {
				pass(time.Minute)
				away.Store(false)
				if !slices.Contains(w.finalizers(s.resource, s.key.Name), s.ours) {
					t.Fatal("released by a loop that did nothing")
				}
				pass(5 * time.Minute)
				if diff := cmp.Diff([]string{"other.example/finalizer"}, w.finalizers(s.resource, s.key.Name)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
