package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/e2e/harness"
)

const (
	// streamPace is the time between two claims of the stream, and so the shortest gap there is.
	streamPace = 100 * time.Millisecond
	// streamFirst claims are there before the first accident.
	streamFirst = 10
	// renewal is how often a leader with default flags renews its lease. Accidents are spread over it, because how soon the lease of one that
	// was killed expires depends on when it was renewed last.
	renewal = 5 * time.Second
	// standbyRest is how long a replica that has just been started is left alone, beside what readiness says.
	standbyRest = time.Second
)

// runFailover has claims come one after another while the leader of two replicas is stopped, and killed, time and again. Each time the
// other one takes over, and only then the first comes back.
func runFailover(ctx context.Context, e *environment, o Options) ([]reading, error) {
	if err := addStandby(ctx, e); err != nil {
		return nil, err
	}
	s := startStream(ctx, e)
	accidents, err := s.accidents(ctx, o)
	s.close()
	if err != nil {
		return nil, err
	}
	names := s.created()
	if err := s.await(ctx, names); err != nil {
		return nil, err
	}
	calls, err := e.driver.Calls(ctx, harness.CreateVolume)
	if err != nil {
		return nil, err
	}
	afterStop, afterKill := s.refusals(accidents)
	seen := slices.SortedFunc(maps.Values(e.tracker.times(names).pv), time.Time.Compare)
	readings := gapReadings(seen, accidents)
	return append(readings,
		reading{"claims", unitClaims, float64(len(names))},
		reading{"admissions_failed", unitClaims, float64(afterStop)},
		reading{"admissions_failed_after_kill", unitClaims, float64(afterKill)},
		reading{"driver_calls_per_volume", unitPerVolume, perVolume(len(calls), len(names))}), nil
}

// An accident is the end of a leader, and when everything was as before.
type accident struct {
	kill        bool
	began, over time.Time
}

// accidents stops the leader, and kills it, as often as was asked for.
func (s *stream) accidents(ctx context.Context, o Options) ([]accident, error) {
	var all []accident
	for _, kind := range []struct {
		kill  bool
		times int
	}{{false, o.Stops}, {true, o.Kills}} {
		for i := range kind.times {
			sleep(ctx, standbyRest+renewal*time.Duration(i)/time.Duration(kind.times))
			happened, err := s.accident(ctx, kind.kill)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(s.e.progress, "  %s: over after %s\n", happened, happened.over.Sub(happened.began).Round(10*time.Millisecond))
			all = append(all, happened)
		}
	}
	sleep(ctx, standbyRest)
	return all, nil
}

func (a accident) String() string {
	if a.kill {
		return "kill"
	}
	return "stop"
}

// accident ends the leader, waits until the other replica has provisioned everything there was and something newer, and starts the
// former leader again.
func (s *stream) accident(ctx context.Context, kill bool) (accident, error) {
	leader, err := s.e.leader(ctx)
	if err != nil {
		return accident{}, err
	}
	a := accident{kill: kill, began: time.Now()}
	ended := make(chan error, 1)
	go func() {
		if kill {
			leader.Kill()
			ended <- nil
			return
		}
		// How it ends is not what is measured; the established provisioner ends with a signal.
		_, err := leader.Stop(ctx)
		ended <- err
	}()
	if err := s.caughtUp(ctx, a.began); err != nil {
		return a, fmt.Errorf("after a %s: %w", a, err)
	}
	a.over = time.Now()
	if err := <-ended; err != nil {
		return a, err
	}
	if err := leader.Start(ctx); err != nil {
		return a, err
	}
	return a, s.e.awaitReady(ctx, leader)
}

// gapReadings are how long nothing was provisioned around the accidents.
func gapReadings(pvs []time.Time, accidents []accident) []reading {
	var stops, kills []time.Duration
	for _, a := range accidents {
		gap := longestGap(pvs, a)
		if a.kill {
			kills = append(kills, gap)
		} else {
			stops = append(stops, gap)
		}
	}
	var readings []reading
	if len(stops) > 0 {
		readings = append(readings, reading{"gap_p50_seconds", unitSeconds, percentile(stops, 50)},
			reading{"max_gap_seconds", unitSeconds, percentile(stops, 100)})
	}
	if len(kills) > 0 {
		readings = append(readings, reading{"gap_after_kill_p50_seconds", unitSeconds, percentile(kills, 50)},
			reading{"max_gap_after_kill_seconds", unitSeconds, percentile(kills, 100)})
	}
	return readings
}

// longestGap is the longest time between two PVs that follow each other, of which at least a part lies between the beginning and the end of an
// accident. The PVs are sorted by time.
func longestGap(pvs []time.Time, a accident) time.Duration {
	var longest time.Duration
	for i := 1; i < len(pvs); i++ {
		if pvs[i].After(a.began) && pvs[i-1].Before(a.over) {
			longest = max(longest, pvs[i].Sub(pvs[i-1]))
		}
	}
	return longest
}

