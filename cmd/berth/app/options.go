package app

import (
	"errors"
	"fmt"
	"os"

	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/klog/v2"
)

// Options are the flags, as typed.
type Options struct {
	Kube         KubeOptions
	Driver       DriverOptions
	Provisioning ProvisioningOptions
	Leader       LeaderOptions
	Diagnostics  DiagnosticsOptions
	Logging      *logsapi.LoggingConfiguration

}

// NewOptions returns the defaults.
func NewOptions() *Options {
	o := &Options{
		Driver:       newDriverOptions(),
		Provisioning: newProvisioningOptions(),
		Leader:       newLeaderOptions(),
		Diagnostics:  newDiagnosticsOptions(),
		Logging:      logsapi.NewLoggingConfiguration(),
	}
	return o
}

// Flags are the flags in the groups and the order of --help.
func (o *Options) Flags() cliflag.NamedFlagSets {
	var sections cliflag.NamedFlagSets
	o.Driver.AddFlags(sections.FlagSet("CSI driver"))
	o.Kube.AddFlags(sections.FlagSet("Kubernetes"))
	o.Provisioning.AddFlags(sections.FlagSet("Provisioning"))
	o.Leader.AddFlags(sections.FlagSet("Leader election"))
	o.Diagnostics.AddFlags(sections.FlagSet("Diagnostics"))
	logsapi.AddFlags(o.Logging, sections.FlagSet("Logging"))
	return sections
}

// applyLogging comes first, so that everything after it logs as asked.
func (o *Options) applyLogging() error {
	gates := featuregate.NewFeatureGate()
	if err := logsapi.AddFeatureGates(gates); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	if err := logsapi.ValidateAndApply(o.Logging, gates); err != nil {
		return fmt.Errorf("logging: %w (%w)", err, errUsage)
	}
	return nil
}

// Complete checks the options, fills in what is derived from others and from the environment, and returns what Run needs.
func (o *Options) Complete(version string) (*Config, error) {
	if kubeconfig := os.Getenv("KUBECONFIG"); kubeconfig != "" && kubeconfig != o.Kube.Kubeconfig {
		// As csi-provisioner does it.
		klog.Background().Info("The environment variable KUBECONFIG takes the place of --kubeconfig", "KUBECONFIG", kubeconfig)
		o.Kube.Kubeconfig = kubeconfig
	}
	if err := errors.Join(o.Kube.Validate(), o.Driver.Validate(), o.Provisioning.Validate(), o.Leader.Validate(), o.Diagnostics.Validate()); err != nil {
		return nil, fmt.Errorf("%w (%w)", err, errUsage)
	}
	return newConfig(o, version)
}
