package capacity

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	publishes *prometheus.CounterVec
}

// newMetrics registers the metrics. How long GetCapacity takes is in csi_sidecar_operations_seconds, as for all calls. The three that the established
// provisioner has keep its names and their stability, ALPHA; nothing is counted when they are read.
func newMetrics(registry prometheus.Registerer, b *book) *metrics {
	m := &metrics{publishes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "berth_capacity_publishes_total", Help: "CSIStorageCapacity objects that were written or deleted, by reason.",
	}, []string{"reason"})}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	registry.MustRegister(m.publishes,
		gauge("csistoragecapacities_desired_goal", "[ALPHA] CSIStorageCapacity objects that there should be.", func() float64 {
			goal, _, _ := b.counts()
			return float64(goal)
		}),
		gauge("csistoragecapacities_desired_current", "[ALPHA] CSIStorageCapacity objects that there should be and are.", func() float64 {
			_, current, _ := b.counts()
			return float64(current)
		}),
		gauge("csistoragecapacities_obsolete", "[ALPHA] CSIStorageCapacity objects that there are and should not be, which will be deleted.", func() float64 {
			_, _, obsolete := b.counts()
			return float64(obsolete)
		}),
		gauge("berth_capacity_staleness_seconds", "Age of the driver's oldest report that anything published rests on.", func() float64 {
			age, _ := b.stalest()
			return age.Seconds()
		}),
		gauge("berth_capacity_reserved_bytes", "Bytes held back from what is published, for volumes that the driver's reports may not show yet.", func() float64 {
			_, reserved := b.stalest()
			return float64(reserved)
		}))
	return m
}
