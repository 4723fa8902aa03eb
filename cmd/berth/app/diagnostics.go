package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/berth-csi/berth/internal/tracing"
)

// DiagnosticsOptions say where health and metrics are served.
type DiagnosticsOptions struct {
	HTTPEndpoint   string
	MetricsAddress string
	MetricsPath    string
	EnablePprof    bool

	Authorization   bool
	CertificateFile string
	KeyFile         string
	TracingConfig   string
}

func newDiagnosticsOptions() DiagnosticsOptions {
	return DiagnosticsOptions{MetricsPath: "/metrics"}
}

// AddFlags adds the flags.
func (o *DiagnosticsOptions) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.HTTPEndpoint, "http-endpoint", o.HTTPEndpoint, "Address to serve health and metrics on, for example :8080. Empty: neither is served.")
	flags.StringVar(&o.MetricsPath, "metrics-path", o.MetricsPath, "Path of the metrics.")
	flags.BoolVar(&o.EnablePprof, "enable-pprof", o.EnablePprof, "Serve Go's profiles below /debug/pprof/ on the same address.")
	flags.BoolVar(&o.Authorization, "http-authorization", o.Authorization,
		"Serve all but health only to those whose token the API server knows and who may get the path (a rule with nonResourceURLs). It is asked with this process's account, which needs the ClusterRole system:auth-delegator.")
	flags.StringVar(&o.CertificateFile, "http-certificate-file", o.CertificateFile, "Certificate to serve health and metrics with over TLS, PEM. It is read again when it changes. Empty: plain HTTP.")
	flags.StringVar(&o.KeyFile, "http-key-file", o.KeyFile, "That certificate's key, PEM.")
	flags.StringVar(&o.TracingConfig, "tracing-config-file", o.TracingConfig,
		"File with a TracingConfiguration, as Kubernetes components read it: the address of an OpenTelemetry collector (endpoint) and how many claims to trace (samplingRatePerMillion). Empty: nothing is traced.")
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
	if slices.Contains([]string{"/livez", "/readyz", "/healthz", "/healthz/leader-election", "/statusz", "/flagz"}, o.MetricsPath) || strings.HasPrefix(o.MetricsPath, "/debug/pprof/") {
		problems = append(problems, fmt.Errorf("--metrics-path must not be %s, where something else is served", o.MetricsPath))
	}
	if o.EnablePprof && o.address() == "" {
		problems = append(problems, errors.New("--enable-pprof needs --http-endpoint"))
	}
	if (o.CertificateFile == "") != (o.KeyFile == "") {
		problems = append(problems, errors.New("--http-certificate-file and --http-key-file go together: give both"))
	}
	if o.address() == "" && (o.CertificateFile != "" || o.Authorization) {
		problems = append(problems, errors.New("--http-authorization, --http-certificate-file and --http-key-file need --http-endpoint"))
	}
	return errors.Join(problems...)
}

// tracer makes what traces; nil: nothing is traced.
func (o *DiagnosticsOptions) tracer(version string) (*tracing.Tracer, error) {
	if o.TracingConfig == "" {
		return nil, nil
	}
	config, err := tracing.ReadConfig(o.TracingConfig)
	if err != nil {
		return nil, fmt.Errorf("--tracing-config-file: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name, for traces: %w", err)
	}
	return tracing.New(context.Background(), config, tracing.Process{Service: "berth", Version: version, Instance: host})
}

// shownFlags are the values on /flagz. No flag of ours holds a secret; what might is a URL with a password.
type shownFlags map[string]string

func newShownFlags(flags *pflag.FlagSet) shownFlags {
	shown := shownFlags{}
	flags.VisitAll(func(flag *pflag.Flag) { shown[flag.Name] = showable(flag.Value.String()) })
	return shown
}

// GetFlagz is of flagz.Reader.
func (s shownFlags) GetFlagz() map[string]string { return s }

// showable leaves the password out of a URL.
func showable(value string) string {
	if parsed, err := url.Parse(value); err == nil && parsed.User != nil {
		return parsed.Redacted()
	}
	return value
}

func (o *DiagnosticsOptions) address() string {
	if o.HTTPEndpoint != "" {
		return o.HTTPEndpoint
	}
	return o.MetricsAddress
}
