package main

import (
	"context"
	"fmt"

	"github.com/berth-csi/berth/e2e/harness"
)

// faults make the driver slow, so that there is always a call under way, and lose a tenth of its answers: the work is done
// and the caller hears of an error, or its connection is gone, and with it all other calls on it.
func faults() []harness.Fault {
	var all []harness.Fault
	for _, method := range []string{harness.CreateVolume, harness.DeleteVolume} {
		all = append(all,
			harness.Fault{Method: method, Latency: "100ms", Jitter: "400ms"},
			harness.Fault{Method: method, Probability: 0.04, Action: "lost", Code: "DeadlineExceeded"},
			harness.Fault{Method: method, Probability: 0.04, Action: "lost", Code: "Unavailable"},
			harness.Fault{Method: method, Probability: 0.02, Action: "drop"},
		)
	}
	return all
}

// killSubject kills it when its times come. The keeper starts it again.
func (r *chaosRun) killSubject(ctx context.Context) error {
	for _, kill := range r.schedule.Kills {
		if err := r.until(ctx, kill.At); err != nil {
			return err
		}
		r.keeper.kill(kill.Move)
	}
	return nil
}

// restartDriver ends and starts the driver. Its faults do not survive that.
func (r *chaosRun) restartDriver(ctx context.Context) error {
	for _, restart := range r.schedule.DriverRestarts {
		if err := r.until(ctx, restart.At); err != nil {
			return err
		}
		if restart.Kill {
			r.driver.Kill()
		} else if _, err := r.driver.Stop(ctx); err != nil {
			return err
		}
		if err := r.driver.Start(ctx); err != nil {
			return err
		}
		if err := r.driver.SetFaults(ctx, faults()...); err != nil {
			return err
		}
	}
	return nil
}

// restartAPIServer kills the API server and starts it after a while.
func (r *chaosRun) restartAPIServer(ctx context.Context) error {
	for _, outage := range r.schedule.APIServerOutages {
		if err := r.until(ctx, outage.At); err != nil {
			return err
		}
		if err := r.controlPlane.Kill(ctx, harness.APIServer); err != nil {
			return fmt.Errorf("kill the API server: %w", err)
		}
		if !sleep(ctx, outage.Down) {
			return context.Cause(ctx)
		}
		if err := r.controlPlane.Start(ctx, harness.APIServer); err != nil {
			return fmt.Errorf("start the API server: %w", err)
		}
	}
	return nil
}
