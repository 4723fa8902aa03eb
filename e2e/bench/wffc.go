package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func warmWFFC(ctx context.Context, e *environment) error {
	return bindOne(ctx, e, "warm", newStopwatch())
}

// runWFFC makes a claim and a Pod for it, waits until the claim is Bound, and goes on with the next. So it measures the
// way from the Pod by the scheduler and the provisioner to the binding with nothing else under way.
func runWFFC(ctx context.Context, e *environment, o Options) ([]reading, error) {
	names := claimNames(o.WFFCClaims)
	m, err := beginMeasurement(ctx, e)
	if err != nil {
		return nil, err
	}
	started := newStopwatch()
	for _, name := range names {
		if err := bindOne(ctx, e, name, started); err != nil {
			return nil, err
		}
	}
	seen := e.tracker.times(names)
	toBound := spans(started.times, seen.bound)
	readings := []reading{
		{"last_bound_seconds", unitSeconds, latest(seen.bound, m.start)},
		{"p50_seconds", unitSeconds, percentile(toBound, 50)},
		{"p99_seconds", unitSeconds, percentile(toBound, 99)},
	}
	costs, err := m.end(ctx, account{claims: names, method: harness.CreateVolume, events: e.subject.events})
	return append(readings, costs...), err
}

// runWFFCStock makes all claims, then a Pod for each at once, where the controller-manager has its stock limits.
func runWFFCStock(ctx context.Context, e *environment, o Options) ([]reading, error) {
	names := claimNames(o.StockPods)
	if err := createClaims(ctx, e, names, classDelayed, nil); err != nil {
		return nil, err
	}
	// The controller-manager tells each claim that it waits for a consumer. Those events are not what is measured.
	if err := awaitEvents(ctx, e.client); err != nil {
		return nil, err
	}
	m, err := beginMeasurement(ctx, e)
	if err != nil {
		return nil, err
	}
	started, placed := newStopwatch(), whenPlaced(ctx, e, names)
	err = inParallel(ctx, names, func(ctx context.Context, name string) error {
		started.start(name)
		if _, err := e.client.CoreV1().Pods(benchNamespace).Create(ctx, harness.Pod(benchNamespace, name, name), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create Pod %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := e.awaitBound(ctx, names); err != nil {
		return nil, err
	}
	last := <-placed
	if last.err != nil {
		return nil, last.err
	}
	seen := e.tracker.times(names)
	toBound := spans(started.times, seen.bound)
	readings := []reading{
		{"last_bound_seconds", unitSeconds, latest(seen.bound, m.start)},
		{"last_placed_seconds", unitSeconds, last.at.Sub(m.start).Seconds()},
		{"p50_seconds", unitSeconds, percentile(toBound, 50)},
		{"p99_seconds", unitSeconds, percentile(toBound, 99)},
	}
	costs, err := m.end(ctx, account{claims: names, method: harness.CreateVolume, events: e.subject.events})
	return append(readings, costs...), err
}

// placement is when the last Pod had a node.
type placement struct {
	at  time.Time
	err error
}

// whenPlaced watches until all these Pods have a node.
func whenPlaced(ctx context.Context, e *environment, names []string) <-chan placement {
	placed := make(chan placement, 1)
	go func() {
		_, err := harness.WatchPods(ctx, e.client, benchNamespace, func(pods harness.Seen[*corev1.Pod]) bool {
			return !slices.ContainsFunc(names, func(name string) bool {
				pod := pods[benchNamespace+"/"+name]
				return pod == nil || pod.Spec.NodeName == ""
			})
		})
		placed <- placement{time.Now(), err}
	}()
	return placed
}

// bindOne makes a claim, then its Pod, and waits until the claim is Bound. The clock starts with the Pod.
func bindOne(ctx context.Context, e *environment, name string, started *stopwatch) error {
	if err := createClaims(ctx, e, []string{name}, classDelayed, nil); err != nil {
		return err
	}
	pod := harness.Pod(benchNamespace, name, name)
	started.start(name)
	if _, err := e.client.CoreV1().Pods(benchNamespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Pod %s: %w", name, err)
	}
	if err := e.awaitBound(ctx, []string{name}); err != nil {
		return fmt.Errorf("claim %s: %w", name, err)
	}
	return nil
}
