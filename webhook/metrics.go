package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count reviews. All labels have few values: reasons are constants, and operations are the API server's.
type metrics struct {
	reviews   *prometheus.CounterVec   // handler, operation, decision, reason
	duration  *prometheus.HistogramVec // handler
	liveReads *prometheus.CounterVec   // result
}

// Decisions, as a label.
const (
	decisionAdmitted = "admitted"
	decisionPatched  = "patched"
	decisionRefused  = "refused"
	decisionInvalid  = "invalid" // the request was no review
)

// newMetrics registers the metrics, if there is a registry.
func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_admission_reviews_total",
			Help: "Admission reviews by what was decided (admitted, patched, refused; invalid: the request was none) and why.",
		}, []string{"handler", "operation", "decision", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "berth_admission_review_duration_seconds",
			Help:    "Time from an admission review's arrival until it was answered.",
			Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"handler"}),
		liveReads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_admission_live_reads_total",
			Help: "Data sources read from the API server during a review: done, failed.",
		}, []string{"result"}),
	}
	if registry != nil {
		registry.MustRegister(m.reviews, m.duration, m.liveReads)
	}
	return m
}

// tally is one review, as it is counted.
type tally struct{ handler, operation, decision, reason string }

func (m *metrics) count(r tally, took time.Duration) {
	m.reviews.WithLabelValues(r.handler, r.operation, r.decision, r.reason).Inc()
	m.duration.WithLabelValues(r.handler).Observe(took.Seconds())
}

func (m *metrics) liveRead(err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.liveReads.WithLabelValues(result).Inc()
}
