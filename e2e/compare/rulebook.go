package main

import (
	"regexp"
	"slices"
)

// A rule says that a difference is intended.
type rule struct {
	// anchor is the heading in docs/differences.md that explains it, as a link names it. Several rules may share one.
	anchor string
	// why, in a sentence.
	why string
	// cases it is for, as "group: name"; empty is all.
	cases string
	// path of the field; the whole of it has to match.
	path string
	// holds looks at the values; nil takes any.
	holds func(peer, berth any) bool
	// sometimes is a difference that need not show in every run, because the established provisioner leaves
	// something to chance.
	sometimes bool
}

// rulebook applies rules and counts.
type rulebook struct {
	rules []rule
	cases []*regexp.Regexp
	paths []*regexp.Regexp
	hits  []int
}

// newRulebook reads rules. A pattern that is none is a mistake in this program, which a test finds.
func newRulebook(rules []rule) *rulebook {
	b := &rulebook{rules: rules, hits: make([]int, len(rules))}
	for _, r := range rules {
		b.cases = append(b.cases, regexp.MustCompile(r.cases))
		b.paths = append(b.paths, regexp.MustCompile("^(?:"+r.path+")$"))
	}
	return b
}

// find returns the anchor of the first rule that a difference falls under, or nothing.
func (b *rulebook) find(title string, d difference) string {
	for i, r := range b.rules {
		if b.cases[i].MatchString(title) && b.paths[i].MatchString(d.Path) && (r.holds == nil || r.holds(d.Peer, d.Berth)) {
			b.hits[i]++
			return r.anchor
		}
	}
	return ""
}

// idle are the rules that nothing fell under though something should have.
func (b *rulebook) idle() []rule {
	var idle []rule
	for i, r := range b.rules {
		if b.hits[i] == 0 && !r.sometimes {
			idle = append(idle, r)
		}
	}
	return idle
}

// hitsByAnchor adds up the rules that share an explanation.
func (b *rulebook) hitsByAnchor() (anchors []string, hits map[string]int) {
	hits = map[string]int{}
	for i, r := range b.rules {
		if !slices.Contains(anchors, r.anchor) {
			anchors = append(anchors, r.anchor)
		}
		hits[r.anchor] += b.hits[i]
	}
	return anchors, hits
}
