package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/duration"
)

// maxQuote bounds what is repeated of other people's words.
const maxQuote = 600

// quote makes one line of what somebody else wrote: drivers and the authors of events may write anything, and what is printed to a
// terminal must not give it orders.
func quote(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(text); len(runes) > maxQuote {
		text = string(runes[:maxQuote]) + "…"
	}
	return text
}

// harmless takes from a text what would give a terminal orders. Names in annotations and references are whatever somebody wrote.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// sentence makes a sentence of something that may lack its stop.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsRune(".!?…", []rune(text)[len([]rune(text))-1]) {
		return text
	}
	return text + "."
}

// ago is how long before now something was. Clocks differ, so a moment ahead is now.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return "at an unknown time"
	}
	if past := now.Sub(then); past >= time.Second {
		return duration.HumanDuration(past) + " ago"
	}
	return "just now"
}

// span is a duration for people.
func span(d time.Duration) string { return duration.HumanDuration(max(d, 0)) }

// clock is a time for people who look at a clock; it names the zone.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// size writes bytes in the largest unit that does it justice.
func size(quantity resource.Quantity) string {
	units := []string{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
	value, unit := quantity.Value(), 0
	for ; value != 0 && value%1024 == 0 && unit < len(units)-1; unit++ {
		value /= 1024
	}
	if value < 10<<10 || unit == len(units)-1 {
		return fmt.Sprintf("%d%s", value, units[unit])
	}
	near := float64(value) // of no round number
	for ; near >= 1024 && unit < len(units)-1; unit++ {
		near /= 1024
	}
	return fmt.Sprintf("%.1f%s", near, units[unit])
}

// few joins the first of many.
func few(words []string, most int) string {
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

// count writes a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// similar are the names that somebody may have meant, the likeliest first.
func similar(name string, names []string, most int) []string {
	type candidate struct {
		name  string
		steps int
	}
	var candidates []candidate
	for _, other := range names {
		steps := distance(name, other)
		if strings.HasPrefix(other, name) || strings.HasPrefix(name, other) || strings.HasSuffix(other, "-"+name) {
			steps = 1
		}
		if other != name && steps <= max(1, min(3, len(name)/3)) {
			candidates = append(candidates, candidate{other, steps})
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.steps, b.steps), cmp.Compare(a.name, b.name))
	})
	var found []string
	for _, c := range candidates[:min(most, len(candidates))] {
		found = append(found, c.name)
	}
	return found
}

// distance is how many characters have to be put in, left out or changed to make one name of the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
