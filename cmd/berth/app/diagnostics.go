package app

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/pflag"
)

// DiagnosticsOptions say where health and metrics are served.
type DiagnosticsOptions struct {
	HTTPEndpoint   string
	MetricsAddress string
	MetricsPath    string
	EnablePprof    bool
}

func newDiagnosticsOptions() DiagnosticsOptions {
	return DiagnosticsOptions{MetricsPath: "/metrics"}
}

// AddFlags adds the flags.
func (o *DiagnosticsOptions) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.HTTPEndpoint, "http-endpoint", o.HTTPEndpoint, "Address to serve health and metrics on, for example :8080. Empty: neither is served.")
	flags.StringVar(&o.MetricsPath, "metrics-path", o.MetricsPath, "Path of the metrics.")
	flags.BoolVar(&o.EnablePprof, "enable-pprof", o.EnablePprof, "Serve Go's profiles below /debug/pprof/ on the same address.")
	flags.StringVar(&o.MetricsAddress, "metrics-address", o.MetricsAddress, "Older name of --http-endpoint.")
}

// Validate checks the values.
func (o *DiagnosticsOptions) Validate() error {
	var problems []error
	if o.HTTPEndpoint != "" && o.MetricsAddress != "" {
		problems = append(problems, errors.New("--metrics-address is the older name of --http-endpoint: give only the latter"))
	}
	if address := o.address(); address != "" {
		if _, _, err := net.SplitHostPort(address); err != nil {
			problems = append(problems, fmt.Errorf("--http-endpoint %q is not of the form [HOST]:PORT: %w", address, err))
		}
	}
	if !strings.HasPrefix(o.MetricsPath, "/") {
		problems = append(problems, fmt.Errorf("--metrics-path %q must begin with a slash", o.MetricsPath))
	}
	if o.EnablePprof && o.address() == "" {
		problems = append(problems, errors.New("--enable-pprof needs --http-endpoint"))
	}
	return errors.Join(problems...)
}

func (o *DiagnosticsOptions) address() string {
	if o.HTTPEndpoint != "" {
		return o.HTTPEndpoint
	}
	return o.MetricsAddress
}
