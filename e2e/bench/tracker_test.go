package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

func claimEvent(name string, phase corev1.PersistentVolumeClaimPhase) watch.Event {
	return watch.Event{Type: watch.Modified, Object: &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: benchNamespace},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: phase},
	}}
}

func volumeEvent(kind watch.EventType, name, namespace, claim string) watch.Event {
	return watch.Event{Type: kind, Object: &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: namespace, Name: claim}},
	}}
}

func TestTrackerKeepsTheFirstTimeOfEach(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	second := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	tracker := newTracker()
	for i, event := range []watch.Event{
		claimEvent("a", corev1.ClaimPending),
		volumeEvent(watch.Added, "pv-a", benchNamespace, "a"),
		volumeEvent(watch.Modified, "pv-a", benchNamespace, "a"),
		claimEvent("a", corev1.ClaimBound),
		claimEvent("a", corev1.ClaimBound),
		volumeEvent(watch.Added, "pv-other", "elsewhere", "a"),
		volumeEvent(watch.Added, "pv-b", benchNamespace, "b"),
		volumeEvent(watch.Deleted, "pv-a", benchNamespace, "a"),
	} {
		tracker.observe(event, second(i))
	}
	got := tracker.times([]string{"a", "b", "c"})
	want := seen{
		pv:    map[string]time.Time{"a": second(1), "b": second(6)},
		bound: map[string]time.Time{"a": second(3)},
		gone:  map[string]time.Time{"a": second(7)},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := latest(got.pv, start); got != 6 {
		t.Errorf("last PV after %v s, want 6", got)
	}
	if diff := cmp.Diff([]time.Duration{2 * time.Second}, spans(got.pv, got.bound)); diff != "" {
		t.Errorf("PV to Bound (-want +got):\n%s", diff)
	}
}

func TestTrackerAwait(t *testing.T) {
	bound := func(tracker *tracker, n int) func() bool {
		return func() bool {
			_, bound, _ := tracker.counts([]string{"a", "b"})
			return bound == n
		}
	}
	describe := func() string { return "1 of 2" }

	t.Run("ends when it is done", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tracker := newTracker()
			go func() {
				for _, name := range []string{"a", "b"} {
					<-time.After(50 * time.Second)
					tracker.observe(claimEvent(name, corev1.ClaimBound), time.Now())
				}
			}()
			if err := tracker.await(t.Context(), time.Minute, bound(tracker, 2), describe); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("gives up when nothing happens any more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tracker := newTracker()
			tracker.observe(claimEvent("a", corev1.ClaimBound), time.Now())
			err := tracker.await(t.Context(), time.Minute, bound(tracker, 2), describe)
			if err == nil || !strings.Contains(err.Error(), "nothing happened for 1m0s: 1 of 2") {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("says why it was told to stop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			reason := errors.New("the subject ended")
			cancel(reason)
			err := newTracker().await(ctx, time.Minute, func() bool { return false }, describe)
			if !errors.Is(err, reason) {
				t.Errorf("error %v, want %v", err, reason)
			}
		})
	})
	t.Run("a broken watch is an error", func(t *testing.T) {
		tracker := newTracker()
		server := &watches{events: [][]watch.Event{{{Type: watch.Error, Object: &metav1.Status{Message: "too old"}}}}}
		tracker.follow(t.Context(), server.start, "1")
		err := tracker.await(t.Context(), time.Minute, func() bool { return false }, describe)
		if err == nil || !strings.Contains(err.Error(), "too old") {
			t.Errorf("error %v", err)
		}
	})
}
