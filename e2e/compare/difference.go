package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
)

// A difference is a field that has not the same value for both subjects. A field that is not there is nil.
type difference struct {
	// Claim it is about.
	Claim string `json:"claim"`
	// Path of the field. A list that has the same elements in another order has "(order)" behind its path.
	Path  string `json:"path"`
	Peer  any    `json:"peer"`
	Berth any    `json:"berth"`
	// Rule that says that it is intended, empty for none.
	Rule string `json:"rule,omitempty"`
}

func (d difference) String() string {
	return fmt.Sprintf("%s %s: %s here, %s there", d.Claim, d.Path, show(d.Peer), show(d.Berth))
}

// orderOnly is behind the path of a list whose elements are the same, but not their order.
const orderOnly = " (order)"

// compareTrees lists the fields in which two trees of JSON values differ, by path.
func compareTrees(path string, peer, berth any) []difference {
	if reflect.DeepEqual(peer, berth) {
		return nil
	}
	if a, ok := peer.(map[string]any); ok {
		if b, ok := berth.(map[string]any); ok {
			return compareObjects(path, a, b)
		}
	}
	if a, ok := peer.([]any); ok {
		if b, ok := berth.([]any); ok {
			return compareLists(path, a, b)
		}
	}
	return []difference{{Path: path, Peer: peer, Berth: berth}}
}

func compareObjects(path string, peer, berth map[string]any) []difference {
	keys := map[string]bool{}
	for key := range peer {
		keys[key] = true
	}
	for key := range berth {
		keys[key] = true
	}
	var all []difference
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, compareTrees(join(path, key), peer[key], berth[key])...)
	}
	return all
}

func compareLists(path string, peer, berth []any) []difference {
	if slices.Equal(sortedElements(peer), sortedElements(berth)) {
		return []difference{{Path: path + orderOnly, Peer: peer, Berth: berth}}
	}
	if !slices.ContainsFunc(append(slices.Clone(peer), berth...), nested) {
		return []difference{{Path: path, Peer: peer, Berth: berth}}
	}
	var all []difference
	for i := range max(len(peer), len(berth)) {
		all = append(all, compareTrees(fmt.Sprintf("%s[%d]", path, i), element(peer, i), element(berth, i))...)
	}
	return all
}

func element(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func nested(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return true
	default:
		return false
	}
}

// sortedElements writes the elements of a list, each in one way only: the keys of an object are sorted in JSON.
func sortedElements(list []any) []string {
	var texts []string
	for _, e := range list {
		texts = append(texts, show(e))
	}
	slices.Sort(texts)
	return texts
}

var simpleKey = regexp.MustCompile(`^[A-Za-z_]\w*$`)

func join(path, key string) string {
	switch {
	case !simpleKey.MatchString(key):
		return fmt.Sprintf("%s[%s]", path, key)
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

// show writes a value for people.
func show(value any) string {
	if value == nil {
		return "nothing"
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}
