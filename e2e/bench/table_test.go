package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteTable(t *testing.T) {
	one := func(subject, metric, unit string, median float64) series {
		return series{Subject: subject, Scenario: "create", Latency: "0s", Metric: metric, Unit: unit, Median: median, Runs: []float64{1, 2}}
	}
	tests := map[string]struct {
		all  []series
		want string
	}{
		"every subject has a column, and both ratios are there": {
			all: []series{
				one(subjectFloor, "last_pv_seconds", unitSeconds, 2),
				one(subjectPeerTuned, "last_pv_seconds", unitSeconds, 12),
				one(subjectBerth, "last_pv_seconds", unitSeconds, 3),
				one(subjectBerth, "peak_rss_bytes", unitBytes, 50e6),
				one(subjectPeerTuned, "peak_rss_bytes", unitBytes, 80e6),
				one(subjectFloor, "events_lost", unitEvents, 0),
				one(subjectBerth, "events_lost", unitEvents, 0),
			},
			want: `
create, driver latency 0s: median of 2 runs
metric             berth  peer-tuned   floor  berth/peer-tuned  berth/floor
last_pv_seconds   3.00 s     12.00 s  2.00 s              0.25         1.50
peak_rss_bytes   50.0 MB     80.0 MB       -              0.62            -
events_lost            0           -       0                 -            -
`,
		},
		"kinds are below their metric and ratios need both subjects": {
			all: []series{
				one(subjectPeerDefault, "api_requests", unitRequests, 3),
				one(subjectPeerDefault, "api_requests/create/events", unitRequests, 2),
				one(subjectPeerDefault, "api_requests/patch/persistentvolumes/status", unitRequests, 1),
				one(subjectPeerDefault, "api_writes_per_volume", unitPerVolume, 2.5),
			},
			want: `
create, driver latency 0s: median of 2 runs
metric                            peer-default
api_writes_per_volume                     2.50
api_requests                                 3
  create events                              2
  patch persistentvolumes status             1
`,
		},
		"every scenario and latency has a table": {
			all: []series{
				{subjectBerth, "create", "0s", "last_pv_seconds", unitSeconds, 0.5, []float64{1}},
				{subjectBerth, "create", "50ms", "last_pv_seconds", unitSeconds, 1, []float64{1}},
				{subjectBerth, "wffc", "0s", "p50_seconds", unitSeconds, 0.031, []float64{1}},
			},
			want: `
create, driver latency 0s: median of 1 run
metric             berth
last_pv_seconds  0.500 s

create, driver latency 50ms: median of 1 run
metric            berth
last_pv_seconds  1.00 s

wffc, driver latency 0s: median of 1 run
metric         berth
p50_seconds  0.031 s
`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := writeTable(&out, tc.all); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
