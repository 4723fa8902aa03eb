package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// Units of metrics, as the JSON file has them.
const (
	unitSeconds   = "seconds"
	unitBytes     = "bytes"
	unitPerVolume = "per volume"
	unitRequests  = "requests"
	unitEvents    = "events"
	unitClaims    = "claims"
)

// A measurement has the state of the meters at the start of a scenario.
type measurement struct {
	e               *environment
	start           time.Time
	cpu             time.Duration
	controlPlaneCPU float64
}

// beginMeasurement reads the meters. The last thing it does is to look at the clock.
func beginMeasurement(ctx context.Context, e *environment) (*measurement, error) {
	controlPlane, err := e.controlPlaneCPU(ctx)
	if err != nil {
		return nil, err
	}
	resetPeakRSS(e.process.PID())
	usage, err := e.process.Usage()
	if err != nil {
		return nil, err
	}
	return &measurement{e: e, start: time.Now(), cpu: usage.CPU, controlPlaneCPU: controlPlane}, nil
}

// An account says what a scenario was about, so that counts can be told per volume.
type account struct {
	claims []string
	method string // the driver's, that does what the scenario asks for
	events []string
}

// end waits until the events have arrived, reads the meters again, and counts requests and calls in between. So the
// cost of events is part of every figure here, which it is not of the times to the last PV.
func (m *measurement) end(ctx context.Context, a account) ([]reading, error) {
	if !m.e.process.Running() {
		return nil, errSubjectEnded
	}
	if err := awaitEvents(ctx, m.e.client); err != nil {
		return nil, err
	}
	w, readings, err := m.costs(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := m.e.controlPlane.Requests(ctx, harness.RequestFilter{Since: w.start, Until: w.end})
	if err != nil {
		return nil, err
	}
	readings = append(readings, requestReadings(requests, m.e.subject.userAgent, len(a.claims))...)
	calls, err := m.e.driver.Calls(ctx, "")
	if err != nil {
		return nil, err
	}
	readings = append(readings, driverCallReadings(calls, w, a.method, len(a.claims))...)
	if a.events == nil {
		return readings, nil
	}
	events, err := m.e.client.CoreV1().Events(benchNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	lost := lostEvents(events.Items, a.claims, a.events)
	return append(readings, reading{"events_lost", unitEvents, float64(lost)}), nil
}

// costs reads the meters again, and returns the time in between.
func (m *measurement) costs(ctx context.Context) (window, []reading, error) {
	w := window{m.start, time.Now()}
	usage, err := m.e.process.Usage()
	if err != nil {
		return w, nil, err
	}
	controlPlane, err := m.e.controlPlaneCPU(ctx)
	if err != nil {
		return w, nil, err
	}
	return w, []reading{
		{"cpu_seconds", unitSeconds, (usage.CPU - m.cpu).Seconds()},
		{"control_plane_cpu_seconds", unitSeconds, controlPlane - m.controlPlaneCPU},
		{"peak_rss_bytes", unitBytes, float64(usage.PeakRSS)},
	}, nil
}
