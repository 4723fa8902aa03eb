package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/berth-csi/berth/csi"
)

// DriverOptions say how to reach the CSI driver.
type DriverOptions struct {
	Address        string
	Timeout        time.Duration
	StartupTimeout time.Duration
}

func newDriverOptions() DriverOptions {
	return DriverOptions{Address: "/run/csi/socket", Timeout: 10 * time.Second, StartupTimeout: 30 * time.Second}
}

// AddFlags adds the flags.
func (o *DriverOptions) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Address, "csi-address", o.Address, "Path of the driver's unix socket.")
	flags.DurationVar(&o.Timeout, "timeout", o.Timeout,
		"Time limit of each call to the driver. A call that exceeds it is repeated unchanged until its outcome is known.")
	flags.DurationVar(&o.StartupTimeout, "startup-timeout", o.StartupTimeout,
		"How long to wait at start for the driver and for the API server before giving up. 0: for ever.")
}

// Validate checks the values.
func (o *DriverOptions) Validate() error {
	var problems []error
	if _, err := csi.Endpoint(o.Address); err != nil {
		problems = append(problems, fmt.Errorf("--csi-address: %w", err))
	}
	if o.Timeout <= 0 {
		problems = append(problems, fmt.Errorf("--timeout must be positive, not %s", o.Timeout))
	}
	if o.StartupTimeout < 0 {
		problems = append(problems, fmt.Errorf("--startup-timeout must not be negative, not %s", o.StartupTimeout))
	}
	return errors.Join(problems...)
}
