package main

import (
	"time"

	"github.com/berth-csi/berth/e2e/harness"
)

// A window is the time a scenario took; a moment on its edge belongs to it.
type window struct{ start, end time.Time }

func (w window) contains(t time.Time) bool { return !t.Before(w.start) && !t.After(w.end) }

// driverCallReadings are the driver's calls a volume: first of the method that the scenario is about, then of every
// method there was.
func driverCallReadings(calls []harness.Call, w window, method string, volumes int) []reading {
	counts := map[string]int{}
	for _, call := range calls {
		if w.contains(call.Time) {
			counts[call.Method]++
		}
	}
	readings := []reading{{"driver_calls_per_volume", unitPerVolume, perVolume(counts[method], volumes)}}
	for m, n := range counts {
		readings = append(readings, reading{"driver_calls_per_volume/" + m, unitPerVolume, perVolume(n, volumes)})
	}
	return readings
}
