//go:build e2e

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestSmoke runs the bench at its smallest, so that it still works on the day somebody needs its figures.
func TestSmoke(t *testing.T) {
	o := smokeOptions()
	o.JSON = filepath.Join(t.TempDir(), "figures.json")
	if err := bench(t.Context(), o, t.Output(), t.Output()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(o.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var figures []series
	if err := json.Unmarshal(data, &figures); err != nil {
		t.Fatal(err)
	}
	medians := map[string]float64{}
	for _, s := range figures {
		medians[s.Scenario+" "+s.Metric] = s.Median
	}
	for _, name := range []string{
		"create last_pv_seconds", "create last_bound_seconds", "create p50_seconds", "create p99_seconds",
		"create cpu_seconds", "create control_plane_cpu_seconds", "create peak_rss_bytes",
		"create api_writes_per_volume", "create driver_calls_per_volume", "create api_requests",
		"delete last_pv_gone_seconds", "delete api_writes_per_volume", "delete driver_calls_per_volume",
		"wffc p50_seconds", "wffc p99_seconds", "wffc api_writes_per_volume",
		"capacity all_published_seconds", "capacity capacity_writes", "capacity driver_calls_per_key", "capacity scrape_seconds",
		"capacity-polls driver_calls_per_key_per_poll", "capacity-slow driver_calls_per_key_per_poll",
		"burst last_bound_seconds", "burst driver_calls_per_volume", "immediate-placement last_bound_seconds",
		"failover gap_p50_seconds", "failover max_gap_seconds", "failover claims", "failover driver_calls_per_volume",
		"memory rss_bytes", "memory anonymous_bytes", "memory standby_rss_bytes", "memory standby_anonymous_bytes",
	} {
		if !(medians[name] > 0) {
			t.Errorf("%s is %v, want more than nothing", name, medians[name])
		}
	}
	for _, name := range []string{"capacity-polls new_leader_writes", "capacity-polls capacity_writes", "burst unplaced", "immediate-placement unplaced"} {
		if got, ok := medians[name]; !ok || got > 0 {
			t.Errorf("%s: %v (counted: %v), want 0", name, got, ok)
		}
	}
	if lost, ok := medians["create events_lost"]; !ok || lost > 0 {
		t.Errorf("events lost: %v (counted: %v), want 0", lost, ok)
	}
}
