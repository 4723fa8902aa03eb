package app

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// LeaderOptions say which of several replicas provisions.
type LeaderOptions struct {
	Enabled       bool
	Namespace     string
	Identity      string
	Labels        map[string]string
	LeaseDuration time.Duration
	RenewDeadline time.Duration
	RetryPeriod   time.Duration
}

func newLeaderOptions() LeaderOptions {
	return LeaderOptions{LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 5 * time.Second}
}

// labelsValue reads --leader-election-labels in csi-provisioner's form, key:value,key:value.
type labelsValue struct{ labels *map[string]string }

func (v labelsValue) Type() string { return "key:value,..." }

func (v labelsValue) String() string {
	if v.labels == nil || len(*v.labels) == 0 {
		return ""
	}
	return fmt.Sprint(*v.labels)
}

func (v labelsValue) Set(s string) error {
	labels := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(pair), ":")
		if !ok || key == "" {
			return fmt.Errorf("%q is not of the form key:value", pair)
		}
		labels[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	*v.labels = labels
	return nil
}

// AddFlags adds the flags.
func (o *LeaderOptions) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.Enabled, "leader-election", o.Enabled, "Of several replicas let only one provision: the one that holds the Lease named after the driver.")
	flags.StringVar(&o.Namespace, "leader-election-namespace", o.Namespace, "Namespace of the Lease. Default: the Pod's.")
	flags.StringVar(&o.Identity, "leader-election-identity", o.Identity, "Name of this replica in the Lease. Default: the host name, which is the Pod's.")
	flags.Var(labelsValue{&o.Labels}, "leader-election-labels", "Labels of the Lease.")
	flags.DurationVar(&o.LeaseDuration, "leader-election-lease-duration", o.LeaseDuration, "How long others wait before they take over from a leader that does not renew.")
	flags.DurationVar(&o.RenewDeadline, "leader-election-renew-deadline", o.RenewDeadline, "How long the leader tries to renew before it gives up.")
	flags.DurationVar(&o.RetryPeriod, "leader-election-retry-period", o.RetryPeriod, "Wait between two tries to get or renew the Lease.")
}

// Validate checks the values: client-go panics on durations that contradict each other.
func (o *LeaderOptions) Validate() error {
	if !o.Enabled {
		return nil
	}
	var problems []error
	if o.RetryPeriod <= 0 {
		problems = append(problems, fmt.Errorf("--leader-election-retry-period must be positive, not %s", o.RetryPeriod))
	}
	if float64(o.RenewDeadline) <= 1.2*float64(o.RetryPeriod) {
		problems = append(problems, fmt.Errorf("--leader-election-renew-deadline (%s) must be more than 1.2 times --leader-election-retry-period (%s)", o.RenewDeadline, o.RetryPeriod))
	}
	if o.LeaseDuration <= o.RenewDeadline {
		problems = append(problems, fmt.Errorf("--leader-election-lease-duration (%s) must be more than --leader-election-renew-deadline (%s)", o.LeaseDuration, o.RenewDeadline))
	}
	if o.LeaseDuration < time.Second {
		problems = append(problems, fmt.Errorf("--leader-election-lease-duration must be at least 1s, not %s: a Lease counts whole seconds", o.LeaseDuration))
	}
	return errors.Join(problems...)
}

// serviceAccountNamespace is where a Pod finds the name of its namespace.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// namespace is the Lease's: the flag, else the Pod's, else "default".
func (o *LeaderOptions) namespace() string {
	if o.Namespace != "" {
		return o.Namespace
	}
	return podNamespace()
}

// podNamespace is where this Pod is, else "default".
func podNamespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	if content, err := os.ReadFile(serviceAccountNamespace); err == nil {
		if namespace := strings.TrimSpace(string(content)); namespace != "" {
			return namespace
		}
	}
	return "default"
}
