package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// names are what a run's objects happened to be called, each with what it is called in every run: two runs differ in their
// UIDs and in the driver's handles, and in nothing else that a name can be made of.
type names struct {
	pairs []string // literal, placeholder, the longest literals first
}

// shortestUID is the shortest beginning of a UID that is still taken for one in a name.
const shortestUID = 8

// newNames remembers a placeholder for each literal. An empty literal stands for nothing.
func newNames(placeholders map[string]string) names {
	var literals []string
	for literal := range placeholders {
		if literal != "" {
			literals = append(literals, literal)
		}
	}
	slices.SortFunc(literals, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	var n names
	for _, literal := range literals {
		n.pairs = append(n.pairs, literal, placeholders[literal])
	}
	return n
}

// uidPlaceholders are those of a UID: as it is, and without dashes, in full or cut off, as --volume-name-uuid-length has it.
func uidPlaceholders(uid, placeholder string) map[string]string {
	all := map[string]string{uid: placeholder}
	compact := strings.ReplaceAll(uid, "-", "")
	if compact == uid {
		return all
	}
	for length := len(compact); length >= shortestUID; length-- {
		if beginning := compact[:length]; !strings.HasPrefix(uid, beginning) {
			all[beginning] = fmt.Sprintf("%s[:%d]", placeholder, length)
		}
	}
	return all
}

// in replaces what is known in a string.
func (n names) in(text string) string {
	// A Replacer would prefer the first pair, not the longest, only where two begin at the same place: that is the order here.
	return strings.NewReplacer(n.pairs...).Replace(text)
}

// inAll replaces what is known in all strings of a tree of JSON values, keys included.
func (n names) inAll(value any) any {
	switch v := value.(type) {
	case string:
		return n.in(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = n.inAll(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, field := range v {
			object[n.in(key)] = n.inAll(field)
		}
		return object
	default:
		return v
	}
}

// tree turns a value into what its JSON says.
func tree(value any) (any, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var t any
	err = json.Unmarshal(data, &t)
	return t, err
}

// object is tree for a value that is an object.
func object(value any) (map[string]any, error) {
	t, err := tree(value)
	if err != nil {
		return nil, err
	}
	o, ok := t.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%T is not an object", value)
	}
	return o, nil
}

// identityKey is the volume attribute that names the process which made the volume.
const identityKey = "storage.kubernetes.io/csiProvisionerIdentity"

// stored evens out an object of the API server: what it counts and dates itself goes, and what has to differ between two
// processes or two writes is only said to be there.
func stored(object map[string]any) map[string]any {
	if metadata, ok := object["metadata"].(map[string]any); ok {
		for _, key := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"} {
			delete(metadata, key)
		}
		if finalizers, ok := metadata["finalizers"].([]any); ok { // a set, in the order in which they came
			slices.SortFunc(finalizers, func(a, b any) int { return strings.Compare(show(a), show(b)) })
		}
	}
	if status, ok := object["status"].(map[string]any); ok {
		delete(status, "lastPhaseTransitionTime")
	}
	someValue(object, "spec", "claimRef", "resourceVersion")
	someValue(object, "spec", "csi", "volumeAttributes", identityKey)
	return object
}

// someValue replaces a text, if there is one, by a word that says so.
func someValue(object map[string]any, path ...string) {
	for _, key := range path[:len(path)-1] {
		next, ok := object[key].(map[string]any)
		if !ok {
			return
		}
		object = next
	}
	last := path[len(path)-1]
	if text, ok := object[last].(string); ok && text != "" {
		object[last] = "SOME"
	}
}

// hexadecimal is what messages are full of that nobody can compare: pointers, hashes, and UIDs of objects made by others.
var hexadecimal = regexp.MustCompile(`\b(0x)?[0-9a-f]{8,}\b`)

// message evens out what somebody said.
func message(text string, n names) string {
	return hexadecimal.ReplaceAllString(n.in(text), "#")
}
