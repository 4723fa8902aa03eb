package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// burstGroup has three nodes with room for a third of the volumes each, and a volume is made on the selected node or not at all.
func burstGroup() group {
	return group{
		name: "burst",
		warm: warmImmediate,
		once: true,
		only: publishers,
		world: &world{
			driver: func(o Options, latency time.Duration) harness.DriverOptions {
				config := harness.ZonesConfig(harness.DefaultDriverName, zones...)
				for i, room := range shares(o.Capacity.BurstPods, len(zones)) {
					config.Pools[i].Size = fmt.Sprintf("%dGi", room)
				}
				return harness.DriverOptions{Config: config, Faults: slowCreation(latency, o.Capacity.Early)}
			},
			zones: func(Options) []string { return zones },
			classes: func(_ Options, driver string) []*storagev1.StorageClass {
				return []*storagev1.StorageClass{
					harness.StorageClass(classImmediate, driver), harness.StorageClass(classDelayed, driver, harness.WaitForFirstConsumer),
				}
			},
			flags: func(o Options) []string { return append(publishing(o), "--strict-topology") },
		},
		scenarios: []scenario{{name: "burst", run: runBurst}},
		estimate:  func(_ subject, o Options) time.Duration { return o.Capacity.Limit / 3 },
	}
}

// shares divides volumes among zones, so that they just fit.
func shares(volumes, among int) []int {
	rooms := make([]int, among)
	for i := range volumes {
		rooms[i%among]++
	}
	return rooms
}

// slowCreation has the driver take a volume's room at the end of the call or, early, at its beginning.
func slowCreation(latency time.Duration, early bool) []harness.Fault {
	if latency == 0 {
		return nil
	}
	fault := harness.Fault{Method: harness.CreateVolume, Latency: latency.String()}
	if early {
		fault.Action = "late"
	}
	return []harness.Fault{fault}
}

// cpus is an edit of Pod.
func cpus(n int) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: *resource.NewQuantity(int64(n), resource.DecimalSI)}
	}
}

// busyCPUs is what a busy node has taken of its processors: so much that the scheduler prefers an empty one for every Pod of the burst.
const busyCPUs = 60

// occupy leaves the first node empty and makes the others busy, as when a node was just added: left to itself the scheduler places everything there.
// With nodes that are all alike it would place a third on each, where there happens to be room for a third.
func occupy(ctx context.Context, e *environment) error {
	for _, zone := range zones[1:] {
		pod := harness.Pod(benchNamespace, "busy-"+zone, "", cpus(busyCPUs), func(pod *corev1.Pod) {
			pod.Spec.NodeName = "node-" + zone
			pod.Spec.Volumes, pod.Spec.Containers[0].VolumeMounts = nil, nil
		})
		if _, err := e.client.CoreV1().Pods(benchNamespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create Pod %s: %w", pod.Name, err)
		}
	}
	return nil
}

// runBurst makes all Pods at once, with a claim each, and waits until each claim is Bound or the time is up.
func runBurst(ctx context.Context, e *environment, o Options) ([]reading, error) {
	if err := occupy(ctx, e); err != nil {
		return nil, err
	}
	want := map[place]int64{}
	for i, room := range shares(o.Capacity.BurstPods, len(zones)) {
		want[place{classDelayed, zones[i]}] = int64(room) << 30
	}
	if err := e.awaitPublished(ctx, want, o.Capacity.Limit); err != nil {
		return nil, err
	}
	names := claimNames(o.Capacity.BurstPods)
	if err := createClaims(ctx, e, names, classDelayed, nil); err != nil {
		return nil, err
	}
	if err := awaitEvents(ctx, e.client); err != nil { // as in runWFFCStock
		return nil, err
	}
	return e.measureFitting(ctx, names, o.Capacity.Limit, func(started *stopwatch) error {
		return inParallel(ctx, names, func(ctx context.Context, name string) error {
			started.start(name)
			if _, err := e.client.CoreV1().Pods(benchNamespace).Create(ctx, harness.Pod(benchNamespace, name, name), metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create Pod %s: %w", name, err)
			}
			return nil
		})
	})
}

// awaitPublished waits until exactly this is published.
func (e *environment) awaitPublished(ctx context.Context, want map[place]int64, limit time.Duration) error {
	p, stop, err := watchPublished(ctx, e.client, e.driver.Name, want)
	if err != nil {
		return err
	}
	defer stop()
	done, err := e.within(ctx, limit, p.complete)
	if err = errors.Join(err, p.err()); err == nil && !done {
		right, tooMany := p.count()
		err = fmt.Errorf("of %s %d are published, and %d wrong ones, after %s", plural(len(want), "object"), right, tooMany, limit)
	}
	return err
}

// measureFitting has claims that just fit provisioned, and waits until each is Bound or the time is up: what is left then is told, and no failure.
func (e *environment) measureFitting(ctx context.Context, names []string, limit time.Duration, begin func(*stopwatch) error) ([]reading, error) {
	m, err := beginMeasurement(ctx, e)
	if err != nil {
		return nil, err
	}
	started := newStopwatch()
	if err := begin(started); err != nil {
		return nil, err
	}
	all, err := e.within(ctx, limit, func() bool {
		pvs, bound, _ := e.tracker.counts(names)
		return pvs == len(names) && bound == len(names)
	})
	if err != nil {
		return nil, err
	}
	seen := e.tracker.times(names)
	toBound := spans(started.times, seen.bound)
	readings := []reading{{"unplaced", unitClaims, float64(len(names) - len(seen.bound))}}
	if all {
		readings = append(readings, reading{"last_bound_seconds", unitSeconds, latest(seen.bound, m.start)})
	}
	if len(toBound) > 0 {
		readings = append(readings, reading{"p50_seconds", unitSeconds, percentile(toBound, 50)}, reading{"p99_seconds", unitSeconds, percentile(toBound, 99)})
	}
	costs, err := m.end(ctx, account{claims: names, method: harness.CreateVolume})
	if err != nil {
		return nil, err
	}
	calls, err := e.driver.Calls(ctx, harness.CreateVolume)
	if err != nil {
		return nil, err
	}
	readings = append(readings, reading{"resource_exhausted", unitAnswers, float64(exhausted(calls, m.start))})
	return append(readings, costs...), nil
}

// exhausted is how many calls since a moment were answered that there is no room.
func exhausted(calls []harness.Call, since time.Time) int {
	n := 0
	for _, call := range calls {
		if call.Code == "ResourceExhausted" && !call.Time.Before(since) {
			n++
		}
	}
	return n
}
