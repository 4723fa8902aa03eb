package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseOptions(t *testing.T) {
	tests := map[string]struct {
		args    []string
		change  func(*Options)
		problem string
	}{
		"nothing is the default": {change: func(*Options) {}},
		"a range of time": {
			args: []string{"--kill-every", "1s-90s"}, change: func(o *Options) { o.KillEvery = span{time.Second, 90 * time.Second} },
		},
		"a single time is both ends": {
			args: []string{"--kill-every", "4s"}, change: func(o *Options) { o.KillEvery = span{4 * time.Second, 4 * time.Second} },
		},
		"subjects": {
			args: []string{"--subjects", "peer,berth,peer"}, change: func(o *Options) { o.Subjects = []string{subjectPeer, subjectBerth} },
		},
		"a range that is upside down":                {args: []string{"--kill-every", "5s-2s"}, problem: "kill-every"},
		"a subject there is not":                     {args: []string{"--subjects", "floor"}, problem: `no subject "floor"`},
		"no claims":                                  {args: []string{"--claims", "0"}, problem: "claims"},
		"an argument":                                {args: []string{"berth"}, problem: "unexpected"},
		"giving up before the end could be believed": {args: []string{"--settle", "1s"}, problem: "settle"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseOptions(tc.args, io.Discard)
			if tc.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tc.problem) {
					t.Errorf("error %v, want one about %s", err, tc.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := defaultOptions()
			tc.change(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