// A stream creates a claim every streamPace. They carry the provisioner's annotation from the beginning, so that it does not matter how fast
// the controller-manager would write it.
type stream struct {
	e       *environment
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	names   []string
	times   map[string]time.Time
	refused []refusal
}

// A refusal is a claim that was not let in.
type refusal struct {
	began, ended time.Time
	err          error
}

func startStream(ctx context.Context, e *environment) *stream {
	ctx, stop := context.WithCancel(ctx)
	s := &stream{e: e, stop: stop, times: map[string]time.Time{}}
	s.running.Go(func() {
		ticker := time.NewTicker(streamPace)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ticker.C:
				// One that has to wait, for a webhook, does not hold up the others.
				s.running.Go(func() { s.create(context.WithoutCancel(ctx), fmt.Sprintf("%s-%05d", claimPrefix, n)) })
			case <-ctx.Done():
				return
			}
		}
	})
	return s
}

// refusals counts the claims that were not let in: those around a kill, which nobody can be spared, whose review a replica had at that moment, and all
// others.
func (s *stream) refusals(accidents []accident) (others, afterKill int) {
	for _, r := range s.refused {
		i := slices.IndexFunc(accidents, func(a accident) bool { return !a.began.After(r.ended) && !a.over.Before(r.began) })
		if i >= 0 && accidents[i].kill {
			afterKill++
		} else {
			others++
		}
		if i >= 0 {
			fmt.Fprintf(s.e.progress, "  a claim was refused %s after a %s, having waited %s: %v\n",
				r.ended.Sub(accidents[i].began).Round(time.Millisecond), accidents[i], r.ended.Sub(r.began).Round(time.Millisecond), r.err)
			continue
		}
		fmt.Fprintf(s.e.progress, "  a claim was refused, with all replicas there: %v\n", r.err)
	}
	return others, afterKill
}

// close ends the stream, and waits for the last claims.
func (s *stream) close() {
	s.stop()
	s.running.Wait()
}

func (s *stream) create(ctx context.Context, name string) {
	claim := harness.Claim(benchNamespace, name, classImmediate, harness.Annotation(volumehelpers.AnnStorageProvisioner, s.e.driver.Name))
	began := time.Now()
	_, err := s.e.client.CoreV1().PersistentVolumeClaims(benchNamespace).Create(ctx, claim, metav1.CreateOptions{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused = append(s.refused, refusal{began, time.Now(), err})
		return
	}
	s.names = append(s.names, name)
	s.times[name] = began
}

// created are the claims so far.
func (s *stream) created() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

// caughtUp waits until all claims there are have PVs, some of them created after a moment.
func (s *stream) caughtUp(ctx context.Context, after time.Time) error {
	var names []string
	err := harness.Eventually(ctx, "claims are created", func(context.Context) error {
		names = s.created()
		if s.createdAfter(after) == 0 || len(names) < streamFirst {
			return errors.New("there are too few")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.await(ctx, names)
}

func (s *stream) createdAfter(moment time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, at := range s.times {
		if at.After(moment) {
			n++
		}
	}
	return n
}

// await waits until each of the claims has a PV.
func (s *stream) await(ctx context.Context, names []string) error {
	pvs := func() int {
		pvs, _, _ := s.e.tracker.counts(names)
		return pvs
	}
	// Claims go on coming, so that something always happens: what must not be waited for without an end is a PV.
	ctx, cancel := context.WithTimeoutCause(ctx, stallAfter, errors.New("nobody provisions"))
	defer cancel()
	return s.e.tracker.await(ctx, stallAfter,
		func() bool { return pvs() == len(names) },
		func() string { return fmt.Sprintf("of %s %d have a PV", plural(len(names), "claim"), pvs()) })
}

// leader is the replica that holds the lease.
func (e *environment) leader(ctx context.Context) (*harness.Berth, error) {
	name := strings.ReplaceAll(e.driver.Name, ".", "-")
	lease, err := e.client.CoordinationV1().Leases(harness.BerthNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("who leads: %w", err)
	}
	if holder := lease.Spec.HolderIdentity; holder != nil {
		for i, replica := range e.replicas {
			if e.identities[i] == *holder {
				return replica, nil
			}
		}
	}
	return nil, fmt.Errorf("the lease is held by %v, and the replicas are %v", lease.Spec.HolderIdentity, e.identities)
}

// failoverEstimate is for a lease that expires after each kill, and, with the established provisioner, after each stop.
func failoverEstimate(s subject, o Options) time.Duration {
	const expiry, pause = 20 * time.Second, 5 * time.Second
	estimate := time.Duration(o.Stops)*pause + time.Duration(o.Kills)*(expiry+pause)
	if s.userAgent == peerUserAgent {
		estimate += time.Duration(o.Stops) * expiry
	}
	return estimate
}
