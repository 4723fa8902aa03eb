package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// A tracker writes down when things became visible to a client: the PV of each claim, the claim Bound, the PV gone. It
// watches full objects in protobuf, because the API server encodes an event once for all who watch in that form, and
// keeps nothing of them but names and times.
type tracker struct {
	mu      sync.Mutex
	pv      map[string]time.Time // by claim
	bound   map[string]time.Time // by claim
	gone    map[string]time.Time // by claim
	claimOf map[string]string    // by PV
	failure error
	changes int // grows with everything seen

	following sync.WaitGroup
}

func newTracker() *tracker {
	return &tracker{
		pv: map[string]time.Time{}, bound: map[string]time.Time{}, gone: map[string]time.Time{},
		claimOf: map[string]string{},
	}
}

// watch follows the claims of the bench and all PVs from now on, until ctx is done.
func (t *tracker) watch(ctx context.Context, client kubernetes.Interface) error {
	claims := client.CoreV1().PersistentVolumeClaims(benchNamespace)
	claimList, err := claims.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("list claims: %w", err)
	}
	volumes := client.CoreV1().PersistentVolumes()
	volumeList, err := volumes.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	t.following.Go(func() { t.follow(ctx, claims.Watch, claimList.ResourceVersion) })
	t.following.Go(func() { t.follow(ctx, volumes.Watch, volumeList.ResourceVersion) })
	return nil
}

// wait returns when the watches have ended, as they do after their context.
func (t *tracker) wait() { t.following.Wait() }

// follow ends with ctx, or with a failure that everybody who waits is told.
func (t *tracker) follow(ctx context.Context, start startWatch, resourceVersion string) {
	err := follow(ctx, start, resourceVersion, func(event watch.Event) { t.observe(event, time.Now()) })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failure = errors.Join(t.failure, err)
}

func (t *tracker) observe(event watch.Event, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch object := event.Object.(type) {
	case *corev1.PersistentVolumeClaim:
		if event.Type == watch.Deleted || object.Status.Phase != corev1.ClaimBound {
			return
		}
		if !setOnce(t.bound, object.Name, now) {
			return
		}
	case *corev1.PersistentVolume:
		if !t.observeVolume(event.Type, object, now) {
			return
		}
	default:
		return
	}
	t.changes++
}

func (t *tracker) observeVolume(kind watch.EventType, volume *corev1.PersistentVolume, now time.Time) bool {
	if ref := volume.Spec.ClaimRef; ref != nil && ref.Namespace == benchNamespace {
		t.claimOf[volume.Name] = ref.Name
	}
	claim, ok := t.claimOf[volume.Name]
	if !ok {
		return false
	}
	if kind == watch.Deleted {
		return setOnce(t.gone, claim, now)
	}
	return setOnce(t.pv, claim, now)
}

func setOnce(times map[string]time.Time, key string, now time.Time) bool {
	if _, ok := times[key]; ok {
		return false
	}
	times[key] = now
	return true
}

// A seen is a copy of what the tracker knows, by claim.
type seen struct{ pv, bound, gone map[string]time.Time }

// counts says how far the given claims are.
func (t *tracker) counts(claims []string) (pvs, bound, gone int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, claim := range claims {
		if _, ok := t.pv[claim]; ok {
			pvs++
		}
		if _, ok := t.bound[claim]; ok {
			bound++
		}
		if _, ok := t.gone[claim]; ok {
			gone++
		}
	}
	return pvs, bound, gone
}

// times returns when each of the claims got where; claims that have not are absent.
func (t *tracker) times(claims []string) seen {
	t.mu.Lock()
	defer t.mu.Unlock()
	pick := func(from map[string]time.Time) map[string]time.Time {
		out := make(map[string]time.Time, len(claims))
		for _, claim := range claims {
			if at, ok := from[claim]; ok {
				out[claim] = at
			}
		}
		return out
	}
	return seen{pv: pick(t.pv), bound: pick(t.bound), gone: pick(t.gone)}
}

// trackerPoll is how often await looks. It only delays the end of waiting: the times come from the watch.
const trackerPoll = 20 * time.Millisecond

// await waits until done says so. It gives up when nothing at all has happened for the time of stall, because how long
// the whole takes is what is being measured; describe says what was missing.
func (t *tracker) await(ctx context.Context, stall time.Duration, done func() bool, describe func() string) error {
	ticker := time.NewTicker(trackerPoll)
	defer ticker.Stop()
	seen, since := -1, time.Now()
	for {
		changes, err := t.progress()
		switch {
		case err != nil:
			return err
		case changes != seen:
			seen, since = changes, time.Now()
			if done() {
				return nil
			}
		case time.Since(since) > stall:
			return fmt.Errorf("nothing happened for %s: %s", stall, describe())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), describe())
		}
	}
}

func (t *tracker) progress() (changes int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changes, t.failure
}

// latest is the last of the times after start, in seconds.
func latest(times map[string]time.Time, start time.Time) float64 {
	last := start
	for _, at := range times {
		if at.After(last) {
			last = at
		}
	}
	return last.Sub(start).Seconds()
}

// spans are the times from each claim's start to its end, for the claims that have both.
func spans(start, end map[string]time.Time) []time.Duration {
	out := make([]time.Duration, 0, len(end))
	for claim, at := range end {
		if from, ok := start[claim]; ok {
			out = append(out, at.Sub(from))
		}
	}
	return out
}
