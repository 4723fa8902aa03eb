package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// conclude writes the report and says what is wrong.
func conclude(out io.Writer, o Options, verdicts []verdict, book *rulebook, took time.Duration) error {
	idle := book.idle()
	if o.Case != nil {
		idle = nil // the cases that need them may have been left out
	}
	if _, err := io.WriteString(out, report(verdicts, book, idle, took)); err != nil {
		return err
	}
	if o.JSON != "" {
		data, err := json.MarshalIndent(verdicts, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.JSON, append(data, '\n'), 0o644); err != nil {
			return fmt.Errorf("write figures: %w", err)
		}
	}
	wrong := 0
	for _, v := range verdicts {
		if !v.ok() {
			wrong++
		}
	}
	var errs []error
	if wrong > 0 {
		errs = append(errs, fmt.Errorf("%d of %d cases differ in a way that nothing explains", wrong, len(verdicts)))
	}
	if len(idle) > 0 {
		errs = append(errs, fmt.Errorf("%d rules of intended.go are not needed", len(idle)))
	}
	return errors.Join(errs...)
}

// report is the table of cases, what was said about those that were not bound, and the counts.
func report(verdicts []verdict, book *rulebook, idle []rule, took time.Duration) string {
	var b strings.Builder
	group := ""
	for _, v := range verdicts {
		if v.Group != group {
			group = v.Group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		fmt.Fprintf(&b, "  %-64s %s\n", v.Case, v.summary())
		for _, problem := range v.Problems {
			fmt.Fprintf(&b, "      PROBLEM %s\n", problem)
		}
		for _, d := range v.Differences {
			b.WriteString(describe(d))
		}
	}
	writeSaid(&b, verdicts)
	writeCounts(&b, verdicts, book, idle, took)
	return b.String()
}

// summary is the word for a case.
func (v verdict) summary() string {
	switch {
	case len(v.Problems) > 0:
		return "NOT COMPARED"
	case len(v.open()) > 0:
		return "DIFFERENT (" + string(v.Outcome) + ")"
	case len(v.Differences) > 0:
		return "as intended (" + string(v.Outcome) + ")"
	default:
		return "same (" + string(v.Outcome) + ")"
	}
}

// describe is a difference with both values.
func describe(d difference) string {
	mark := "DIFFERENT"
	if d.Rule != "" {
		mark = "intended (" + d.Rule + ")"
	}
	claim := ""
	if d.Claim != "" && d.Claim != "data" {
		claim = " of " + d.Claim
	}
	return fmt.Sprintf("      %s: %s%s\n        %-16s %s\n        %-16s %s\n",
		mark, d.Path, claim, peerName, shorten(show(d.Peer)), berthName, shorten(show(d.Berth)))
}

// shorten keeps a value within what a reader takes in.
func shorten(text string) string {
	const limit = 400
	if len(text) > limit {
		return text[:limit] + "..."
	}
	return text
}

// writeSaid lists the words for what went wrong: they differ on purpose, and are only for reading.
func writeSaid(b *strings.Builder, verdicts []verdict) {
	b.WriteString("\nWhat each says where a claim is not bound (not compared)\n")
	for _, v := range verdicts {
		if v.Outcome == bound || len(v.Said) == 0 {
			continue
		}
		fmt.Fprintf(b, "  %s\n", title(v.Group, v.Case))
		for _, name := range []string{peerName, berthName} {
			if len(v.Said[name]) == 0 {
				fmt.Fprintf(b, "    %-16s nothing\n", name)
			}
			for _, text := range v.Said[name] {
				fmt.Fprintf(b, "    %-16s %s\n", name, shorten(strings.ReplaceAll(text, "\n", " ")))
			}
		}
	}
}

func writeCounts(b *strings.Builder, verdicts []verdict, book *rulebook, idle []rule, took time.Duration) {
	var same, asIntended, different, notCompared int
	for _, v := range verdicts {
		switch {
		case len(v.Problems) > 0:
			notCompared++
		case len(v.open()) > 0:
			different++
		case len(v.Differences) > 0:
			asIntended++
		default:
			same++
		}
	}
	b.WriteString("\nIntended differences, explained in docs/differences.md\n")
	anchors, hits := book.hitsByAnchor()
	for _, anchor := range anchors {
		fmt.Fprintf(b, "  %-44s %4d fields\n", anchor, hits[anchor])
	}
	for _, r := range idle {
		fmt.Fprintf(b, "  NOT NEEDED: %s, path %s, cases %q\n", r.anchor, r.path, r.cases)
	}
	fmt.Fprintf(b, "\n%d cases in %.0fs: %d the same, %d different as intended, %d DIFFERENT, %d NOT COMPARED\n",
		len(verdicts), took.Seconds(), same, asIntended, different, notCompared)
}
