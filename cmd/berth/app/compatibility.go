package app

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

// CompatibilityOptions are flags of csi-provisioner that manifests go on giving and that mean nothing here.
type CompatibilityOptions struct {
	AutoMaxProcs bool
}

func newCompatibilityOptions() CompatibilityOptions { return CompatibilityOptions{} }

// AddFlags adds the flags.
func (o *CompatibilityOptions) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.AutoMaxProcs, "automaxprocs", o.AutoMaxProcs, "No effect: Go minds the container's limit by itself.")
}

// notice tells about flags that were typed and have no effect.
func (o *CompatibilityOptions) notice() {
	if o.AutoMaxProcs {
		klog.Background().Info("A flag has no effect, it can be removed: Go minds the container's limit by itself", "flag", "--automaxprocs")
	}
}

const loggingGone = "csi-provisioner lost it in version 5.2: remove it, logs go to stderr; -v and --logging-format are there"

// absentFlags are flags that there are not, but that manifests written for csi-provisioner may give: what to do about each.
var absentFlags = map[string]string{
	"provisioner":            "csi-provisioner lost it in 2020: remove it, the driver tells its name (--driver-name checks it)",
	"connection-timeout":     "csi-provisioner lost it in 2020: use --startup-timeout for the wait at start, --timeout for each call",
	"enable-leader-election": "its name is --leader-election",
	"leader-election-type":   "csi-provisioner lost it in 2020: remove it, the lock is a Lease",
	"leader-elect":           "its name is --leader-election",
	"logtostderr":            loggingGone,
	"alsologtostderr":        loggingGone,
	"stderrthreshold":        loggingGone,
	"log-dir":                loggingGone,
	"log-file":               loggingGone,
	"log-file-max-size":      loggingGone,
	"log-backtrace-at":       loggingGone,
	"add-dir-header":         loggingGone,
	"one-output":             loggingGone,
	"skip-headers":           loggingGone,
	"skip-log-headers":       loggingGone,
}

// flagError is what a mistake in the flags looks like to whoever made it.
func flagError(err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	name := unknown.GetSpecifiedName()
	if together := unknown.GetSpecifiedShortnames(); together != "" {
		name = together
		if len(together) > 1 {
			err = fmt.Errorf("%w: names of more than one letter take two dashes", err)
		}
	}
	// Some had underscores: Go's own flag package took them.
	name, _, _ = strings.Cut(name, "=")
	if advice, ok := absentFlags[strings.ReplaceAll(name, "_", "-")]; ok {
		return fmt.Errorf("unknown flag: --%s: %s", name, advice)
	}
	return fmt.Errorf("%w (%w)", err, errUsage)
}
