package topology

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Segment is one place in a cluster: topology keys with a value each, as a comparable value. Two segments are equal exactly if
// they have the same keys with the same values. The zero Segment has no keys.
type Segment struct {
	// Pairs sorted by key: key, unit separator, value, record separator. The separators are below every character of a label, so that
	// "n1" comes before "n10".
	encoded string
}

const (
	unitSeparator   = "\x1f"
	recordSeparator = "\x1e"
	escapeCharacter = "\x1d"
)

// NewSegment makes a Segment of the given keys and values. The map is not kept.
func NewSegment(pairs map[string]string) Segment {
	if len(pairs) == 0 {
		return Segment{}
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		writePair(&b, key, pairs[key])
	}
	return Segment{encoded: b.String()}
}

// SegmentOf takes the given keys, which must be sorted, from a node's labels. It reports false if a label is missing: such a
// node is not in any segment of these keys.
func SegmentOf(labels map[string]string, keys []string) (Segment, bool) {
	var b strings.Builder
	for _, key := range keys {
		value, ok := labels[key]
		if !ok {
			return Segment{}, false
		}
		writePair(&b, key, value)
	}
	return Segment{encoded: b.String()}, true
}

func writePair(b *strings.Builder, key, value string) {
	b.WriteString(escape(key))
	b.WriteString(unitSeparator)
	b.WriteString(escape(value))
	b.WriteString(recordSeparator)
}

// escape keeps the separators out of keys and values. Labels have none, but a driver may answer with anything, and the API server does
// not look at the values of a class's allowed topologies.
func escape(text string) string {
	if !strings.ContainsAny(text, escapeCharacter+recordSeparator+unitSeparator) {
		return text
	}
	return strings.NewReplacer(escapeCharacter, escapeCharacter+"e", recordSeparator, escapeCharacter+"r",
		unitSeparator, escapeCharacter+"u").Replace(text)
}

func unescape(text string) string {
	if !strings.Contains(text, escapeCharacter) {
		return text
	}
	return strings.NewReplacer(escapeCharacter+"e", escapeCharacter, escapeCharacter+"r", recordSeparator,
		escapeCharacter+"u", unitSeparator).Replace(text)
}

// pairs iterates over the encoded pairs, without their record separators.
func (s Segment) pairs() func(yield func(pair string) bool) {
	return func(yield func(string) bool) {
		for rest := s.encoded; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, recordSeparator)
			if !yield(pair) {
				return
			}
		}
	}
}

// All iterates over the segment's keys and values in the order of the keys.
func (s Segment) All() func(yield func(key, value string) bool) {
	return func(yield func(string, string) bool) {
		for pair := range s.pairs() {
			key, value, _ := strings.Cut(pair, unitSeparator)
			if !yield(unescape(key), unescape(value)) {
				return
			}
		}
	}
}

// Map returns the segment's keys and values in a new map; nil for the zero Segment.
func (s Segment) Map() map[string]string {
	if s.IsZero() {
		return nil
	}
	return maps.Collect(s.All())
}

// Len is the number of keys.
func (s Segment) Len() int { return strings.Count(s.encoded, recordSeparator) }

// IsZero reports whether the segment has no keys.
func (s Segment) IsZero() bool { return s.encoded == "" }

// Contains reports whether every key of other is here with the same value: whoever is in s is also in other.
func (s Segment) Contains(other Segment) bool {
	rest := s.encoded
	for want := range other.pairs() { // in the same order as ours
		for have := ""; have != want; {
			if rest == "" {
				return false
			}
			have, rest, _ = strings.Cut(rest, recordSeparator)
		}
	}
	return true
}

// Merge returns a segment with the pairs of both, and false if they disagree about a key.
func (s Segment) Merge(other Segment) (Segment, bool) {
	merged := maps.Collect(s.All())
	for key, value := range other.All() {
		if have, ok := merged[key]; ok && have != value {
			return Segment{}, false
		}
		merged[key] = value
	}
	return NewSegment(merged), true
}

// Compare orders segments by number of keys, then by keys and values, so that every list of segments has one order.
func (s Segment) Compare(other Segment) int {
	if c := cmp.Compare(s.Len(), other.Len()); c != 0 {
		return c
	}
	return cmp.Compare(s.encoded, other.encoded)
}

// String is the form people read: "key=value,key=value".
func (s Segment) String() string {
	var b strings.Builder
	for key, value := range s.All() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(key)
		b.WriteByte('=')
		b.WriteString(value)
	}
	return b.String()
}

// sortUnique sorts segments and drops repeats, in place.
func sortUnique(segments []Segment) []Segment {
	slices.SortFunc(segments, Segment.Compare)
	return slices.Compact(segments)
}
