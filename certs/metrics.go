package certs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label "certificate".
const (
	certificateServing   = "serving"
	certificateAuthority = "authority"
	certificateNext      = "next_authority"
)

// expiryCollector tells at each scrape when which certificate expires; of one that there is not, it says nothing.
type expiryCollector struct{ read func() map[string]time.Time }

func (*expiryCollector) desc() *prometheus.Desc {
	return prometheus.NewDesc("berth_certificate_expiry_timestamp_seconds",
		"When a certificate of the admission server expires.", []string{"certificate"}, nil)
}

// Describe is of prometheus.Collector.
func (c *expiryCollector) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- c.desc() }

// Collect is of prometheus.Collector.
func (c *expiryCollector) Collect(collected chan<- prometheus.Metric) {
	for certificate, expires := range c.read() {
		collected <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, float64(expires.Unix()), certificate)
	}
}

// phaseCollector tells at each scrape where the rotation is.
type phaseCollector struct{ read func() Phase }

func (*phaseCollector) desc() *prometheus.Desc {
	return prometheus.NewDesc("berth_certificate_rotation_phase",
		"Where the rotation of the admission server's authority is: 1 for the phase, 0 for all others.", []string{"phase"}, nil)
}

// Describe is of prometheus.Collector.
func (c *phaseCollector) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- c.desc() }

// Collect is of prometheus.Collector.
func (c *phaseCollector) Collect(collected chan<- prometheus.Metric) {
	current := c.read()
	for _, phase := range phases {
		value := 0.0
		if phase == current {
			value = 1
		}
		collected <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, value, string(phase))
	}
}

// Results of writing to a webhook configuration.
const (
	resultWritten  = "written"
	resultConflict = "conflict" // it had changed, and is looked at again
	resultFailed   = "failed"
)

// metrics are what is counted as it happens. Only the leader has figures of injection.
type metrics struct {
	signed       prometheus.Counter
	steps        *prometheus.CounterVec // step
	injections   *prometheus.CounterVec // configuration, field, result
	lastInjected *prometheus.GaugeVec   // configuration, field
	injected     *prometheus.GaugeVec   // configuration
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := newInjectionMetrics(registry)
	m.signed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "berth_certificate_signed_total", Help: "Serving certificates that this replica signed for itself.",
	})
	m.steps = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "berth_certificate_rotation_steps_total", Help: "Changes of the authorities' Secret by this replica.",
	}, []string{"step"})
	m.injected = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "berth_certificate_injected", Help: "Whether every webhook of a configuration carries the bundle.",
	}, []string{"configuration"})
	registry.MustRegister(m.signed, m.steps, m.injected)
	return m
}

// newInjectionMetrics are those of who writes to webhook configurations, whatever it writes.
func newInjectionMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		injections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_certificate_injections_total", Help: "Writes of the bundle, and of the match condition, to webhook configurations.",
		}, []string{"configuration", "field", "result"}),
		lastInjected: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_certificate_last_injection_timestamp_seconds", Help: "When a webhook configuration was last written to.",
		}, []string{"configuration", "field"}),
	}
	registry.MustRegister(m.injections, m.lastInjected)
	return m
}
