package provisioner

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/worker"
)

// Resources of the handlers' objects.
var (
	classesResource    = storagev1.SchemeGroupVersion.WithResource("storageclasses")
	attributesResource = storagev1.SchemeGroupVersion.WithResource("volumeattributesclasses")
	grantsResource     = schema.GroupVersionResource{Group: gatewayv1beta1.GroupName, Version: "v1beta1", Resource: "referencegrants"}
)

// diary notes which keys were worked since it was read last.
type diary struct {
	mu    sync.Mutex
	names []string
}

func (d *diary) note(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names = append(d.names, name)
}

// read lets everything that is under way happen first.
func (d *diary) read() []string {
	pass(10 * time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	names := d.names
	slices.Sort(names)
	d.names = nil
	return slices.Compact(names)
}

// watched runs a test with a controller whose loops only note what they are given. Claims fail: from then on they wait for an hour, unless
// there is news for them.
func watched(t *testing.T, objects []runtime.Object, test func(w *world, claims, sources *diary)) {
	t.Helper()
	claims, sources := &diary{}, &diary{}
	inBubble(t, objects, func(w *world) {
		instead(&w.c.claimLoop, func(_ context.Context, key ClaimKey) worker.Result {
			claims.note(key.Name)
			return worker.Backoff(errors.New("waiting"))
		})
		instead(&w.c.sourceLoop, func(_ context.Context, key datasource.Key) worker.Result {
			sources.note(key.String())
			return worker.Done()
		})
	}, func(w *world) {
		claims.read()
		sources.read()
		test(w, claims, sources)
	})
}

func grant(namespace string) *gatewayv1beta1.ReferenceGrant {
	return &gatewayv1beta1.ReferenceGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "grant"}}
}

