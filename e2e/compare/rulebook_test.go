package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestFirstRuleThatFitsCounts(t *testing.T) {
	book := newRulebook([]rule{
		{anchor: "one", cases: `^g: first$`, path: `a\.b`},
		{anchor: "other", path: `a\..*`, holds: values("x", "y")},
		{anchor: "never", path: `z`},
		{anchor: "now-and-then", path: `z`, sometimes: true},
	})
	for name, test := range map[string]struct {
		title string
		d     difference
		want  string
	}{
		"its case and its path":      {"g: first", difference{Path: "a.b"}, "one"},
		"another case":               {"g: second", difference{Path: "a.b"}, ""},
		"another case, its values":   {"g: second", difference{Path: "a.b", Peer: "x", Berth: "y"}, "other"},
		"only a part of its path":    {"g: first", difference{Path: "a.b.c"}, ""},
		"values the other way round": {"g: second", difference{Path: "a.c", Peer: "y", Berth: "x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := book.find(test.title, test.d); got != test.want {
				t.Errorf("rule %q, want %q", got, test.want)
			}
		})
	}
	idle := book.idle()
	if len(idle) != 1 || idle[0].anchor != "never" {
		t.Errorf("rules that are not needed: %v, want the one called never", idle)
	}
}

func TestFinalizerThatIsTakenOff(t *testing.T) {
	holds := withoutElement("ours")
	for name, test := range map[string]struct {
		peer, berth any
		want        bool
	}{
		"taken off":                  {[]any{"a", "ours"}, []any{"a"}, true},
		"the only one, taken off":    {[]any{"ours"}, nil, true},
		"still there":                {[]any{"a", "ours"}, []any{"a", "ours"}, false},
		"another one is missing too": {[]any{"a", "ours"}, nil, false},
		"was not there":              {[]any{"a"}, []any{"a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := holds(test.peer, test.berth); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// Every rule is explained in the document that people read, and the document explains nothing that is not there.
func TestIntendedDifferencesAreExplained(t *testing.T) {
	newRulebook(intended) // does not panic
	data, err := os.ReadFile("../../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for line := range strings.SplitSeq(string(data), "\n") {
		if heading, ok := strings.CutPrefix(line, "### "); ok {
			headings[anchorOf(heading)] = true
		}
	}
	used := map[string]bool{}
	for _, r := range intended {
		used[r.anchor] = true
		if !headings[r.anchor] {
			t.Errorf("rule %q: docs/differences.md has no heading for it", r.anchor)
		}
		if r.why == "" {
			t.Errorf("rule %q for %s says no reason", r.anchor, r.path)
		}
	}
	for heading := range headings {
		if !used[heading] {
			t.Errorf("docs/differences.md explains %q, and no rule is about it", heading)
		}
	}
}

// anchorOf is how a link names a heading.
func anchorOf(heading string) string {
	words := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(words, " ", "-")
}
