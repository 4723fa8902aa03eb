package provisioner

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/datasource"
)

// metrics carry the established provisioner's names and labels, so that dashboards and alerts go on working. Two of its figures are
// corrected: what was merely not for us, or given back to the scheduler, does not count as a failure, and waiting for a
// detach is no failed deletion. The buckets go up to ten minutes, because slow backends exist.
type metrics struct {
	provisioned       *prometheus.CounterVec   // class, source
	provisionFailed   *prometheus.CounterVec   // class, source
	provisionDuration *prometheus.HistogramVec // class, source
	deleted           *prometheus.CounterVec   // class
	deleteFailed      *prometheus.CounterVec   // class
	deleteDuration    *prometheus.HistogramVec // class
	rescheduled       *prometheus.CounterVec   // class
	outcomes          *prometheus.CounterVec   // operation, outcome
	eventsDropped     prometheus.Counter
	journalWrites     *prometheus.CounterVec // result
	journalEntries    prometheus.Counter
	journalDuration   prometheus.Histogram
	journalUnreadable prometheus.Counter
	bound             *prometheus.CounterVec   // class
	boundDuration     *prometheus.HistogramVec // class
	leftToBinder      *prometheus.CounterVec   // reason
	waited            *prometheus.HistogramVec // class
	turns             *prometheus.CounterVec   // result
	steps             [stepCount]prometheus.Observer
}

var durationBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// newMetrics registers the controller's metrics; openAttempts is asked at each scrape.
func newMetrics(registry prometheus.Registerer, openAttempts func() float64) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: durationBuckets}, labels)
	}
	m := &metrics{
		provisioned:       counter("controller_persistentvolumeclaim_provision_total", "Claims whose volume was created and stored.", "class", "source"),
		provisionFailed:   counter("controller_persistentvolumeclaim_provision_failed_total", "Attempts to create a claim's volume that failed.", "class", "source"),
		provisionDuration: histogram("controller_persistentvolumeclaim_provision_duration_seconds", "Time from the decision to create a claim's volume until it is stored, with all repeats.", "class", "source"),
		deleted:           counter("controller_persistentvolume_delete_total", "Volumes that were deleted.", "class"),
		deleteFailed:      counter("controller_persistentvolume_delete_failed_total", "Attempts to delete a volume that failed.", "class"),
		deleteDuration:    histogram("controller_persistentvolume_delete_duration_seconds", "Time that the driver and the API server took to delete a volume.", "class"),
		rescheduled:       counter("berth_claims_rescheduled_total", "Claims given back to the scheduler because the selected node did not do.", "class"),
		outcomes:          counter("berth_driver_outcomes_total", "Answers of the driver by what they mean: done, unknown, infeasible, exhausted, failed.", "operation", "outcome"),
		eventsDropped:     prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_events_dropped_total", Help: "Events that could not be written."}),
		journalWrites:     counter("berth_journal_writes_total", "Writes of the journal.", "result"),
		journalEntries:    prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_journal_entries_total", Help: "Volumes that writes of the journal put on record."}),
		journalDuration:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "berth_journal_write_duration_seconds", Help: "Time that a write of the journal took.", Buckets: durationBuckets}),
		journalUnreadable: prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_journal_unreadable_total", Help: "Entries of the journal that could not be read and are kept aside."}),
		bound:             counter("berth_claims_bound_total", "Claims that were bound here.", "class"),
		boundDuration:     histogram("berth_claim_bound_duration_seconds", "Time from a claim's creation until it was bound here. API servers count in whole seconds.", "class"),
		leftToBinder:      counter("berth_claims_left_to_binder_total", "Claims whose volume was stored here and that the controller-manager has to bind, or has bound.", "reason"),
	}
	m.waited = histogram("berth_claim_provisioning_duration_seconds", "Time from a claim's creation until its volume is stored, with all waiting. API servers count in whole seconds.", "class")
	m.turns = counter("berth_claim_turns_total", "Turns of this node to take a claim with Immediate binding, in distributed mode, by what became of them: taken, lost, no_room, unknown.", "result")
	steps := histogram("berth_provision_step_duration_seconds", "Time that a step of provisioning took: secrets, protect, record, create_volume, store.", "step")
	for step, name := range stepNames {
		m.steps[step] = steps.WithLabelValues(name)
	}
	registry.MustRegister(m.waited, m.turns, steps)
	registry.MustRegister(m.journalWrites, m.journalEntries, m.journalDuration, m.journalUnreadable, m.bound, m.boundDuration, m.leftToBinder, m.provisioned, m.provisionFailed, m.provisionDuration, m.deleted, m.deleteFailed, m.deleteDuration,
		m.rescheduled, m.outcomes, m.eventsDropped,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_open_attempts",
			Help: "Claims whose volume is being created, or whose creation has an unknown outcome.",
		}, openAttempts))
	return m
}

// registerQueues shows how long the oldest key of each queue has waited.
func registerQueues(registry prometheus.Registerer, queues []queue) {
	for _, queue := range queues {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_queue_oldest_seconds", Help: "How long the key has waited for a worker that has waited longest.",
			ConstLabels: prometheus.Labels{"name": queue.Name()},
		}, func() float64 { return queue.Oldest().Seconds() }))
	}
}

// claimLabels are the labels of a claim's metrics.
type claimLabels struct{ class, source string }

// metricLabels are a claim's labels: its class, and the kind of its source as it names it.
func metricLabels(claim *corev1.PersistentVolumeClaim) claimLabels {
	labels := claimLabels{class: volumehelpers.GetPersistentVolumeClaimClass(claim)}
	if reference, _ := datasource.Resolve(claim); reference.Kind != datasource.None {
		labels.source = reference.ResourceKind
	}
	return labels
}

func (a *Attempt) labels() claimLabels { return claimLabels{a.Class, a.Source.ResourceKind} }
