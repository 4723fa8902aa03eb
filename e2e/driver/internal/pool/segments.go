package pool

import (
	"maps"
	"slices"
	"strings"
)

// Key names one segment: its topology pairs, sorted, as "key=value,key=value". Two maps that mean the same have the
// same Key, so it serves as a map key and as a readable name. The empty Key is the pool without segments.
type Key string

// KeyOf is the Key of a segment. Values with a comma or an equals sign cannot be confused with separators in practice:
// the CSI specification allows only alphanumerics, '-', '_', '.' and one '/' in keys and values.
func KeyOf(segments map[string]string) Key {
	if len(segments) == 1 { // by far the most common, and requests name thousands of them
		for k, v := range segments {
			return Key(k + "=" + v)
		}
	}
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(segments)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k)
		b.WriteByte('=')
		b.WriteString(segments[k])
	}
	return Key(b.String())
}

// String is the name to show people.
func (k Key) String() string {
	if k == "" {
		return "(no segments)"
	}
	return string(k)
}

// Matches says whether a pool with these segments serves a topology term. A pool described more finely than the term
// (region and zone against a region) lies inside it; one described more coarsely covers it. Both serve it; a pair that
// differs does not.
func Matches(poolSegments, term map[string]string) bool {
	small, large := term, poolSegments
	if len(small) > len(large) {
		small, large = large, small
	}
	for k, v := range small {
		if got, ok := large[k]; !ok || got != v {
			return false
		}
	}
	return true
}
