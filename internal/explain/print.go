package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// lineWidth is where lines are broken: a terminal beside something else.
const lineWidth = 110

// Print writes findings for people: the verdict, what was found, and what to do.
//
//	Claim shop/data is Pending: ...
//
//	  claim         10Gi, ReadWriteOnce, made 4m ago.
//	! class         Storage class "fats" does not exist.
//
//	What to do
//	  1. ...
//
// A line begins with ! for a problem, ~ for a warning, > for what is waited for, and ? for what could not be looked at.
func Print(out io.Writer, findings []Finding) error {
	if len(findings) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, line := range wrap(findings[0].Text, lineWidth) {
		fmt.Fprintln(&b, line)
	}
	if len(findings) > 1 {
		fmt.Fprintln(&b)
	}
	column := 0
	for _, finding := range findings[1:] {
		column = max(column, utf8.RuneCountInString(finding.About))
	}
	last := ""
	for _, finding := range findings[1:] {
		about := finding.About
		if about == last { // said once for all that follow
			about = ""
		}
		last = finding.About
		for i, line := range wrap(finding.Text, lineWidth-column-5) {
			sign := mark(finding.Severity)
			if i > 0 {
				sign, about = " ", ""
			}
			fmt.Fprintf(&b, "%s %-*s   %s\n", sign, column, about, line)
		}
	}
	if steps := advice(findings); len(steps) > 0 {
		fmt.Fprintln(&b, "\nWhat to do")
		for i, step := range steps {
			number := fmt.Sprintf("  %d. ", i+1)
			for j, line := range wrap(step, lineWidth-len(number)) {
				if j > 0 {
					number = strings.Repeat(" ", len(number))
				}
				fmt.Fprintf(&b, "%s%s\n", number, line)
			}
		}
	}
	_, err := out.Write(b.Bytes())
	return err
}

// PrintJSON writes findings for programs: a list, the verdict first.
func PrintJSON(out io.Writer, findings []Finding) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(findings)
}

func mark(severity Severity) string {
	switch severity {
	case Problem:
		return "!"
	case Warning:
		return "~"
	case Waiting:
		return ">"
	case Unknown:
		return "?"
	case Info:
	}
	return " "
}

// advice is what to do, each thing once: first what holds the claim up.
func advice(findings []Finding) []string {
	var steps []string
	for _, severity := range []Severity{Problem, Waiting, Warning, Info, Unknown} {
		for _, finding := range findings {
			if finding.Severity == severity && finding.Do != "" && !slices.Contains(steps, finding.Do) {
				steps = append(steps, finding.Do)
			}
		}
	}
	return steps
}

// wrap breaks a text into lines, between words, but not within double quotes where it can be helped: commands are copied.
func wrap(text string, width int) []string {
	var lines []string
	line, length := "", 0
	for _, word := range words(text) {
		n := utf8.RuneCountInString(word)
		if length > 0 && length+1+n > width {
			lines = append(lines, line)
			line, length = "", 0
		}
		if length > 0 {
			line, length = line+" ", length+1
		}
		line, length = line+word, length+n
	}
	return append(lines, line)
}

// maxPhrase is the longest quotation that is kept in one piece.
const maxPhrase = 70

// words splits a text at its spaces; a quotation that is not too long is one word.
func words(text string) []string {
	var all []string
	for word := range strings.FieldsSeq(text) {
		if last := len(all) - 1; last >= 0 && strings.Count(all[last], `"`)%2 == 1 && len(all[last])+len(word) < maxPhrase {
			all[last] += " " + word
			continue
		}
		all = append(all, word)
	}
	return all
}
