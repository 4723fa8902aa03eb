package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/provisioner"
)

// Values of --express-binding.
const (
	expressAuto = "auto"
	expressOff  = "off"
)

// ProvisioningOptions say how claims become volumes.
type ProvisioningOptions struct {
	Workers           int
	BackoffStart      time.Duration
	BackoffMax        time.Duration
	Grace             time.Duration
	NamePrefix        string
	NameUUIDLength    int
	DefaultFSType     string
	StrictTopology    bool
	ImmediateTopology bool
	ExtraMetadata     bool
	PublishReadOnly   bool
	TopologyLimit     int

	ExpressBinding        string // auto or off
	Journal               bool
	PreventModeConversion bool
	SourceWorkers         int
	SweepInterval         time.Duration
}

func newProvisioningOptions() ProvisioningOptions {
	return ProvisioningOptions{
		Workers:           100,
		BackoffStart:      time.Second,
		BackoffMax:        5 * time.Minute,
		Grace:             15 * time.Second,
		NamePrefix:        "pvc",
		NameUUIDLength:    -1,
		ImmediateTopology: true,

		ExpressBinding:        expressAuto,
		Journal:               true,
		PreventModeConversion: true,
		SourceWorkers:         1,
		SweepInterval:         5 * time.Minute,
	}
}

// AddFlags adds the flags.
func (o *ProvisioningOptions) AddFlags(flags *pflag.FlagSet) {
	flags.IntVar(&o.Workers, "worker-threads", o.Workers, "Claims worked on at once, and as many volumes: the limit of concurrent calls of each kind to the driver.")
	flags.DurationVar(&o.BackoffStart, "retry-interval-start", o.BackoffStart, "Wait before the first retry of a claim or volume that failed; it doubles with each failure.")
	flags.DurationVar(&o.BackoffMax, "retry-interval-max", o.BackoffMax, "Longest wait between two retries.")
	flags.DurationVar(&o.Grace, "shutdown-grace", o.Grace, "How long calls that are under way may go on after SIGTERM. Keep it below the Pod's terminationGracePeriodSeconds.")
	flags.StringVar(&o.NamePrefix, "volume-name-prefix", o.NamePrefix, "Prefix of the names of volumes, in Kubernetes and in the driver.")
	flags.IntVar(&o.NameUUIDLength, "volume-name-uuid-length", o.NameUUIDLength, "Digits of the claim's UID in a volume's name, 1 to 32. -1: the whole UID with its dashes.")
	flags.StringVar(&o.DefaultFSType, "default-fstype", o.DefaultFSType, "File system type of volumes whose class names none.")
	flags.BoolVar(&o.StrictTopology, "strict-topology", o.StrictTopology, "With WaitForFirstConsumer, require the selected node's segment and no other.")
	flags.BoolVar(&o.ImmediateTopology, "immediate-topology", o.ImmediateTopology, "With Immediate binding, tell the driver all segments of the cluster. false: let it choose freely.")
	flags.IntVar(&o.TopologyLimit, "topology-limit", o.TopologyLimit, "Segments that a request names at most. While the driver has no room in them, further tries name others. 0: no limit.")
	flags.BoolVar(&o.ExtraMetadata, "extra-create-metadata", o.ExtraMetadata, "Tell the driver the names of claim, namespace and volume as parameters.")
	flags.BoolVar(&o.PublishReadOnly, "controller-publish-readonly", o.PublishReadOnly, "Mark the volumes of claims whose only access mode is ReadOnlyMany as read-only.")
	flags.StringVar(&o.ExpressBinding, "express-binding", o.ExpressBinding, "Bind claims to their volumes here, at once, instead of waiting for the controller-manager. auto: where permissions allow it; off: never.")
	flags.BoolVar(&o.Journal, "journal", o.Journal, "Record what is about to be created in a ConfigMap beside the Lease, so that no volume is lost with this process.")
	flags.BoolVar(&o.PreventModeConversion, "prevent-volume-mode-conversion", o.PreventModeConversion, "Refuse to restore a snapshot to another volume mode than it was taken of, unless an annotation of its content permits it.")
	flags.IntVar(&o.SourceWorkers, "cloning-protection-threads", o.SourceWorkers, "Snapshots and claims whose protection as a source is taken off at once.")
	flags.DurationVar(&o.SweepInterval, "snapshot-orphan-sweep-interval", o.SweepInterval, "How often to look for sources that were left protected without need. 0: only when something about them changes.")
}

// Validate checks the values.
func (o *ProvisioningOptions) Validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Workers < 1 {
		add("--worker-threads must be at least 1, not %d", o.Workers)
	}
	if o.BackoffStart <= 0 {
		add("--retry-interval-start must be positive, not %s", o.BackoffStart)
	}
	if o.BackoffMax < o.BackoffStart {
		add("--retry-interval-max (%s) must not be less than --retry-interval-start (%s)", o.BackoffMax, o.BackoffStart)
	}
	if o.SourceWorkers < 1 {
		add("--cloning-protection-threads must be at least 1, not %d", o.SourceWorkers)
	}
	if o.SweepInterval < 0 {
		add("--snapshot-orphan-sweep-interval must not be negative (0 means never), not %s", o.SweepInterval)
	}
	if o.ExpressBinding != expressAuto && o.ExpressBinding != expressOff {
		add("--express-binding must be auto or off, not %q", o.ExpressBinding)
	}
	if o.Grace < 0 {
		add("--shutdown-grace must not be negative, not %s", o.Grace)
	}
	if err := o.settings(csi.Driver{}, "").Validate(); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func (o *ProvisioningOptions) settings(driver csi.Driver, identity string) provisioner.Settings {
	return provisioner.Settings{
		Driver:            driver,
		Identity:          identity,
		NamePrefix:        o.NamePrefix,
		NameUUIDLength:    o.NameUUIDLength,
		DefaultFSType:     o.DefaultFSType,
		StrictTopology:    o.StrictTopology,
		ImmediateTopology: o.ImmediateTopology,
		ExtraMetadata:     o.ExtraMetadata,
		PublishReadOnly:   o.PublishReadOnly,
		TopologyLimit:     o.TopologyLimit,

		PreventModeConversion: o.PreventModeConversion,
		InTree:                provisioner.InTreeName(driver.Name),
	}
}
