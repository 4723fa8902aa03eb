package main

import (
	"math"
	"slices"
	"strings"
	"time"
)

// A reading is one figure of one run.
type reading struct {
	metric string
	unit   string
	value  float64
}

// A runKey says which runs are comparable: their figures go into one median.
type runKey struct {
	subject  string
	scenario string
	latency  time.Duration
}

// A result is what one scenario measured in one run.
type result struct {
	runKey
	readings []reading
}

// A series is one metric of one subject over all its runs. It is also what the JSON file holds.
type series struct {
	Subject  string    `json:"subject"`
	Scenario string    `json:"scenario"`
	Latency  string    `json:"latency"`
	Metric   string    `json:"metric"`
	Unit     string    `json:"unit"`
	Median   float64   `json:"median"`
	Runs     []float64 `json:"runs"`
}

// The metrics, in the order in which tables show them. A metric that is counted by kind has rows of its own below it,
// named metric/kind.
var metricOrder = []string{
	"all_published_seconds", "all_published_estimate_seconds", "published", "published_too_many", "new_leader_writes", "unasked",
	"driver_calls_per_key_per_poll", "resource_exhausted", "unplaced",
	"last_pv_seconds", "last_bound_seconds", "last_placed_seconds", "last_pv_gone_seconds", "p50_seconds", "p99_seconds",
	"gap_p50_seconds", "max_gap_seconds", "gap_after_kill_p50_seconds", "max_gap_after_kill_seconds", "claims", "admissions_failed", "admissions_failed_after_kill",
	"start_seconds", "rss_bytes", "anonymous_bytes", "standby_rss_bytes", "standby_anonymous_bytes", "standby_peak_rss_bytes",
	"cpu_seconds", "control_plane_cpu_seconds", "peak_rss_bytes",
	"api_writes_per_volume", "system_api_writes_per_volume", "driver_calls_per_volume", "events_lost",
	"capacity_writes", "api_writes_per_key", "driver_calls_per_key", "queue_depth", "rss_growth_bytes", "scrape_seconds", "api_requests",
}

// summarise turns the results of all runs into one series for each subject, scenario and metric. Its order is that of
// the results for subjects and scenarios, and metricOrder for metrics. A kind of request that one run saw and another
// did not counts as zero in the other.
func summarise(results []result) []series {
	var keys []runKey
	grouped := map[runKey][]result{}
	for _, r := range results {
		if _, ok := grouped[r.runKey]; !ok {
			keys = append(keys, r.runKey)
		}
		grouped[r.runKey] = append(grouped[r.runKey], r)
	}
	var all []series
	for _, key := range keys {
		all = append(all, summariseRuns(key, grouped[key])...)
	}
	return all
}

func summariseRuns(key runKey, runs []result) []series {
	byMetric := map[string]*series{}
	for i, run := range runs {
		for _, r := range run.readings {
			s, ok := byMetric[r.metric]
			if !ok {
				s = &series{
					Subject: key.subject, Scenario: key.scenario, Latency: key.latency.String(),
					Metric: r.metric, Unit: r.unit, Runs: make([]float64, len(runs)),
				}
				byMetric[r.metric] = s
			}
			s.Runs[i] = r.value
		}
	}
	out := make([]series, 0, len(byMetric))
	for _, s := range byMetric {
		s.Median = median(s.Runs)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b series) int { return compareMetrics(a.Metric, b.Metric) })
	return out
}

// compareMetrics orders metrics as metricOrder does, kinds directly below their metric.
func compareMetrics(a, b string) int {
	rank := func(metric string) int {
		base, _, _ := strings.Cut(metric, "/")
		if i := slices.Index(metricOrder, base); i >= 0 {
			return i
		}
		return len(metricOrder)
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

// median of no values is NaN; of an even number it is the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// percentile is the smallest value that p per cent of the values do not exceed (nearest rank); NaN of no values.
func percentile(values []time.Duration, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1].Seconds()
}

// ratio reports a/b, and false where that says nothing.
func ratio(a, b float64) (float64, bool) {
	if b == 0 || math.IsNaN(a) || math.IsNaN(b) {
		return 0, false
	}
	return a / b, true
}

// perVolume spreads a count over the volumes of a scenario.
func perVolume(count, volumes int) float64 {
	if volumes == 0 {
		return 0
	}
	return float64(count) / float64(volumes)
}
