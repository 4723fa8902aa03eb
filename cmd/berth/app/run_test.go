package app

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAScrapeHasNoErrors(t *testing.T) {
	p := &process{config: &Config{}, registry: prometheus.NewRegistry()}
	p.calls.Store(newDriverMetrics(true))
	p.calls.Load().RecordMetrics("/csi.v1.Controller/CreateVolume", nil, 1)
	families, err := p.diagnostics().Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, family := range families {
		names[family.GetName()] = true
	}
	// One of each source: ours would come from the controller.
	for _, name := range []string{"csi_sidecar_operations_seconds", "process_start_time_seconds", "go_goroutines"} {
		if !names[name] {
			t.Errorf("no metric %s", name)
		}
	}
}