func TestWhatWakesAClaim(t *testing.T) {
	class := func(c *storagev1.StorageClass) {
		parameters("csi.storage.k8s.io/provisioner-secret-name", "${pvc.annotations['team']}",
			"csi.storage.k8s.io/provisioner-secret-namespace", "far")(c)
		c.Name = "templates"
	}
	ofClass := func(class string) func(*corev1.PersistentVolumeClaim) {
		return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = &class }
	}
	// What there is, in namespace ns.
	world1 := []runtime.Object{
		makeClass(class), makeClass(func(c *storagev1.StorageClass) { c.Name = "slow" }), makeAttributesClass("gold", testDriver),
		makeSnapshot(), makeContent(), makeSource(), makeSourceVolume(), grant("far"),
		makeClaim(called("plain")),
		makeClaim(called("templated"), ofClass("templates")),
		makeClaim(called("attributed"), withAttributes("gold")),
		makeClaim(called("restored"), fromSnapshot),
		makeClaim(called("granted"), fromFarSnapshot),
		makeClaim(called("cloned"), fromClaim),
		makeClaim(called("orphan"), ofClass("absent")),
		makeClaim(called("others"), fromSnapshot, withAttributes("gold"), annotated("volume.kubernetes.io/storage-provisioner", "other")),
		makeClaim(called("done"), fromSnapshot, boundTo("x")),
	}
	claim := func(name string, change func(*corev1.PersistentVolumeClaim)) func(*world) {
		return func(w *world) { update(w, claimsResource, "ns", name, change) }
	}
	storageClass := func(name string, change func(*storagev1.StorageClass)) func(*world) {
		return func(w *world) { update(w, classesResource, "", name, change) }
	}
	snapshot := func(change func(*snapshotv1.VolumeSnapshot)) func(*world) {
		return func(w *world) { update(w, snapshotsResource, "ns", "snap", change) }
	}
	label := func(object metav1.Object) { object.SetLabels(map[string]string{"seen": "yes"}) }
	ofFast := []string{"attributed", "cloned", "granted", "plain", "restored"}
	tests := map[string]struct {
		happens func(*world)
		woken   []string
	}{
		"a claim is resized": {claim("plain", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
		}), []string{"plain"}},
		"a claim gets another class":                    {claim("plain", ofClass("slow")), []string{"plain"}},
		"a claim gets another class, in the annotation": {claim("plain", annotated(corev1.BetaStorageClassAnnotation, "slow")), []string{"plain"}},
		"a claim gets another attributes class":         {claim("attributed", withAttributes("silver")), []string{"attributed"}},
		"a claim gets a node":                           {claim("plain", onNode("n")), []string{"plain"}},
		"a claim is being deleted":                      {claim("plain", deleting), []string{"plain"}},
		"a claim is assigned to us":                     {claim("others", annotated("volume.kubernetes.io/storage-provisioner", testDriver)), []string{"others"}},
		"an annotation that its class names":            {claim("templated", annotated("team", "blue")), []string{"templated"}},
		"an annotation that another class names":        {claim("plain", annotated("team", "blue")), nil},
		"an annotation that nobody names":               {claim("templated", annotated("color", "blue")), nil},
		"an annotation, and the class does not exist":   {claim("orphan", annotated("team", "blue")), nil},
		"a label":                                {claim("plain", func(c *corev1.PersistentVolumeClaim) { label(c) }), nil},
		"a claim's status":                       {claim("plain", func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimPending }), nil},
		"a claim gets its volume":                {claim("plain", boundTo("x")), nil},
		"a claim that has its volume":            {claim("done", onNode("n")), nil},
		"another driver's claim":                 {claim("others", onNode("n")), nil},
		"a claim is made anew between two looks": {claim("plain", func(c *corev1.PersistentVolumeClaim) { c.UID = "new" }), []string{"plain"}},

		"a class comes":                 {func(w *world) { w.add(makeClass(func(c *storagev1.StorageClass) { c.Name = "absent" })) }, []string{"orphan"}},
		"a class is made anew":          {storageClass("fast", func(c *storagev1.StorageClass) { c.UID = "new" }), ofFast},
		"a class gets other parameters": {storageClass("templates", parameters("tier", "gold")), []string{"templated"}},
		"a class that nobody has":       {storageClass("slow", parameters("tier", "gold")), nil},
		"a label of a class":            {storageClass("fast", func(c *storagev1.StorageClass) { label(c) }), nil},

		"an attributes class comes": {func(w *world) { w.add(makeAttributesClass("silver", testDriver)) }, nil},
		"an attributes class is made anew": {func(w *world) {
			update(w, attributesResource, "", "gold", func(c *storagev1.VolumeAttributesClass) { c.UID = "new" })
		}, []string{"attributed"}},
		"a label of an attributes class": {func(w *world) {
			update(w, attributesResource, "", "gold", func(c *storagev1.VolumeAttributesClass) { label(c) })
		}, nil},

		"a snapshot becomes ready":        {snapshot(func(s *snapshotv1.VolumeSnapshot) { s.Status.ReadyToUse = new(false) }), []string{"restored"}},
		"a snapshot is made anew":         {snapshot(func(s *snapshotv1.VolumeSnapshot) { s.UID = "new" }), []string{"restored"}},
		"a snapshot of another name":      {func(w *world) { w.add(makeSnapshot(func(s *snapshotv1.VolumeSnapshot) { s.Name = "other" })) }, nil},
		"a snapshot in another namespace": {func(w *world) { w.add(makeSnapshot(func(s *snapshotv1.VolumeSnapshot) { s.Namespace = "far" })) }, []string{"granted"}},
		"a label of a snapshot":           {snapshot(func(s *snapshotv1.VolumeSnapshot) { label(s) }), nil},
		"our own finalizer on a snapshot": {snapshot(markedSnapshot), nil},

		"a source loses its volume":     {claim("source", func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimLost }), []string{"cloned"}},
		"a source is made anew":         {claim("source", func(c *corev1.PersistentVolumeClaim) { c.UID = "new" }), []string{"cloned"}},
		"a label of a source":           {claim("source", func(c *corev1.PersistentVolumeClaim) { label(c) }), nil},
		"our own finalizer on a source": {claim("source", markedClaim), nil},

		"a grant changes": {func(w *world) {
			update(w, grantsResource, "far", "grant", func(g *gatewayv1beta1.ReferenceGrant) { g.Spec.To = []gatewayv1beta1.ReferenceGrantTo{{}} })
		}, []string{"granted"}},
		"a grant in another namespace": {func(w *world) { w.add(grant("ns")) }, nil},

		"a volume comes": {func(w *world) { w.add(makeVolume()) }, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			watched(t, world1, func(w *world, claims, _ *diary) {
				tt.happens(w)
				if diff := cmp.Diff(tt.woken, claims.read(), cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// Binding takes two writes: first the claim names its volume, then its phase tells. A clone needs the second.
func TestACloneIsWokenWhenItsSourceIsBound(t *testing.T) {
	unbound := makeSource(func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName, c.Status.Phase = "", corev1.ClaimPending }, annotated("volume.kubernetes.io/storage-provisioner", "other"))
	watched(t, []runtime.Object{unbound, makeClaim(fromClaim)}, func(w *world, claims, _ *diary) {
		for _, step := range []func(*corev1.PersistentVolumeClaim){
			boundTo("source-pv"),
			func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimBound },
		} {
			update(w, claimsResource, "ns", "source", step)
			if diff := cmp.Diff([]string{"data"}, claims.read()); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func TestWhatBringsASourceBack(t *testing.T) {
	objects := []runtime.Object{
		makeSnapshot(), makeContent(), makeSource(), makeSourceVolume(),
		makeClaim(called("restored"), fromSnapshot), makeClaim(called("cloned"), fromClaim), makeClaim(called("filled"), fromPopulator), makeClaim(),
	}
	tests := map[string]struct {
		happens func(*world)
		want    []string
	}{
		"a claim gets its volume":              {func(w *world) { w.bind("restored") }, []string{"VolumeSnapshot ns/snap"}},
		"a clone gets its volume":              {func(w *world) { w.bind("cloned") }, []string{"PersistentVolumeClaim ns/source"}},
		"a claim is being deleted":             {func(w *world) { update(w, claimsResource, "ns", "restored", deleting) }, []string{"VolumeSnapshot ns/snap"}},
		"a claim is gone":                      {func(w *world) { _ = w.core.Tracker().Delete(claimsResource, "ns", "cloned") }, []string{"PersistentVolumeClaim ns/source"}},
		"a claim without a source is gone":     {func(w *world) { _ = w.core.Tracker().Delete(claimsResource, "ns", "data") }, nil},
		"what a populator fills is gone":       {func(w *world) { _ = w.core.Tracker().Delete(claimsResource, "ns", "filled") }, nil},
		"a protected snapshot changes":         {func(w *world) { update(w, snapshotsResource, "ns", "snap", markedSnapshot) }, []string{"VolumeSnapshot ns/snap"}},
		"a protected claim changes":            {func(w *world) { update(w, claimsResource, "ns", "source", markedClaim) }, []string{"PersistentVolumeClaim ns/source"}},
		"a snapshot that is not protected":     {func(w *world) { update(w, snapshotsResource, "ns", "snap", snapshotGoes) }, nil},
		"a source claim that is not protected": {func(w *world) { update(w, claimsResource, "ns", "source", deleting) }, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			watched(t, objects, func(w *world, _, sources *diary) {
				tt.happens(w)
				if diff := cmp.Diff(tt.want, sources.read(), cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// An open attempt is looked at whatever becomes of its claim, at the latest when its wait is over.
func TestAnOpenAttemptComesBackWhateverBecomesOfItsClaim(t *testing.T) {
	for name, happens := range map[string]func(*world){
		"it is deleted":    func(w *world) { _ = w.core.Tracker().Delete(claimsResource, "ns", "data") },
		"it gets a volume": func(w *world) { update(w, claimsResource, "ns", "data", boundTo("x")) },
		"it is assigned to another": func(w *world) {
			update(w, claimsResource, "ns", "data", annotated("volume.kubernetes.io/storage-provisioner", "other"))
		},
		"it is made anew between looks": func(w *world) {
			update(w, claimsResource, "ns", "data", func(c *corev1.PersistentVolumeClaim) { c.UID = "new" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var worked []types.UID
			inBubble(t, []runtime.Object{makeClaim()}, func(w *world) {
				instead(&w.c.claimLoop, func(_ context.Context, key ClaimKey) worker.Result {
					mu.Lock()
					defer mu.Unlock()
					worked = append(worked, key.UID)
					return worker.Done()
				})
			}, func(w *world) {
				w.c.attempts.put(testUID, makeAttempt())
				mu.Lock()
				worked = nil
				mu.Unlock()
				happens(w)
				pass(time.Second)
				mu.Lock()
				defer mu.Unlock()
				if !slices.Contains(worked, testUID) {
					t.Errorf("worked: %q", worked)
				}
			})
		})
	}
}

func TestAVolumeThatVanishesWakesItsClaim(t *testing.T) {
	ofData := makeVolume(func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeAvailable })
	forNobody := makeVolume(func(pv *corev1.PersistentVolume) {
		pv.Name, pv.Spec.ClaimRef = "static", nil
		pv.Status.Phase = corev1.VolumeAvailable
	})
	ofAnother := makeVolume(func(pv *corev1.PersistentVolume) {
		pv.Name, pv.Spec.ClaimRef.UID = "old", "old"
		pv.Status.Phase = corev1.VolumeAvailable
	})
	watched(t, []runtime.Object{makeClaim(), ofData, forNobody, ofAnother}, func(w *world, claims, _ *diary) {
		for name, want := range map[string][]string{"static": nil, "old": nil, testVolume: {"data"}} {
			if err := w.core.Tracker().Delete(volumesResource, "", name); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, claims.read(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}

func TestADetachedVolumeIsWorkedAgain(t *testing.T) {
	attachment := func(name string, of *string) *storagev1.VolumeAttachment {
		return &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagev1.VolumeAttachmentSpec{
			NodeName: "n1", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: of}}}
	}
	synctest.Test(t, func(t *testing.T) {
		w := makeWorld(t)
		volumes := &diary{}
		instead(&w.c.volumeLoop, func(_ context.Context, key volumeKey) worker.Result {
			volumes.note(string(key))
			return worker.Done()
		})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, run := range []func(context.Context){w.c.claimLoop.Run, w.c.volumeLoop.Run, w.c.sourceLoop.Run, w.c.bindLoop.Run, w.c.events.loop.Run} {
			running.Go(func() { run(ctx) })
		}
		handler := w.c.attachmentEvents()
		handler.OnDelete(attachment("a", new("pv")))
		handler.OnDelete(attachment("b", nil))
		handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "c", Obj: attachment("c", new("other"))})
		if diff := cmp.Diff([]string{"other", "pv"}, volumes.read()); diff != "" {
			t.Error(diff)
		}
		stop()
		running.Wait()
	})
}

func TestHandlersIgnoreWhatIsNotTheirs(t *testing.T) {
	w := makeWorld(t)
	for name, handler := range map[string]interface {
		OnAdd(object any, inInitialList bool)
		OnUpdate(before, after any)
		OnDelete(object any)
	}{
		"claims": w.c.claimEvents(), "classes": w.c.classEvents(), "attributes classes": w.c.attributesClassEvents(),
		"snapshots": w.c.snapshotEvents(), "grants": w.c.grantEvents(), "volumes": w.c.volumeEvents(), "attachments": w.c.attachmentEvents(),
	} {
		t.Run(name, func(*testing.T) {
			handler.OnAdd("x", true)
			handler.OnUpdate("x", "y")
			handler.OnDelete("x")
		})
	}
}
