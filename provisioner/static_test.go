package provisioner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/internal/worker"
)

// onShelf is an Available volume of nobody's driver that fits the default claim.
func onShelf(changes ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	mode := corev1.PersistentVolumeFilesystem
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "shelf", UID: "shelf-uid"},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "fast", VolumeMode: &mode, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/data"}},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable},
	}
	for _, change := range changes {
		change(pv)
	}
	return pv
}

// admitted is a claim as the webhook makes it: the annotations of the controller-manager, before that one has seen it.
func admitted(claim *corev1.PersistentVolumeClaim) {
	claim.Annotations = map[string]string{
		"volume.kubernetes.io/storage-provisioner":      testDriver,
		"volume.beta.kubernetes.io/storage-provisioner": testDriver,
		testDriver + "/topology-hint":                   "v1;zone=a",
	}
	claim.Status.Phase = corev1.ClaimPending
}

func (w *world) creates() int {
	creates, _ := w.driver.calls()
	return creates
}

// The annotations that admission writes are all that provisioning waits for: no event of the controller-manager's, no other change of the claim.
func TestAClaimThatAdmissionAnnotatedIsProvisionedAtOnce(t *testing.T) {
	inBubble(t, nil, nil, func(w *world) {
		w.add(makeClaim(admitted))
		pass(100 * time.Millisecond)
		if got := w.creates(); got != 1 {
			t.Errorf("%d calls", got)
		}
	})
}

func TestAClaimIsLeftToTheBinderForAWhile(t *testing.T) {
	claimed := func(name string, uid types.UID) func(*world) {
		return func(w *world) {
			update(w, volumesResource, "", "shelf", func(pv *corev1.PersistentVolume) {
				pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: name, UID: uid}
				pv.Status.Phase = corev1.VolumeBound
			})
		}
	}
	tests := map[string]struct {
		volume  *corev1.PersistentVolume
		happens func(*world) // after ten seconds
		calls   int          // at once
		later   int          // after another thirty seconds
	}{
		"nothing happens": {onShelf(), func(*world) {}, 0, 1},
		"the volume becomes available": {onShelf(func(pv *corev1.PersistentVolume) { pv.Status.Phase = "" }), func(w *world) {
			update(w, volumesResource, "", "shelf", func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeAvailable })
		}, 0, 1},
		"another claim gets the volume": {onShelf(), claimed("other", "other-uid"), 1, 1},
		"the volume is deleted":         {onShelf(), func(w *world) { w.remove(volumesResource, "", "shelf") }, 1, 1},
		"the volume fails": {onShelf(), func(w *world) {
			update(w, volumesResource, "", "shelf", func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeFailed })
		}, 1, 1},
		"the volume shrinks to another one": {onShelf(), func(w *world) {
			update(w, volumesResource, "", "shelf", func(pv *corev1.PersistentVolume) { pv.Spec.StorageClassName = "slow" })
		}, 1, 1},
		"the claim is bound to it": {onShelf(), func(w *world) {
			claimed("data", testUID)(w)
			update(w, claimsResource, "ns", "data", boundTo("shelf"))
		}, 0, 0},
		"the claim is deleted": {onShelf(), func(w *world) { w.remove(claimsResource, "ns", "data") }, 0, 0},
		"it is for the claim, and too small": {onShelf(reservedFor("data"), func(pv *corev1.PersistentVolume) {
			pv.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("1Mi")
		}), func(*world) {}, 0, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []runtime.Object{tt.volume, makeClaim(admitted)}, nil, func(w *world) {
				pass(9 * time.Second)
				if got := w.creates(); got != 0 {
					t.Fatalf("%d calls while there is a volume", got)
				}
				tt.happens(w)
				pass(time.Second)
				if got := w.creates(); got != tt.calls {
					t.Errorf("%d calls at once, want %d", got, tt.calls)
				}
				pass(30 * time.Second)
				if got := w.creates(); got != tt.later {
					t.Errorf("%d calls in the end, want %d", got, tt.later)
				}
				if len(w.c.left.by) > 0 {
					t.Errorf("somebody still waits: %v", w.c.left.by)
				}
			})
		})
	}
}

func reservedFor(claim string) func(*corev1.PersistentVolume) {
	return func(pv *corev1.PersistentVolume) {
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: claim}
	}
}

// remove takes an object away, as somebody else does.
func (w *world) remove(resource schema.GroupVersionResource, namespace, name string) {
	w.t.Helper()
	if err := w.core.Tracker().Delete(resource, namespace, name); err != nil {
		w.t.Fatal(err)
	}
}

