package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/berth-csi/berth/topology"
)

// The parts that a process may consist of.
const (
	componentProvisioner = "provisioner"
	componentCapacity    = "capacity"
	componentWebhook     = "webhook"
)

// components are all that there are.
var components = map[string]bool{
	componentProvisioner: true,
	componentCapacity:    true,
	componentWebhook:     true,
}

// ComponentOptions say what this process does, and for which driver.
type ComponentOptions struct {
	Components []string
	DriverName string
}

func newComponentOptions() ComponentOptions {
	return ComponentOptions{Components: []string{componentProvisioner}}
}

// AddFlags adds the flags.
func (o *ComponentOptions) AddFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.Components, "components", o.Components,
		"What this process does: provisioner (creates and deletes volumes), capacity (tells the scheduler how much room there is, as with --enable-capacity; only beside provisioner), webhook (serves the admission webhooks). With webhook alone it needs no driver.")
	flags.StringVar(&o.DriverName, "driver-name", o.DriverName,
		"Name of the CSI driver. Default: what the driver says. Required with the component webhook alone; together with the provisioner it lets admission begin before the driver answers.")
}

// has reports whether a component is among those asked for.
func (o *ComponentOptions) has(component string) bool {
	return slices.Contains(o.Components, component)
}

// needsDriver reports whether any of them calls the driver.
func (o *ComponentOptions) needsDriver() bool {
	return o.has(componentProvisioner) || o.has(componentCapacity)
}

// Validate checks the values.
func (o *ComponentOptions) Validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(o.Components) == 0 {
		add("--components must name at least one of %s, %s, %s", componentProvisioner, componentCapacity, componentWebhook)
	}
	for _, name := range o.Components {
		if !components[name] {
			add("--components: there is no %q, only %s, %s and %s", name, componentProvisioner, componentCapacity, componentWebhook)
		}
	}
	if o.has(componentCapacity) && !o.has(componentProvisioner) {
		add("--components: %s (or --enable-capacity) is only there beside %s, whose volumes it has to know of", componentCapacity, componentProvisioner)
	}
	if o.has(componentWebhook) && !o.needsDriver() && o.DriverName == "" {
		add("--driver-name is required with --components=%s: there is no driver to ask for it", componentWebhook)
	}
	if o.DriverName != "" {
		if faults := content.IsLabelKey(strings.ToLower(topology.HintKey(o.DriverName))); len(faults) > 0 {
			add("--driver-name %q is no name of a driver: %s", o.DriverName, strings.Join(faults, "; "))
		}
	}
	return errors.Join(problems...)
}
