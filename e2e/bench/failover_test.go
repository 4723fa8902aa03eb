package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seconds are moments, that many after the same one.
func seconds(offsets ...float64) []time.Time {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var all []time.Time
	for _, offset := range offsets {
		all = append(all, begin.Add(time.Duration(offset*float64(time.Second))))
	}
	return all
}

func TestLongestGap(t *testing.T) {
	tests := map[string]struct {
		pvs         []float64
		began, over float64
		want        time.Duration
	}{
		"it begins before the accident and ends after it": {[]float64{0, 1, 3, 4}, 1.5, 2.5, 2 * time.Second},
		"it lies within": {[]float64{0, 1, 2, 9, 10}, 0.5, 9.5, 7 * time.Second},
		"what the former leader still finishes ends no gap": {[]float64{0, 1, 1.5, 7}, 1, 7, 5500 * time.Millisecond},
		"gaps before and after are not the accident's":      {[]float64{0, 5, 6, 7, 12}, 5.5, 6.5, time.Second},
		"nobody provisioned any more":                       {[]float64{0, 1}, 2, 3, 0},
		"there was nothing":                                 {nil, 1, 2, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			span := seconds(tc.began, tc.over)
			if got := longestGap(seconds(tc.pvs...), accident{began: span[0], over: span[1]}); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestGapsOfStopsAndKillsAreToldApart(t *testing.T) {
	at := seconds(0, 10, 20, 30, 40, 50)
	accidents := []accident{
		{began: at[0], over: at[1]}, {began: at[1], over: at[2]}, {began: at[2], over: at[3]}, {kill: true, began: at[4], over: at[5]},
	}
	pvs := seconds(1, 2, 11, 14, 21, 22, 41, 49)
	want := []reading{
		{"gap_p50_seconds", unitSeconds, 9}, {"max_gap_seconds", unitSeconds, 19}, // each gap reaches into the next accident here
		{"gap_after_kill_p50_seconds", unitSeconds, 19}, {"max_gap_after_kill_seconds", unitSeconds, 19},
	}
	if diff := cmp.Diff(want, gapReadings(pvs, accidents), cmp.AllowUnexported(reading{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := gapReadings(pvs, nil); got != nil {
		t.Errorf("without accidents there are %v", got)
	}
}

func TestRefusalsAroundAKillAreExcused(t *testing.T) {
	at := seconds(0, 1, 2, 3, 4, 5, 6, 7)
	s := &stream{e: &environment{progress: t.Output()}, refused: []refusal{
		{began: at[1], ended: at[2]}, // with all replicas there
		{began: at[3], ended: at[3]}, // during a stop
		{began: at[4], ended: at[6]}, // begun before a kill and ended after it
	}}
	stop := accident{began: at[3], over: at[3].Add(time.Millisecond)}
	kill := accident{kill: true, began: at[5], over: at[7]}
	if others, afterKill := s.refusals([]accident{stop, kill}); others != 2 || afterKill != 1 {
		t.Errorf("got %d and %d after a kill, want 2 and 1", others, afterKill)
	}
}

func TestLongScenariosAreRunOnRequest(t *testing.T) {
	for _, name := range []string{"failover", "memory"} {
		if slices.Contains(defaultOptions().Scenarios, name) {
			t.Errorf("%s runs although nobody asked for it", name)
		}
	}
	o := defaultOptions()
	o.Scenarios, o.Rounds = []string{"failover"}, 1
	o.Subjects = subjectNames()
	var subjects []string
	for _, task := range plan(o) {
		subjects = append(subjects, task.subject)
	}
	if diff := cmp.Diff([]string{subjectBerth, subjectAdmitted, subjectPeerTuned}, subjects); diff != "" {
		t.Errorf("failover is planned for (-want +got):\n%s", diff)
	}
}
