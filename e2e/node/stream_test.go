//go:build node

package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-csi/berth/e2e/harness"
)

// stream creates one claim after another until it is stopped, while something happens to Berth, and keeps when each was created and bound.
type stream struct {
	s    *story
	stop context.CancelFunc
	done sync.WaitGroup

	mu         sync.Mutex
	created    map[string]time.Time
	bound      map[string]time.Time
	unreviewed []string
	errs       []error
}

// pace is how often a claim is created: often enough to see a gap, and slow enough to leave the machine to what happens.
const pace = 150 * time.Millisecond

// streams begins a stream of claims with Immediate binding.
func (s *story) streams() *stream {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	r := &stream{s: s, stop: stop, created: map[string]time.Time{}, bound: map[string]time.Time{}}
	r.follow(ctx)
	r.done.Go(func() {
		ticker := time.NewTicker(pace)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				r.create(ctx, fmt.Sprintf("stream-%04d", n))
			}
		}
	})
	s.t.Cleanup(func() {
		stop()
		r.done.Wait()
	})
	return r
}

func (r *stream) create(ctx context.Context, name string) {
	begin := time.Now()
	claim, err := r.s.Client().CoreV1().PersistentVolumeClaims(r.s.namespace).Create(ctx, harness.Claim(r.s.namespace, name, r.s.name), metav1.CreateOptions{})
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.errs = append(r.errs, err)
	default:
		r.created[name] = begin
		if claim.Annotations["volume.kubernetes.io/storage-provisioner"] != r.s.driver {
			r.unreviewed = append(r.unreviewed, name)
		}
	}
}

// follow keeps when claims become bound, as a watch tells it.
func (r *stream) follow(ctx context.Context) {
	lw := cache.NewListWatchFromClient(r.s.Client().CoreV1().RESTClient(), "persistentvolumeclaims", r.s.namespace, fields.Everything())
	informer := cache.NewSharedIndexInformer(lw, &corev1.PersistentVolumeClaim{}, 0, nil)
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, object any) {
		claim := object.(*corev1.PersistentVolumeClaim)
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, known := r.bound[claim.Name]; !known && claim.Status.Phase == corev1.ClaimBound {
			r.bound[claim.Name] = time.Now()
		}
	}})
	must(r.s.t, err)
	r.done.Go(func() { informer.RunWithContext(ctx) })
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		r.s.t.Fatal("claims cannot be watched")
	}
}

// figures are what a stream has come to.
type figures struct {
	Claims     int
	Errors     []string
	Unreviewed []string
	Unbound    []string
	// Gap is the longest time in which no claim was bound, Slowest the longest that one took.
	Gap, Slowest time.Duration
}

func (f figures) String() string {
	return fmt.Sprintf("%d claims, %d refused, %d let in unreviewed, %d not bound; longest gap between two bound %s, slowest claim %s",
		f.Claims, len(f.Errors), len(f.Unreviewed), len(f.Unbound), f.Gap.Round(time.Millisecond), f.Slowest.Round(time.Millisecond))
}

// ends stops creating, waits until all claims are bound, deletes them, and says what it has come to.
func (r *stream) ends() figures {
	r.s.t.Helper()
	seen := func() figures {
		r.mu.Lock()
		defer r.mu.Unlock()
		return summary(r.created, r.bound, r.errs, r.unreviewed)
	}
	r.mu.Lock()
	last := slices.Collect(maps.Keys(r.created))
	r.mu.Unlock()
	// What was going on has had its effect on claims that came after it, too.
	must(r.s.t, harness.Eventually(r.s.t.Context(), "all are bound, and ten more claims made", func(context.Context) error {
		f := seen()
		if f.Claims < len(last)+10 || slices.ContainsFunc(last, func(name string) bool { return slices.Contains(f.Unbound, name) }) {
			return fmt.Errorf("%s", f)
		}
		return nil
	}))
	f := seen() // while it still runs: stopping is a gap, too
	r.stop()
	r.done.Wait()
	r.s.t.Logf("stream: %s", f)
	must(r.s.t, r.s.Client().CoreV1().PersistentVolumeClaims(r.s.namespace).DeleteCollection(r.s.t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	_, err := harness.WatchVolumes(r.s.t.Context(), r.s.Client(), func(there harness.Seen[*corev1.PersistentVolume]) bool {
		for _, volume := range there {
			if volume.Spec.ClaimRef != nil && volume.Spec.ClaimRef.Namespace == r.s.namespace {
				return false
			}
		}
		return true
	})
	must(r.s.t, err)
	return f
}

func summary(created, bound map[string]time.Time, errs []error, unreviewed []string) figures {
	f := figures{Claims: len(created), Unreviewed: unreviewed}
	for _, err := range errs {
		f.Errors = append(f.Errors, err.Error())
	}
	var times []time.Time
	for name, begin := range created {
		end, ok := bound[name]
		if !ok {
			f.Unbound = append(f.Unbound, name)
			continue
		}
		times = append(times, end)
		f.Slowest = max(f.Slowest, end.Sub(begin))
	}
	slices.SortFunc(times, time.Time.Compare)
	for i := 1; i < len(times); i++ {
		f.Gap = max(f.Gap, times[i].Sub(times[i-1]))
	}
	return f
}

// unharmed is what a stream must have come to that lost nothing but time.
func (r *stream) unharmed() figures {
	r.s.t.Helper()
	f := r.ends()
	if len(f.Errors) > 0 {
		r.s.t.Errorf("claims were refused: %s", strings.Join(f.Errors, "; "))
	}
	return f
}
