package main

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMedian(t *testing.T) {
	tests := map[string]struct {
		values []float64
		want   float64
	}{
		"of one value is the value":                  {values: []float64{3}, want: 3},
		"of an odd number is the one in the middle":  {values: []float64{9, 1, 5}, want: 5},
		"of an even number is the mean of two":       {values: []float64{4, 1, 2, 100}, want: 3},
		"of nothing is not a number":                 {want: math.NaN()},
		"does not depend on the order of the values": {values: []float64{5, 9, 1}, want: 5},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, median(tc.values), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("median(%v) (-want +got):\n%s", tc.values, diff)
			}
		})
	}
}

func TestMedianLeavesTheValuesInTheirOrder(t *testing.T) {
	values := []float64{3, 1, 2}
	median(values)
	if diff := cmp.Diff([]float64{3, 1, 2}, values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * time.Second
	}
	tests := map[string]struct {
		values []time.Duration
		p      float64
		want   float64
	}{
		"50 of a hundred":          {values: hundred, p: 50, want: 50},
		"99 of a hundred":          {values: hundred, p: 99, want: 99},
		"99 of few is the largest": {values: []time.Duration{time.Second, 3 * time.Second}, p: 99, want: 3},
		"0 is the smallest":        {values: []time.Duration{time.Second, 3 * time.Second}, p: 0, want: 1},
		"of nothing":               {p: 50, want: math.NaN()},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, percentile(tc.values, tc.p), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRatio(t *testing.T) {
	tests := map[string]struct {
		a, b float64
		want float64
		ok   bool
	}{
		"divides":                  {a: 3, b: 12, want: 0.25, ok: true},
		"of nothing to something":  {a: 0, b: 2, want: 0, ok: true},
		"to nothing says nothing":  {a: 3, b: 0},
		"with no value to compare": {a: 3, b: math.NaN()},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := ratio(tc.a, tc.b)
			if got != tc.want || ok != tc.ok {
				t.Errorf("ratio(%v, %v) = %v, %v, want %v, %v", tc.a, tc.b, got, ok, tc.want, tc.ok)
			}
		})
	}
}

func TestSummarise(t *testing.T) {
	key := runKey{subject: subjectBerth, scenario: "create"}
	slow := runKey{subject: subjectBerth, scenario: "create", latency: 50 * time.Millisecond}
	got := summarise([]result{
		{key, []reading{
			{"events_lost", unitEvents, 0},
			{"last_pv_seconds", unitSeconds, 4},
			{"api_requests/patch/events", unitRequests, 6},
		}},
		{slow, []reading{{"last_pv_seconds", unitSeconds, 9}}},
		{key, []reading{
			{"last_pv_seconds", unitSeconds, 2},
			{"events_lost", unitEvents, 4},
		}},
	})
	want := []series{
		{subjectBerth, "create", "0s", "last_pv_seconds", unitSeconds, 3, []float64{4, 2}},
		{subjectBerth, "create", "0s", "events_lost", unitEvents, 2, []float64{0, 4}},
		{subjectBerth, "create", "0s", "api_requests/patch/events", unitRequests, 3, []float64{6, 0}},
		{subjectBerth, "create", "50ms", "last_pv_seconds", unitSeconds, 9, []float64{9}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
