package topology

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A hint says, in an annotation on a claim, where its volume had better be: segments, the best first. People read it and may write it:
//
//	v1;zone=a,rack=1;zone=b
//
// The version comes first, then each segment behind a semicolon, its pairs separated by commas. Keys and values are those of labels, so
// none of the separators can be in them. Space around a key, a value or a segment does not count, and a segment named again says nothing
// new. A hint is a preference and nothing else: who follows it keeps to what a class allows, and goes on without the segments that are not
// there any more.
const (
	hintVersion = "v1"
	// maxHint bounds the text, of which there is one on every claim with Immediate binding.
	maxHint = 16 << 10
)

// HintKey is the annotation that holds the hint of a driver's claims.
func HintKey(driver string) string { return driver + "/topology-hint" }

// FormatHint writes a hint. Segments that no node can be in (see ValidateSegment), those without keys, repeats, and what would make the
// text longer than ParseHint reads are left out; it is empty if nothing is left.
func FormatHint(segments []Segment) string {
	var b strings.Builder
	written := map[Segment]bool{}
	for _, segment := range segments {
		if segment.IsZero() || written[segment] || ValidateSegment(segment) != nil {
			continue
		}
		text := segment.String()
		if len(hintVersion)+b.Len()+len(";")+len(text) > maxHint {
			break
		}
		written[segment] = true
		b.WriteByte(';')
		b.WriteString(text)
	}
	if b.Len() == 0 {
		return ""
	}
	return hintVersion + b.String()
}

// ParseHint reads a hint. The segments are distinct, in the hint's order, and at least one. The error says, for who wrote it, what is wrong.
func ParseHint(text string) ([]Segment, error) {
	if len(text) > maxHint {
		return nil, fmt.Errorf("it has %d bytes, %d are allowed", len(text), maxHint)
	}
	version, list, _ := strings.Cut(text, ";")
	switch {
	case strings.TrimSpace(version) != hintVersion:
		return nil, fmt.Errorf("it begins with %s and not with the version %q, as in %q", quoted(version), hintVersion, hintVersion+";zone=a;zone=b")
	case strings.TrimSpace(list) == "":
		return nil, fmt.Errorf("it names no segment, as in %q", hintVersion+";zone=a;zone=b")
	}
	var segments []Segment
	known := map[Segment]bool{}
	for part := range strings.SplitSeq(list, ";") {
		segment, err := parseSegment(part)
		if err != nil {
			return nil, err
		}
		if !known[segment] {
			known[segment] = true
			segments = append(segments, segment)
		}
	}
	return segments, nil
}

// parseSegment reads what Segment.String writes, of a segment that a node can be in.
func parseSegment(text string) (Segment, error) {
	if strings.TrimSpace(text) == "" {
		return Segment{}, errors.New("a segment in it is empty")
	}
	pairs := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return Segment{}, fmt.Errorf("%s in it is not of the form key=value", quoted(strings.TrimSpace(pair)))
		}
		if _, again := pairs[key]; again {
			return Segment{}, fmt.Errorf("a segment in it has the topology key %s twice", quoted(key))
		}
		pairs[key] = strings.TrimSpace(value)
	}
	segment := NewSegment(pairs)
	return segment, ValidateSegment(segment)
}

// Spread says where, in a list of that many segments that are equally good for it, a claim's turn comes first, so that claims are spread
// over them as Require spreads those with Immediate binding. Replica tells that the name ends in an ordinal, as those of a StatefulSet's
// claims do: the next one starts at the next segment.
func Spread(claim string, segments int) (first int, replica bool) {
	if dash := strings.LastIndexByte(claim, '-'); dash >= 0 {
		_, err := strconv.ParseUint(claim[dash+1:], 10, 32)
		replica = err == nil
	}
	if segments < 1 {
		return 0, replica
	}
	return Need{ClaimName: claim}.first(segments), replica
}
