package app

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/berth-csi/berth/certs"
)

// Where the serving certificate comes from.
const (
	certificatesSelfManaged = "self-managed"
	certificatesFiles       = "files"
)

// AdmissionOptions say how the admission webhooks are served. They count only with the component webhook.
type AdmissionOptions struct {
	Address      string
	MinVersion   string
	CipherSuites []string
	ClientCAFile string
	ClientNames  []string
	Drain        time.Duration

	Certificates    string
	CertificateFile string
	KeyFile         string
	Secret          string
	ServiceNames    []string
	Mutating        []string
	Validating      []string
	MatchClasses    bool
	Periods         certs.Periods

	Topology          bool
	RequireSourceMode bool
	TrustedUsers      []string
}

func newAdmissionOptions() AdmissionOptions {
	return AdmissionOptions{
		Address: ":8443", MinVersion: "VersionTLS12", Drain: 15 * time.Second,
		Certificates: certificatesSelfManaged, MatchClasses: true, Periods: certs.DefaultPeriods(),
		Topology: true,
	}
}

// AddFlags adds the flags.
func (o *AdmissionOptions) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Address, "admission-address", o.Address, "Address to serve the webhooks on, with TLS.")
	flags.StringVar(&o.Certificates, "admission-certificates", o.Certificates,
		"Where the serving certificate comes from: self-managed (an authority in a Secret, rotated by the leader, which also tells the API server to trust it) or files (that somebody else keeps, for example cert-manager).")
	flags.StringVar(&o.CertificateFile, "admission-certificate-file", o.CertificateFile, "With files: the certificate, PEM. It is read again when it changes.")
	flags.StringVar(&o.KeyFile, "admission-key-file", o.KeyFile, "With files: the certificate's key, PEM.")
	flags.StringVar(&o.Secret, "admission-secret", o.Secret, "When self-managed: the Secret with the authority, in the Lease's namespace. Default: the Lease's name and -admission.")
	flags.StringSliceVar(&o.ServiceNames, "admission-service-names", o.ServiceNames,
		"When self-managed: DNS names and IP addresses that API servers call the webhooks by, for example berth.kube-system.svc.")
	flags.StringSliceVar(&o.Mutating, "admission-mutating-configurations", o.Mutating,
		"MutatingWebhookConfigurations that the leader keeps: which classes are meant and, when self-managed, whom to trust. All webhooks in them have to be ours.")
	flags.StringSliceVar(&o.Validating, "admission-validating-configurations", o.Validating,
		"ValidatingWebhookConfigurations that the leader keeps in the same way.")
	flags.BoolVar(&o.MatchClasses, "admission-match-classes", o.MatchClasses,
		"Keep a match condition in those webhooks, "+conditionName+", so that API servers call only for the driver's classes.")
	flags.StringVar(&o.MinVersion, "admission-tls-min-version", o.MinVersion, "Oldest version of TLS that is served: VersionTLS12 or VersionTLS13.")
	flags.StringSliceVar(&o.CipherSuites, "admission-tls-cipher-suites", o.CipherSuites, "Cipher suites of TLS 1.2. Default: Go's.")
	flags.StringVar(&o.ClientCAFile, "admission-client-ca-file", o.ClientCAFile,
		"Authorities, PEM, one of which has to have signed the certificate that API servers call with. Empty: they need none.")
	flags.StringSliceVar(&o.ClientNames, "admission-client-names", o.ClientNames,
		"Common or DNS names in that certificate, one of which is needed. Empty: any.")
	flags.DurationVar(&o.Drain, "admission-drain", o.Drain,
		"How long the webhooks are served after SIGTERM, until API servers call another replica. Keep it below the Pod's terminationGracePeriodSeconds.")
	flags.BoolVar(&o.Topology, "admission-topology", o.Topology,
		"Whether the driver has topology, as long as there is no driver to ask.")
	flags.BoolVar(&o.RequireSourceMode, "admission-require-source-volume-mode", o.RequireSourceMode,
		"Refuse claims from snapshots of which nobody recorded the volume mode.")
	flags.StringSliceVar(&o.TrustedUsers, "admission-trusted-snapshot-users", o.TrustedUsers,
		"Users and groups who may fill in the source volume mode of a VolumeSnapshotContent that has none.")
	const advanced = "Advanced, the default is good. "
	flags.DurationVar(&o.Periods.Authority, "admission-authority-lifetime", o.Periods.Authority, advanced+"Life of a self-managed authority.")
	flags.DurationVar(&o.Periods.Overlap, "admission-authority-overlap", o.Periods.Overlap, advanced+"How long before its end the next one is prepared.")
	flags.DurationVar(&o.Periods.Leaf, "admission-certificate-lifetime", o.Periods.Leaf, advanced+"Life of a serving certificate that an authority signs.")
	flags.DurationVar(&o.Periods.Propagation, "admission-propagation", o.Periods.Propagation, advanced+"Within what time every API server has seen what was written.")
	flags.DurationVar(&o.Periods.Skew, "admission-clock-skew", o.Periods.Skew, advanced+"How far clocks may be apart.")
}

// Validate checks the values.
func (o *AdmissionOptions) Validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		add("--admission-address %q is not of the form [HOST]:PORT: %w", o.Address, err)
	}
	switch o.Certificates {
	case certificatesSelfManaged:
		problems = append(problems, o.validateSelfManaged()...)
	case certificatesFiles:
		if o.CertificateFile == "" || o.KeyFile == "" {
			add("--admission-certificates=files needs --admission-certificate-file and --admission-key-file")
		}
	default:
		add("--admission-certificates must be %s or %s, not %q", certificatesSelfManaged, certificatesFiles, o.Certificates)
	}
	if _, err := o.minVersion(); err != nil {
		problems = append(problems, err)
	}
	if _, err := cliflag.TLSCipherSuites(o.CipherSuites); err != nil {
		add("--admission-tls-cipher-suites: %w", err)
	}
	if len(o.ClientNames) > 0 && o.ClientCAFile == "" {
		add("--admission-client-names needs --admission-client-ca-file: names mean nothing without an authority that vouches for them")
	}
	if o.Drain < 0 {
		add("--admission-drain must not be negative, not %s", o.Drain)
	}
	return errors.Join(problems...)
}

func (o *AdmissionOptions) validateSelfManaged() []error {
	var problems []error
	if o.CertificateFile != "" || o.KeyFile != "" {
		problems = append(problems, errors.New("--admission-certificate-file and --admission-key-file take --admission-certificates=files"))
	}
	if len(o.ServiceNames) == 0 {
		problems = append(problems, errors.New("--admission-service-names is required with self-managed certificates: the names that API servers call the webhooks by"))
	}
	// What names the Secret is not known yet, and checked again when it is.
	checked := certs.SelfManagedConfig{Namespace: "set", SecretName: "set", FieldManager: "set", Names: o.ServiceNames, Periods: o.Periods}
	if len(o.ServiceNames) == 0 {
		checked.Names = []string{"set"}
	}
	if err := checked.Validate(); err != nil {
		problems = append(problems, fmt.Errorf("--admission-service-names, --admission-authority-lifetime and what belongs to them: %w", err))
	}
	return problems
}

// minVersion is the oldest version of TLS to serve. Older ones than 1.2 are known to be weak.
func (o *AdmissionOptions) minVersion() (uint16, error) {
	if o.MinVersion != "VersionTLS12" && o.MinVersion != "VersionTLS13" {
		return 0, fmt.Errorf("--admission-tls-min-version must be VersionTLS12 or VersionTLS13, not %q", o.MinVersion)
	}
	return cliflag.TLSVersion(o.MinVersion)
}
