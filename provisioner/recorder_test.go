package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// recording runs a recorder against an API server that fails as told, and returns what it wrote.
func recording(t *testing.T, fail func(verb string, nth int32) error, test func(*recorder)) (written []corev1.Event, dropped int32) {
	t.Helper()
	client := fake.NewClientset()
	var calls, drops atomic.Int32
	client.PrependReactor("*", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetVerb() == "list" {
			return false, nil, nil
		}
		if err := fail(action.GetVerb(), calls.Add(1)); err != nil {
			return true, nil, err
		}
		return false, nil, nil
	})
	r := newRecorder(client, "driver_host", "host", idle, func() { drops.Add(1) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.loop.Run(ctx)
	}()
	test(r)
	for waiting := true; waiting; { // longer than a stop would wait
		r.flush()
		r.mu.Lock()
		waiting = len(r.pending) > 0
		r.mu.Unlock()
	}
	cancel()
	<-done
	list, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items, drops.Load()
}

func never(string, int32) error { return nil }

func idle() int { return 0 }

func about(name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: "ns", Name: name, UID: "uid"}
}

func TestABurstOfEventsIsWrittenWhole(t *testing.T) {
	const burst = 3000 // three times what client-go's broadcaster holds
	var written atomic.Int32
	client := fake.NewClientset()
	client.PrependReactor("create", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
		written.Add(1)
		return true, action.(clienttesting.CreateAction).GetObject(), nil
	})
	r := newRecorder(client, "driver_host", "host", idle, func() { t.Error("an event was dropped") })
	for i := range burst {
		r.record(about(fmt.Sprintf("claim-%d", i)), corev1.EventTypeNormal, ReasonProvisioningSucceeded, "done")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { r.loop.Run(ctx) })
	for written.Load() < burst && t.Context().Err() == nil {
		r.flush()
	}
	cancel()
	loop.Wait()
}

func TestTheSameEventAgainIsCounted(t *testing.T) {
	written, _ := recording(t, never, func(r *recorder) {
		for range 3 {
			r.record(about("claim"), corev1.EventTypeWarning, ReasonProvisioningFailed, "no room")
			r.flush()
		}
	})
	if len(written) != 1 || written[0].Count != 3 {
		t.Fatalf("got %d events, want one with a count of 3: %v", len(written), written)
	}
	e := written[0]
	if e.Source.Component != "driver_host" || e.Reason != "ProvisioningFailed" || e.Type != "Warning" || e.InvolvedObject.Name != "claim" || e.Namespace != "ns" {
		t.Errorf("got %+v", e)
	}
}

func TestAnEventOutlivesAnAPIServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		written, dropped := recording(t, func(_ string, nth int32) error {
			switch nth {
			case 1:
				return errors.New("connection refused")
			case 2: // what a starting API server says before it has read its roles
				return apierrors.NewForbidden(corev1.Resource("events"), "e", errors.New("no role"))
			case 3:
				return apierrors.NewTooManyRequests("slow down", 1)
			}
			return nil
		}, func(r *recorder) {
			r.record(about("claim"), corev1.EventTypeNormal, ReasonProvisioningSucceeded, "done")
		})
		if len(written) != 1 || dropped != 0 {
			t.Fatalf("%d events written, %d dropped", len(written), dropped)
		}
		if written[0].Count != 1 {
			t.Errorf("one event that was tried four times is counted %d times", written[0].Count)
		}
	})
}

func TestAnEventForANamespaceThatGoesIsDroppedAndCounted(t *testing.T) {
	written, dropped := recording(t, func(string, int32) error {
		err := apierrors.NewForbidden(corev1.Resource("events"), "e", errors.New("the namespace is being terminated"))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
		return err
	}, func(r *recorder) {
		r.record(about("claim"), corev1.EventTypeNormal, ReasonProvisioningSucceeded, "done")
	})
	if len(written) != 0 || dropped != 1 {
		t.Errorf("%d events written, %d dropped, want one dropped", len(written), dropped)
	}
}

func TestEventsThatWaitAreBounded(t *testing.T) {
	var drops atomic.Int32
	r := newRecorder(fake.NewClientset(), "c", "h", idle, func() { drops.Add(1) }) // not running: nothing is written
	for range maxPendingEvents + 5 {
		r.record(about("claim"), corev1.EventTypeNormal, "R", "m")
	}
	if got := drops.Load(); got != 5 {
		t.Errorf("%d dropped, want 5", got)
	}
}

func TestEventsFitTheServersLimits(t *testing.T) {
	written, _ := recording(t, never, func(r *recorder) {
		r.record(&corev1.ObjectReference{Kind: "PersistentVolume", Name: "pv", UID: "u"}, corev1.EventTypeWarning, "R", strings.Repeat("x", 5000))
	})
	if len(written) != 1 || len(written[0].Message) != 1024 || written[0].Namespace != "default" {
		t.Errorf("got %d events: %v", len(written), written)
	}
}

func TestInABurstGoodNewsWaitsAndBadNewsDoesNot(t *testing.T) {
	now, load := time.Unix(1000, 0), burst
	client := fake.NewClientset()
	r := newRecorder(client, "c", "h", func() int { return load }, func() {})
	r.now = func() time.Time { return now }
	written := func(want ...string) {
		t.Helper()
		for id := range r.next {
			r.write(t.Context(), id+1)
		}
		list, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range list.Items {
			got = append(got, e.InvolvedObject.Name)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	r.record(about("bad"), corev1.EventTypeWarning, "R", "m")
	r.record(about("slow"), corev1.EventTypeNormal, ReasonProvisioning, "m")
	r.record(about("good"), corev1.EventTypeNormal, ReasonProvisioningSucceeded, "m")
	written("bad", "slow")
	now = now.Add(deferral)
	written("bad", "good", "slow")
	r.record(about("later"), corev1.EventTypeNormal, ReasonProvisioningSucceeded, "m")
	load = burst - 1
	written("bad", "good", "later", "slow")
}

func TestFlushGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(fake.NewClientset(), "c", "h", idle, func() {})
		r.record(about("claim"), corev1.EventTypeNormal, "R", "m")
		start := time.Now()
		r.flush()
		if took := time.Since(start); took != flushTimeout {
			t.Errorf("gave up after %s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r.loop.Run(ctx)
	})
}
