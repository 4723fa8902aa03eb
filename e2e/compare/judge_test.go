package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// seen is an observation of one claim; each edit states what is different about it.
func seen(edits ...func(*observation)) *observation {
	o := newObservation()
	o.Claims["data"] = &view{
		Outcome: bound, CreateVolume: []any{map[string]any{"name": "pvc-UID"}},
		PersistentVolume: map[string]any{"spec": map[string]any{"csi": map[string]any{"volumeHandle": "HANDLE"}}},
		AfterDeletion:    volumeGone,
	}
	for _, edit := range edits {
		edit(o)
	}
	return o
}

func TestJudge(t *testing.T) {
	ended := func(as outcome) func(*observation) { return func(o *observation) { o.Claims["data"].Outcome = as } }
	retained := func(o *observation) { o.Claims["data"].AfterDeletion = "Released" }
	said := func(text string) func(*observation) {
		return func(o *observation) { o.Said["data"] = []string{text} }
	}
	for name, test := range map[string]struct {
		expect      outcome
		peer, berth played
		want        string // of the summary
		paths       []string
	}{
		"the same":              {peer: played{seen: seen()}, berth: played{seen: seen()}, want: "same (bound)"},
		"other words":           {peer: played{seen: seen(said("a"))}, berth: played{seen: seen(said("b"))}, want: "same (bound)"},
		"a field":               {peer: played{seen: seen()}, berth: played{seen: seen(retained)}, want: "DIFFERENT (bound)", paths: []string{"afterDeletion"}},
		"a field that is meant": {peer: played{seen: seen()}, berth: played{seen: seen(ended(failed))}, want: "as intended (bound)", paths: []string{"outcome"}},
		"not what the case is about": {
			expect: refused, peer: played{seen: seen()}, berth: played{seen: seen()}, want: "NOT COMPARED",
		},
		"what is refused is compared too": {
			expect: refused, peer: played{seen: seen(ended(refused))}, berth: played{seen: seen(ended(refused))}, want: "same (refused)",
		},
		"one did not work": {peer: played{seen: seen()}, berth: played{err: errors.New("not started")}, want: "NOT COMPARED"},
	} {
		t.Run(name, func(t *testing.T) {
			book := newRulebook([]rule{{anchor: "meant", path: "outcome", holds: values("bound", "failed")}})
			v := judge(group{name: "g"}, testCase{name: "c", expect: test.expect}, test.peer, test.berth, book)
			if got := v.summary(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			var paths []string
			for _, d := range v.Differences {
				paths = append(paths, d.Path)
			}
			if !slices.Equal(paths, test.paths) {
				t.Errorf("differences in %v, want %v", paths, test.paths)
			}
			if ok := strings.HasPrefix(test.want, "same") || strings.HasPrefix(test.want, "as intended"); v.ok() != ok {
				t.Errorf("ok is %v, want %v", v.ok(), ok)
			}
		})
	}
}

func TestReportEndsInAnErrorUnlessEverythingIsMeant(t *testing.T) {
	rules := []rule{{anchor: "meant", path: "a"}}
	meant := verdict{Group: "g", Case: "c", Outcome: bound, Differences: []difference{{Path: "a", Peer: 1.0, Rule: "meant"}}}
	other := verdict{Group: "g", Case: "d", Outcome: bound, Differences: []difference{{Path: "b", Berth: 2.0}}}
	for name, test := range map[string]struct {
		verdicts []verdict
		hits     int
		want     string
	}{
		"all as intended":         {[]verdict{meant}, 1, ""},
		"one is not":              {[]verdict{meant, other}, 1, "1 of 2 cases differ"},
		"a rule that is not used": {[]verdict{{Group: "g", Case: "c", Outcome: bound}}, 0, "1 rules of intended.go"},
	} {
		t.Run(name, func(t *testing.T) {
			book := newRulebook(rules)
			book.hits[0] = test.hits
			var out strings.Builder
			err := conclude(&out, Options{}, test.verdicts, book, time.Second)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if !strings.Contains(out.String(), "cases in 1s") {
				t.Errorf("the report lacks its last line:\n%s", out.String())
			}
		})
	}
}
