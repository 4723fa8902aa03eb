package component

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	featureGatesFlag = "feature-gates"
	// everyComponent stands for every Kubernetes component: a gate of theirs means nothing to etcd.
	everyComponent = "all"
)

type gates map[string]bool

// String writes the gates as the components' own flag takes them.
func (g gates) String() string {
	items := make([]string, 0, len(g))
	for _, gate := range slices.Sorted(maps.Keys(g)) {
		items = append(items, gate+"="+strconv.FormatBool(g[gate]))
	}
	return strings.Join(items, ",")
}

// parseGates reads COMPONENT:GATE=BOOL[,GATE=BOOL]... items. A component's own item wins over one for all of them,
// whichever comes first; among equals the later one wins.
func parseGates(items []string) (map[Name]gates, error) {
	shared, own := gates{}, map[Name]gates{}
	for _, item := range items {
		prefix, list, found := strings.Cut(item, ":")
		if !found {
			return nil, fmt.Errorf("%q is not COMPONENT:GATE=BOOL[,GATE=BOOL]", item)
		}
		into := shared
		if prefix != everyComponent {
			name, err := Parse(prefix)
			if err != nil {
				return nil, err
			}
			if own[name] == nil {
				own[name] = gates{}
			}
			into = own[name]
		}
		if err := into.add(list); err != nil {
			return nil, fmt.Errorf("feature gates %q: %w", item, err)
		}
	}
	merged := maps.Clone(own)
	if len(shared) > 0 {
		for _, name := range Kubernetes() {
			merged[name] = maps.Clone(shared)
			maps.Copy(merged[name], own[name])
		}
	}
	return merged, nil
}

func (g gates) add(list string) error {
	for assignment := range strings.SplitSeq(list, ",") {
		gate, value, found := strings.Cut(assignment, "=")
		if !found || gate == "" {
			return fmt.Errorf("%q is not GATE=BOOL", assignment)
		}
		enabled, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		g[gate] = enabled
	}
	return nil
}