func TestAClaimIsLeftToTheBinderOnce(t *testing.T) {
	inBubble(t, []runtime.Object{onShelf(reservedFor("data")), makeClaim(admitted)}, func(w *world) {
		w.driver.answer = func(nth int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
			if nth < 4 {
				return nil, status.Error(codes.Internal, "words")
			}
			return asAsked(request), nil
		}
	}, func(w *world) {
		pass(29500 * time.Millisecond) // the world is a second old
		if got := w.creates(); got != 1 {
			t.Fatalf("%d calls after 30 seconds", got)
		}
		pass(8 * time.Second) // 1 + 2 + 4
		if got := w.creates(); got != 4 {
			t.Errorf("%d calls after 38 seconds: it waits for the binder again at each try", got)
		}
		update(w, claimsResource, "ns", "data", boundTo(testVolume))
		pass(time.Second)
		told := slices.DeleteFunc(w.events(), func(event string) bool { return !strings.HasPrefix(event, "Normal Provisioning:") })
		if want := `Normal Provisioning: PersistentVolume "shelf" is there for the claim, but was not bound to it within 30s: another volume is created`; len(told) != 1 || told[0] != want {
			t.Errorf("people were told %q", told)
		}
		if len(w.c.left.claims) > 0 {
			t.Errorf("a claim that has its volume is remembered: %v", w.c.left.claims)
		}
	})
}

func TestWhoIsNotLeftToTheBinder(t *testing.T) {
	for name, tt := range map[string]struct {
		claim  func(*corev1.PersistentVolumeClaim)
		class  func(*storagev1.StorageClass)
		volume func(*corev1.PersistentVolume)
	}{
		"a claim that the scheduler has a node for": {onNode("n1"), waitForFirstConsumer, func(*corev1.PersistentVolume) {}},
		"a claim that no volume fits":               {admitted, func(*storagev1.StorageClass) {}, func(pv *corev1.PersistentVolume) { pv.Spec.StorageClassName = "slow" }},
		"a claim whose namesake had a volume":       {admitted, func(*storagev1.StorageClass) {}, func(pv *corev1.PersistentVolume) { reservedFor("data")(pv); pv.Spec.ClaimRef.UID = "old" }},
	} {
		t.Run(name, func(t *testing.T) {
			w := makeWorld(t, makeClaim(tt.claim))
			w.cached(makeClaim(tt.claim))
			if err := w.c.classes.GetIndexer().Update(makeClass(tt.class)); err != nil {
				t.Fatal(err)
			}
			if err := w.c.volumes.GetIndexer().Add(onShelf(tt.volume)); err != nil {
				t.Fatal(err)
			}
			w.c.workClaim(t.Context(), keyOf(makeClaim()))
			if got := w.creates(); got != 1 {
				t.Errorf("%d calls", got)
			}
		})
	}
}

// Between the decision and the call the attempt goes on record, which can take long. What appears meanwhile counts.
func TestAVolumeThatAppearsBeforeTheCallCounts(t *testing.T) {
	w := makeWorld(t, makeClaim(admitted))
	w.cached(makeClaim(admitted))
	key := keyOf(makeClaim())
	in, err := w.c.gatherClaim(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	decided, ok := Decide(in).(Create)
	if !ok {
		t.Fatalf("decided %T", Decide(in))
	}
	if err := w.c.volumes.GetIndexer().Add(onShelf()); err != nil {
		t.Fatal(err)
	}
	result := w.c.create(t.Context(), key, decided.Attempt, nil)
	if w.creates() != 0 || w.c.attempts.count() != 0 || result.Retries() || len(w.c.left.waitingFor("shelf")) != 1 {
		t.Errorf("%d calls, %d open attempts, %s", w.creates(), w.c.attempts.count(), result)
	}
}

// A thousand claims that wait for one volume are all woken when it is taken, and no other claim is.
func TestManyClaimsWaitForOneVolume(t *testing.T) {
	l := newLeft()
	for i := range 1000 {
		l.to(ClaimKey{Name: fmt.Sprint(i), UID: types.UID(fmt.Sprint(i))}, "shelf")
	}
	l.to(ClaimKey{Name: "x", UID: "x"}, "other")
	l.to(ClaimKey{Name: "0", UID: "0"}, "other")
	l.noLonger("1")
	l.forget("2")
	if got := len(l.waitingFor("shelf")); got != 997 {
		t.Errorf("%d claims wait", got)
	}
	if got := len(l.waitingFor("other")); got != 2 {
		t.Errorf("%d claims wait for the other one", got)
	}
	if l.howLong("1") == 0 || l.howLong("2") != 0 {
		t.Error("a claim that went on is remembered, one without a volume is not")
	}
	for i := range 1000 {
		l.forget(types.UID(fmt.Sprint(i)))
	}
	l.forget("x")
	if len(l.by) > 0 || len(l.claims) > 0 {
		t.Errorf("left over: %v, %v", l.by, l.claims)
	}
}

// What was decided may be out of date when the claim begins to wait: nobody wakes it for what happened before.
func TestAClaimDoesNotWaitForWhatHappenedAlready(t *testing.T) {
	worked := &diary{}
	inBubble(t, nil, func(w *world) {
		instead(&w.c.claimLoop, func(_ context.Context, key ClaimKey) worker.Result {
			worked.note(key.Name)
			return worker.Done()
		})
	}, func(w *world) {
		in := makeInput(claimIs(admitted), staticIs("shelf", 0))
		w.c.leaveToBinder(keyOf(in.Claim), in, LeaveToBinder{Volume: "shelf", For: binderPatience}) // it is gone already
		if got := worked.read(); len(got) != 1 {
			t.Errorf("looked at again: %v", got)
		}
	})
}
