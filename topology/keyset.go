package topology

import (
	"slices"
	"strings"
)

// KeySet is a set of topology keys as a comparable value, in sorted order. A driver normally registers the same set on
// every node; while it is upgraded there may be two. The zero KeySet has no keys.
type KeySet struct {
	encoded string // each key, escaped, with a record separator behind it
}

// NewKeySet makes a KeySet. The slice is neither kept nor changed.
func NewKeySet(keys []string) KeySet {
	var b strings.Builder
	for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		b.WriteString(escape(key))
		b.WriteString(recordSeparator)
	}
	return KeySet{encoded: b.String()}
}

// keySet returns the segment's keys.
func (s Segment) keySet() KeySet {
	var b strings.Builder
	for pair := range s.pairs() {
		key, _, _ := strings.Cut(pair, unitSeparator)
		b.WriteString(key)
		b.WriteString(recordSeparator)
	}
	return KeySet{encoded: b.String()}
}

// Keys returns the sorted keys.
func (k KeySet) Keys() []string {
	var keys []string
	for rest := k.encoded; rest != ""; {
		var key string
		key, rest, _ = strings.Cut(rest, recordSeparator)
		keys = append(keys, unescape(key))
	}
	return keys
}

// IsZero reports whether there are no keys.
func (k KeySet) IsZero() bool { return k.encoded == "" }

// String is the form people read: "key,key".
func (k KeySet) String() string { return strings.Join(k.Keys(), ",") }
