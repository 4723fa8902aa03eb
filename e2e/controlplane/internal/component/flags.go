package component

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Flags are the command line of one component: flag names without dashes, and their values. A flag can be given
// once; those that a component accepts repeatedly also accept a comma-separated list.
type Flags map[string]string

// With returns a copy in which over's flags replace or join f's. Neither is changed, either may be nil.
func (f Flags) With(over Flags) Flags {
	merged := make(Flags, len(f)+len(over))
	maps.Copy(merged, f)
	maps.Copy(merged, over)
	return merged
}

// Without returns a copy that lacks the named flags.
func (f Flags) Without(names ...string) Flags {
	rest := maps.Clone(f)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// Args writes the flags as arguments, sorted, so that two starts with the same settings have the same command line.
func (f Flags) Args() []string {
	args := make([]string, 0, len(f))
	for _, name := range slices.Sorted(maps.Keys(f)) {
		args = append(args, "--"+name+"="+f[name])
	}
	return args
}

// ParseFlags reads FLAG=VALUE items, with or without leading dashes. A later item wins over an earlier one.
func ParseFlags(items []string) (Flags, error) {
	flags := Flags{}
	for _, item := range items {
		name, value, found := strings.Cut(strings.TrimLeft(item, "-"), "=")
		if !found || name == "" {
			return nil, fmt.Errorf("%q is not FLAG=VALUE", item)
		}
		flags[name] = value
	}
	return flags, nil
}

// Overrides are the flags a user has set, by component.
type Overrides map[Name]Flags

// ParseOverrides reads `up`'s --feature-gates (COMPONENT:GATE=BOOL[,GATE=BOOL]..., where COMPONENT may be "all") and
// --set (COMPONENT:FLAG=VALUE) items. Gates become the feature-gates flag; a --set of that very flag replaces it.
func ParseOverrides(gates, sets []string) (Overrides, error) {
	overrides := Overrides{}
	byComponent, err := parseGates(gates)
	if err != nil {
		return nil, err
	}
	for name, set := range byComponent {
		overrides[name] = Flags{featureGatesFlag: set.String()}
	}
	for _, item := range sets {
		prefix, assignment, found := strings.Cut(item, ":")
		if !found {
			return nil, fmt.Errorf("%q is not COMPONENT:FLAG=VALUE", item)
		}
		name, err := Parse(prefix)
		if err != nil {
			return nil, err
		}
		flags, err := ParseFlags([]string{assignment})
		if err != nil {
			return nil, err
		}
		overrides[name] = overrides[name].With(flags)
	}
	return overrides, nil
}
