package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

const claimPrefix = "claim"

// warmImmediate sees one claim through its whole life, so that the subject leads, has its caches and its connections
// before the clock starts.
func warmImmediate(ctx context.Context, e *environment) error {
	names := []string{"warm"}
	if err := createClaims(ctx, e, names, classImmediate, nil); err != nil {
		return err
	}
	if err := e.awaitBound(ctx, names); err != nil {
		return err
	}
	if err := deleteClaims(ctx, e, names); err != nil {
		return err
	}
	return e.awaitGone(ctx, names)
}

// runCreate creates all claims as fast as it can and waits until each is Bound.
func runCreate(ctx context.Context, e *environment, o Options) ([]reading, error) {
	return measureCreate(ctx, e, claimNames(o.Claims))
}

// runCreateStock is runCreate where the controller-manager has its stock limits. The warm-up has used some of what it may ask for at
// once, which comes back while the subject is left alone.
func runCreateStock(ctx context.Context, e *environment, o Options) ([]reading, error) {
	return measureCreate(ctx, e, claimNames(o.StockClaims))
}

// runSingleStock makes claims one after another, each when the one before it is Bound.
func runSingleStock(ctx context.Context, e *environment, o Options) ([]reading, error) {
	names := claimNames(o.WFFCClaims)
	m, err := beginMeasurement(ctx, e)
	if err != nil {
		return nil, err
	}
	started := newStopwatch()
	for _, name := range names {
		if err := createClaims(ctx, e, []string{name}, classImmediate, started); err != nil {
			return nil, err
		}
		if err := e.awaitBound(ctx, []string{name}); err != nil {
			return nil, err
		}
	}
	seen := e.tracker.times(names)
	toPV, toBound := spans(started.times, seen.pv), spans(started.times, seen.bound)
	readings := []reading{
		{"p50_seconds", unitSeconds, percentile(toPV, 50)},
		{"p99_seconds", unitSeconds, percentile(toPV, 99)},
		{"bound_p50_seconds", unitSeconds, percentile(toBound, 50)},
		{"bound_p99_seconds", unitSeconds, percentile(toBound, 99)},
	}
	costs, err := m.end(ctx, account{claims: names, method: harness.CreateVolume, events: e.subject.events})
	return append(readings, costs...), err
}

// runBehindStock makes one claim when many are under way, and waits for the PV of that one.
func runBehindStock(ctx context.Context, e *environment, o Options) ([]reading, error) {
	started, name := newStopwatch(), []string{"behind"}
	if err := createClaims(ctx, e, claimNames(o.Claims), classImmediate, nil); err != nil {
		return nil, err
	}
	if err := createClaims(ctx, e, name, classImmediate, started); err != nil {
		return nil, err
	}
	err := e.await(ctx,
		func() bool {
			pvs, _, _ := e.tracker.counts(name)
			return pvs == 1
		},
		func() string { return "the claim behind the others has no PV" })
	if err != nil {
		return nil, err
	}
	return []reading{{"single_pv_seconds", unitSeconds, percentile(spans(started.times, e.tracker.times(name).pv), 50)}}, nil
}

func measureCreate(ctx context.Context, e *environment, names []string) ([]reading, error) {
	m, err := beginMeasurement(ctx, e)
	if err != nil {
		return nil, err
	}
	started := newStopwatch()
	if err := createClaims(ctx, e, names, classImmediate, started); err != nil {
		return nil, err
	}
	if err := e.awaitBound(ctx, names); err != nil {
		return nil, err
	}
	seen := e.tracker.times(names)
	toPV := spans(started.times, seen.pv)
	readings := []reading{
		{"last_pv_seconds", unitSeconds, latest(seen.pv, m.start)},
		{"last_bound_seconds", unitSeconds, latest(seen.bound, m.start)},
		{"p50_seconds", unitSeconds, percentile(toPV, 50)},
		{"p99_seconds", unitSeconds, percentile(toPV, 99)},
	}
	costs, err := m.end(ctx, account{claims: names, method: harness.CreateVolume, events: e.subject.events})
	return append(readings, costs...), err
}

// runDelete deletes the claims that runCreate made and waits until each PV is gone.
func runDelete(ctx context.Context, e *environment, o Options) ([]reading, error) {
	names := claimNames(o.Claims)
	m, err := beginMeasurement(ctx, e)
	if err != nil {
		return nil, err
	}
	if err := deleteClaims(ctx, e, names); err != nil {
		return nil, err
	}
	if err := e.awaitGone(ctx, names); err != nil {
		return nil, err
	}
	readings := []reading{
		{"last_pv_gone_seconds", unitSeconds, latest(e.tracker.times(names).gone, m.start)},
	}
	costs, err := m.end(ctx, account{claims: names, method: harness.DeleteVolume})
	return append(readings, costs...), err
}

// A stopwatch notes when each name was started. The zero value is not usable, a nil one notes nothing.
type stopwatch struct {
	mu    sync.Mutex
	times map[string]time.Time
}

func newStopwatch() *stopwatch { return &stopwatch{times: map[string]time.Time{}} }

func (s *stopwatch) start(name string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times[name] = time.Now()
}

func createClaims(ctx context.Context, e *environment, names []string, class string, started *stopwatch) error {
	claims := e.client.CoreV1().PersistentVolumeClaims(benchNamespace)
	return inParallel(ctx, names, func(ctx context.Context, name string) error {
		claim := harness.Claim(benchNamespace, name, class)
		started.start(name)
		if _, err := claims.Create(ctx, claim, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create claim %s: %w", name, err)
		}
		return nil
	})
}

func deleteClaims(ctx context.Context, e *environment, names []string) error {
	claims := e.client.CoreV1().PersistentVolumeClaims(benchNamespace)
	return inParallel(ctx, names, func(ctx context.Context, name string) error {
		if err := claims.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("delete claim %s: %w", name, err)
		}
		return nil
	})
}

// awaitBound waits until each claim is Bound and has its PV.
func (e *environment) awaitBound(ctx context.Context, names []string) error {
	return e.await(ctx,
		func() bool {
			pvs, bound, _ := e.tracker.counts(names)
			return pvs == len(names) && bound == len(names)
		},
		func() string {
			pvs, bound, _ := e.tracker.counts(names)
			return fmt.Sprintf("of %s %d have a PV and %d are Bound", plural(len(names), "claim"), pvs, bound)
		})
}

// awaitGone waits until the PV of each claim is gone.
func (e *environment) awaitGone(ctx context.Context, names []string) error {
	return e.await(ctx,
		func() bool {
			_, _, gone := e.tracker.counts(names)
			return gone == len(names)
		},
		func() string {
			_, _, gone := e.tracker.counts(names)
			return fmt.Sprintf("of %s %d are gone", plural(len(names), "PV"), gone)
		})
}

var errSubjectEnded = errors.New("the subject ended")

// await waits with the tracker, but not for a subject that has ended.
func (e *environment) await(ctx context.Context, done func() bool, describe func() string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := e.process.Done()
	go func() {
		select {
		case <-ended:
			cancel(errSubjectEnded)
		case <-ctx.Done():
		}
	}()
	return e.tracker.await(ctx, stallAfter, done, describe)
}
