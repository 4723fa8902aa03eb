package provisioner

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func restored(a *Attempt) { a.restored = true }

func kept(a *Attempt) {
	a.Template.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
}

// What a leader before began may have been stored, used, and taken over by people since.
func TestDecideOnAttemptsOfALeaderBefore(t *testing.T) {
	referring := func(in *Input) {
		in.Referring = makeVolume(func(pv *corev1.PersistentVolume) { pv.Name = "taken-over" })
	}
	condemned := func(a *Attempt) { a.condemned = "it was to go" }
	tests := map[string]struct {
		in   Input
		want string
	}{
		"its volume goes with its claim":                {makeInput(attemptIs(created, restored), noClaim), "clean up handle-1: the claim was deleted"},
		"its volume is to be kept":                      {makeInput(attemptIs(created, restored, kept), noClaim), "store handle-1"},
		"to be kept, the claim is being deleted":        {makeInput(attemptIs(created, restored, kept), claimIs(deleting)), "store handle-1"},
		"to be kept, the claim is bound elsewhere":      {makeInput(attemptIs(created, restored, kept), claimIs(boundTo("x"))), "store handle-1"},
		"to be kept, but too small":                     {makeInput(attemptIs(created, restored, kept, func(a *Attempt) { a.Unwanted = "too small" }), noClaim), "clean up handle-1: too small"},
		"of this leader, to be kept, but never stored":  {makeInput(attemptIs(created, kept), noClaim), "clean up handle-1: the claim was deleted"},
		"another object refers to its volume":           {makeInput(attemptIs(created, restored), noClaim, referring), "settle handle-1"},
		"the driver was asked to delete it already":     {makeInput(attemptIs(created, condemned)), "clean up handle-1: it was to go"},
		"asked to delete it, and the claim is back":     {makeInput(attemptIs(created, restored, kept, condemned)), "clean up handle-1: it was to go"},
		"its outcome is not known, whatever is kept":    {makeInput(attemptIs(restored, kept), noClaim), "create " + testVolume},
		"the claim waits for it as if nothing happened": {makeInput(attemptIs(created, restored)), "store handle-1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketch(Decide(tt.in)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// To the cache the claim waits for a volume. It was bound to one, whose object is gone, and deleted.
func TestAClaimWhoseVolumeIsGoneIsReadItself(t *testing.T) {
	for name, tt := range map[string]struct {
		live    *corev1.PersistentVolumeClaim
		creates int
	}{
		"it is gone, too":        {nil, 0},
		"it is another one":      {makeClaim(func(claim *corev1.PersistentVolumeClaim) { claim.UID = "another" }), 0},
		"it is bound":            {makeClaim(boundTo(testVolume)), 0},
		"it still waits for one": {makeClaim(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := makeWorld(t)
			w.c.journal = nil
			w.cached(makeClaim())
			if tt.live != nil {
				w.add(tt.live)
			}
			w.c.volumeVanished(makeVolume(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = claimReference(makeClaim()) }))
			w.c.workClaim(t.Context(), keyOf(makeClaim()))
			if creates, _ := w.driver.calls(); creates != tt.creates {
				t.Errorf("the driver was asked %d times, want %d", creates, tt.creates)
			}
		})
	}
}

// An object of ours that is being deleted proves that the volume was stored.
func TestAnObjectThatIsBeingDeletedWasWritten(t *testing.T) {
	now := metav1.Now()
	client := fake.NewClientset(stored(func(pv *corev1.PersistentVolume) { pv.DeletionTimestamp = &now }))
	c := makeController(t, client)
	attempt := makeAttempt(created)
	c.attempts.put(testUID, attempt)
	if !c.store(t.Context(), keyOf(makeClaim()), attempt).Retries() || !attempt.maybeWritten || c.attempts.get(testUID) == nil {
		t.Errorf("open %v, maybe written %v", c.attempts.get(testUID) != nil, attempt.maybeWritten)
	}
}
