package app

import (
	"errors"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/util/validation/field"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/klog/v2"
)

// Options are the flags, as typed.
type Options struct {
	Components   ComponentOptions
	Kube         KubeOptions
	Driver       DriverOptions
	Provisioning ProvisioningOptions
	Capacity     CapacityOptions
	Node         NodeOptions
	Admission    AdmissionOptions
	Features     FeatureOptions
	Leader       LeaderOptions
	Diagnostics  DiagnosticsOptions
	Older        CompatibilityOptions
	Logging      *logsapi.LoggingConfiguration
}

// NewOptions returns the defaults.
func NewOptions() (*Options, error) {
	features, err := newFeatureOptions()
	if err != nil {
		return nil, err
	}
	return &Options{
		Components:   newComponentOptions(),
		Driver:       newDriverOptions(),
		Provisioning: newProvisioningOptions(),
		Capacity:     newCapacityOptions(),
		Node:         newNodeOptions(),
		Admission:    newAdmissionOptions(),
		Features:     features,
		Leader:       newLeaderOptions(),
		Diagnostics:  newDiagnosticsOptions(),
		Older:        newCompatibilityOptions(),
		Logging:      logsapi.NewLoggingConfiguration(),
	}, nil
}

// Flags are the flags in the groups and the order of --help.
func (o *Options) Flags() cliflag.NamedFlagSets {
	var sections cliflag.NamedFlagSets
	o.Components.AddFlags(sections.FlagSet("Process"))
	o.Driver.AddFlags(sections.FlagSet("CSI driver"))
	o.Kube.AddFlags(sections.FlagSet("Kubernetes"))
	o.Provisioning.AddFlags(sections.FlagSet("Provisioning"))
	o.Capacity.AddFlags(sections.FlagSet("Capacity"))
	o.Node.AddFlags(sections.FlagSet("Distributed mode"))
	o.Admission.AddFlags(sections.FlagSet("Admission"))
	o.Features.AddFlags(sections.FlagSet("Features"))
	o.Leader.AddFlags(sections.FlagSet("Leader election"))
	o.Diagnostics.AddFlags(sections.FlagSet("Diagnostics"))
	logsapi.AddFlags(o.Logging, sections.FlagSet("Logging"))
	o.Older.AddFlags(sections.FlagSet("Compatibility"))
	return sections
}

// Validate checks what was typed. All problems come in one error.
func (o *Options) Validate() error {
	gates, err := loggingGates()
	if err != nil {
		return err
	}
	o.Capacity.settle(&o.Components)
	problems := []error{o.Components.Validate(), o.Capacity.Validate()}
	if o.Components.needsDriver() {
		problems = append(problems, o.Driver.Validate())
	}
	problems = append(problems, o.Kube.Validate(), o.Provisioning.Validate(), o.validateNode())
	if o.Components.has(componentWebhook) {
		problems = append(problems, o.Admission.Validate())
	}
	err = errors.Join(append(problems, o.Leader.Validate(), o.Diagnostics.Validate(),
		logsapi.Validate(o.Logging, gates, field.NewPath("logging")).ToAggregate())...)
	if err != nil {
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	return nil
}

// Complete sets up logging, which a process can do once, fills in what comes from the environment, and returns what Run needs. The
// options must be valid.
func (o *Options) Complete(version string) (*Config, error) {
	gates, err := loggingGates()
	if err != nil {
		return nil, err
	}
	if err := logsapi.ValidateAndApply(o.Logging, gates); err != nil {
		return nil, fmt.Errorf("logging: %w", err)
	}
	if kubeconfig := os.Getenv("KUBECONFIG"); kubeconfig != "" && kubeconfig != o.Kube.Kubeconfig {
		// As csi-provisioner does it.
		klog.Background().Info("The environment variable KUBECONFIG takes the place of --kubeconfig", "KUBECONFIG", kubeconfig)
		o.Kube.Kubeconfig = kubeconfig
	}
	o.Features.notice()
	o.Older.notice()
	o.Node.notice(&o.Provisioning)
	return newConfig(o, version)
}

// loggingGates are a set of our own: registering in the library's global set would list other components' gates as ours.
func loggingGates() (featuregate.FeatureGate, error) {
	gates := featuregate.NewFeatureGate()
	if err := logsapi.AddFeatureGates(gates); err != nil {
		return nil, fmt.Errorf("logging: %w", err)
	}
	return gates, nil
}
