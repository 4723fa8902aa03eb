package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlanAlternatesSubjects(t *testing.T) {
	o := defaultOptions()
	o.Subjects = []string{subjectBerth, subjectPeerTuned}
	o.Scenarios = []string{"delete", "wffc"}
	o.Latencies = []time.Duration{0, 50 * time.Millisecond}
	var got []string
	for _, task := range plan(o) {
		got = append(got, task.String())
	}
	var want []string
	for _, round := range []string{"round 1", "round 2"} {
		for _, latency := range []string{"0s", "50ms"} {
			for _, scenario := range []string{"delete", "wffc"} {
				for _, subject := range o.Subjects {
					want = append(want, round+", "+subject+": "+scenario+", driver latency "+latency)
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTaskRunsWhatLeadsUpToTheScenariosAskedFor(t *testing.T) {
	tests := map[string]struct {
		report []string
		want   []string
	}{
		"delete needs create":         {report: []string{"delete"}, want: []string{"create", "delete"}},
		"create does not need delete": {report: []string{"create"}, want: []string{"create"}},
		"both":                        {report: []string{"create", "delete"}, want: []string{"create", "delete"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range (task{group: groups()[0], report: tc.report}).scenarios() {
				got = append(got, s.name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRemaining(t *testing.T) {
	o := defaultOptions()
	o.Subjects = []string{subjectPeerTuned}
	o.Scenarios = []string{"create", "delete"}
	tasks := plan(o)
	guess := environmentEstimate + 75*time.Second
	if got := remaining(tasks, nil, tasks, o); got != 2*guess {
		t.Errorf("before anything ran: %s, want %s", got, 2*guess)
	}
	took := map[int]time.Duration{0: 9 * time.Minute}
	if got := remaining(tasks[1:], took, tasks, o); got != 9*time.Minute {
		t.Errorf("after a like run: %s, want as long as that took", got)
	}
}

func TestParseOptions(t *testing.T) {
	tests := map[string]struct {
		args    string
		want    func(*Options)
		wantErr string
	}{
		"nothing is all scenarios and most subjects": {want: func(*Options) {}},
		"everything said": {
			args: "--subjects floor,berth --scenarios wffc --claims 7 --wffc-claims 8 --stock-claims 9 --stock-pods 10 --stops 11 --kills 12 --memory-nodes 13 --memory-claims 14 --memory-rest 15s --latency 0,50ms --rounds 3 --json F --keep D",
			want: func(o *Options) {
				*o = Options{
					Subjects: []string{"floor", "berth"}, Scenarios: []string{"wffc"}, Claims: 7, WFFCClaims: 8, StockClaims: 9, StockPods: 10,
					Stops: 11, Kills: 12, MemoryNodes: 13, MemoryClaims: 14, MemoryRest: 15 * time.Second,
					Latencies: []time.Duration{0, 50 * time.Millisecond}, Rounds: 3, Settle: 3 * time.Second, JSON: "F", Keep: "D",
					Capacity: defaultCapacityOptions(),
				}
			},
		},
		"smoke only changes defaults": {
			args: "--subjects floor --smoke",
			want: func(o *Options) { *o = smokeOptions(); o.Subjects = []string{"floor"} },
		},
		"a name said twice counts once": {
			args: "--subjects berth,berth", want: func(o *Options) { o.Subjects = []string{"berth"} },
		},
		"an unknown subject":  {args: "--subjects nobody", wantErr: `no subject "nobody"`},
		"an unknown scenario": {args: "--scenarios nothing", wantErr: `no scenario "nothing"`},
		"no claims":           {args: "--claims 0", wantErr: "claims must be more than 0"},
		"no accidents":        {args: "--stops 0 --kills 0", wantErr: "stops and kills"},
		"no nodes":            {args: "--memory-nodes 0", wantErr: "memory-nodes must be more than 0"},
		"no list":             {args: "--subjects=,", wantErr: "no subjects"},
		"a negative latency":  {args: "--latency -1s", wantErr: "latency must not be below 0"},
		"a stray argument":    {args: "create", wantErr: `unexpected argument "create"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseOptions(strings.Fields(tc.args), io.Discard)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := defaultOptions()
			tc.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
