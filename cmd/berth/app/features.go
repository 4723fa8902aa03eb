package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	"k8s.io/klog/v2"
)

// Feature gates. They have the established provisioner's names.
const (
	gateTopology       featuregate.Feature = "Topology"
	gateAttributes     featuregate.Feature = "VolumeAttributesClass"
	gateCrossNamespace featuregate.Feature = "CrossNamespaceVolumeDataSource"
)

// graduatedGates are no gates here: what they turned on is always on. They are accepted, because manifests go on naming them.
var graduatedGates = map[string]string{
	"HonorPVReclaimPolicy":        "a volume is deleted with its object, whichever of claim and object goes first",
	"ReleaseLeaderElectionOnExit": "the lease is released when a leader stops, after its work is finished",
}

// FeatureOptions are what is turned on and off as a whole. The set of gates is our own: those of libraries are neither listed nor accepted.
type FeatureOptions struct {
	gates     featuregate.MutableVersionedFeatureGate
	graduated map[string]bool // as typed
}

func newFeatureOptions() (FeatureOptions, error) {
	gates := featuregate.NewFeatureGate()
	err := gates.Add(map[featuregate.Feature]featuregate.FeatureSpec{
		gateTopology:       {Default: true, PreRelease: featuregate.GA},
		gateAttributes:     {Default: true, PreRelease: featuregate.GA},
		gateCrossNamespace: {Default: false, PreRelease: featuregate.Alpha},
	})
	if err != nil {
		return FeatureOptions{}, fmt.Errorf("feature gates: %w", err)
	}
	return FeatureOptions{gates: gates, graduated: map[string]bool{}}, nil
}

// gatesValue reads --feature-gates.
type gatesValue struct{ options *FeatureOptions }

func (v gatesValue) Type() string { return "Gate=true|false,..." }

// String is what was typed; empty: nothing, or only gates that have no effect any more.
func (v gatesValue) String() string {
	if v.options == nil {
		return ""
	}
	var typed []string
	for _, name := range v.options.known() {
		if gate := featuregate.Feature(name); v.options.explicit(gate) {
			typed = append(typed, fmt.Sprintf("%s=%t", name, v.options.enabled(gate)))
		}
	}
	return strings.Join(typed, ",")
}

func (v gatesValue) Set(s string) error {
	typed := map[string]bool{}
	if err := cliflag.NewMapStringBool(&typed).Set(s); err != nil {
		return err
	}
	for name := range graduatedGates {
		if on, ok := typed[name]; ok {
			v.options.graduated[name] = on
			delete(typed, name)
		}
	}
	for name := range typed {
		if _, ok := v.options.gates.GetAll()[featuregate.Feature(name)]; !ok {
			return fmt.Errorf("there is no feature gate %q: the gates are %s", name, strings.Join(v.options.known(), ", "))
		}
	}
	return v.options.gates.SetFromMap(typed)
}

// known are the names of our gates, without the two that the library adds to every set.
func (o *FeatureOptions) known() []string {
	return []string{string(gateCrossNamespace), string(gateTopology), string(gateAttributes)}
}

// AddFlags adds the flag.
func (o *FeatureOptions) AddFlags(flags *pflag.FlagSet) {
	flags.Var(gatesValue{o}, "feature-gates", strings.Join([]string{
		"What to turn on or off:",
		string(gateCrossNamespace) + " (alpha, default false): claims may be made from sources in other namespaces that grant it with a ReferenceGrant.",
		string(gateTopology) + " (default true): volumes go where the driver says they are accessible.",
		string(gateAttributes) + " (default true; off by itself if the API server has none): claims may name a VolumeAttributesClass.",
	}, "\n"))
}

// enabled reports whether a gate is on.
func (o *FeatureOptions) enabled(gate featuregate.Feature) bool { return o.gates.Enabled(gate) }

// explicit reports whether a gate was set, and not left to its default.
func (o *FeatureOptions) explicit(gate featuregate.Feature) bool { return o.gates.ExplicitlySet(gate) }

// notice tells about gates that were typed and have no effect.
func (o *FeatureOptions) notice() {
	for _, name := range slices.Sorted(maps.Keys(o.graduated)) {
		klog.Background().Info("A feature gate has no effect any more, it can be removed from --feature-gates",
			"gate", name, "typed", o.graduated[name], "always", graduatedGates[name])
	}
}
