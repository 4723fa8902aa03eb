package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-csi/berth/e2e/harness"
)

const (
	chaosNamespace = "chaos"
	classImmediate = "immediate"
	classDelayed   = "wait-for-consumer"
)

// zones each have a node and a pool of the driver.
var zones = []string{"zone-a", "zone-b", "zone-c"}

// A chaosRun is one subject on one fresh control plane with one schedule.
type chaosRun struct {
	subject  string
	seed     uint64
	options  Options
	schedule schedule
	dir      string
	progress io.Writer

	controlPlane *harness.ControlPlane
	driver       *harness.Driver
	client       kubernetes.Interface
	keeper       *keeper
	stopKeeping  func() // nil until the subject is kept running
	ledger       *ledger
	began        time.Time // the zero of the schedule
}

// do lets everything go wrong, waits for the end, and says what is left. What a failure of the machinery itself leaves
// unknown is an error; what the subject did wrong is in the outcome.
func (r *chaosRun) do(ctx context.Context) (outcome, error) {
	if err := r.open(ctx); err != nil {
		return outcome{}, err
	}
	fmt.Fprintf(r.progress, "  control plane ready after %s; %d claims in %s, %d of them deleted, %d kills, %d restarts of the driver, %d of the API server\n",
		r.controlPlane.ReadyAfter.Round(100*time.Millisecond), len(r.schedule.Claims), r.options.Spread, r.schedule.deleted(),
		len(r.schedule.Kills), len(r.schedule.DriverRestarts), len(r.schedule.APIServerOutages))
	if err := r.rage(ctx); err != nil {
		return outcome{}, err
	}
	if err := r.driver.ClearFaults(ctx); err != nil {
		return outcome{}, err
	}
	settled, err := r.settle(ctx)
	if err != nil {
		return outcome{}, err
	}
	return r.conclude(ctx, settled)
}

// open brings everything up. Close has to be called whether or not it succeeds.
func (r *chaosRun) open(ctx context.Context) error {
	var err error
	if r.controlPlane, err = harness.StartControlPlane(ctx, filepath.Join(r.dir, "cp"), harness.ControlPlaneOptions{
		// With the stock limits one would wait for the binder.
		Limits: harness.ClientLimits{QPS: 5000, Burst: 10000},
	}); err != nil {
		return err
	}
	r.client = r.controlPlane.Client()
	r.driver, err = harness.StartDriver(ctx, filepath.Join(r.dir, "driver"), harness.DriverOptions{
		Config: harness.ZonesConfig(harness.DefaultDriverName, zones...), Faults: faults(),
	})
	if err != nil {
		return err
	}
	if err := r.createSurroundings(ctx); err != nil {
		return err
	}
	replicas, err := r.startReplicas(ctx)
	if err != nil {
		return err
	}
	r.keeper = newKeeper(replicas)
	keeping, cancel := context.WithCancel(ctx)
	var kept sync.WaitGroup
	kept.Go(func() { r.keeper.run(keeping) })
	r.stopKeeping = func() { cancel(); kept.Wait() }
	return nil
}

// createSurroundings makes what has to be there before any claim.
func (r *chaosRun) createSurroundings(ctx context.Context) error {
	for _, namespace := range []string{chaosNamespace, harness.BerthNamespace} {
		if err := harness.CreateNamespace(ctx, r.client, namespace); err != nil {
			return err
		}
	}
	for _, zone := range zones {
		if err := harness.CreateNode(ctx, r.client, harness.NodeSpec{
			Name: "node-" + zone, Driver: r.driver.Name, Labels: map[string]string{harness.ZoneKey(r.driver.Name): zone},
		}); err != nil {
			return err
		}
	}
	classes := r.client.StorageV1().StorageClasses()
	_, err := classes.Create(ctx, harness.StorageClass(classImmediate, r.driver.Name), metav1.CreateOptions{})
	if err == nil {
		_, err = classes.Create(ctx, harness.StorageClass(classDelayed, r.driver.Name, harness.WaitForFirstConsumer), metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("create class: %w", err)
	}
	return nil
}

// rage carries out the schedule.
func (r *chaosRun) rage(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.began, r.ledger = time.Now(), newLedger()
	var all sync.WaitGroup
	try := func(f func(context.Context) error) {
		all.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err) // the first one is the cause
			}
		})
	}
	for _, claim := range r.schedule.Claims {
		try(func(ctx context.Context) error { return r.live(ctx, claim) })
	}
	try(r.killSubject)
	try(r.restartDriver)
	try(r.restartAPIServer)
	telling, stopTelling := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() { r.tell(telling) })
	all.Wait()
	stopTelling()
	told.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	_, _, err := r.keeper.counts()
	return err
}

// tellEvery is how often progress is told.
const tellEvery = 10 * time.Second

// tell prints how far the schedule is.
func (r *chaosRun) tell(ctx context.Context) {
	for sleep(ctx, tellEvery) {
		created, deleted := r.ledger.counts()
		kills, ends, _ := r.keeper.counts()
		fmt.Fprintf(r.progress, "  %3.0f s: %d claims created, %d deleted; killed %d times, ended by itself %d times\n",
			time.Since(r.began).Seconds(), created, deleted, kills, ends)
	}
}

// until waits for a moment of the schedule.
func (r *chaosRun) until(ctx context.Context, offset time.Duration) error {
	if !sleep(ctx, time.Until(r.began.Add(offset))) {
		return context.Cause(ctx)
	}
	return nil
}

// close stops everything that is left. What does not stop is killed.
func (r *chaosRun) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	var errs []error
	if r.stopKeeping != nil {
		r.stopKeeping()
		_, err := r.keeper.stop(ctx)
		errs = append(errs, err)
	}
	if r.driver != nil {
		_, err := r.driver.Stop(ctx)
		errs = append(errs, err)
	}
	if r.controlPlane != nil {
		errs = append(errs, r.controlPlane.Down(ctx))
	}
	return errors.Join(errs...)
}

// runDir makes the directory of a run: below keep, or a temporary one. The path is short because a unix socket's may not
// be long.
func runDir(keep string, t task) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "chaos-")
	}
	keep, err := filepath.Abs(keep)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(keep, fmt.Sprintf("%s-%d", t.subject, t.run))
	if _, err := os.Stat(dir); err == nil {
		return "", fmt.Errorf("%s is there already: keep the runs in a new directory", dir)
	}
	return dir, os.MkdirAll(dir, 0o755)
}
