package app

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// berth runs the command and returns its exit code and what it printed.
func berth(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("KUBECONFIG", "")
	var out, errs bytes.Buffer
	code = Main(t.Context(), "v9.9.9", args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestVersion(t *testing.T) {
	if code, stdout, _ := berth(t, "--version"); code != 0 || stdout != "berth v9.9.9\n" {
		t.Errorf("got %d %q", code, stdout)
	}
}

func TestHelpIsGroupedAndComplete(t *testing.T) {
	code, stdout, _ := berth(t, "--help")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, group := range []string{"CSI driver flags:", "Kubernetes flags:", "Process flags:", "Provisioning flags:", "Capacity flags:", "Admission flags:", "Leader election flags:", "Diagnostics flags:", "Logging flags:"} {
		if !strings.Contains(stdout, group) {
			t.Errorf("no group %q", group)
		}
	}
	command, err := NewCommand("")
	if err != nil {
		t.Fatal(err)
	}
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		if !strings.Contains(stdout, "--"+flag.Name) {
			t.Errorf("--%s is not in the help", flag.Name)
		}
	})
}

func TestWrongFlagsAreOneLine(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"an unknown flag":               {[]string{"--provisoner", "x"}, "unknown flag: --provisoner"},
		"not a duration":                {[]string{"--timeout", "soon"}, `invalid argument "soon" for "--timeout"`},
		"an argument":                   {[]string{"serve"}, `unexpected argument "serve"`},
		"a timeout of nothing":          {[]string{"--timeout", "0s"}, "--timeout must be positive"},
		"a negative startup timeout":    {[]string{"--startup-timeout", "-1s"}, "--startup-timeout must not be negative"},
		"a relative socket":             {[]string{"--csi-address", "csi.sock"}, "--csi-address"},
		"no workers":                    {[]string{"--worker-threads", "0"}, "--worker-threads must be at least 1"},
		"a maximum below the start":     {[]string{"--retry-interval-start", "10s", "--retry-interval-max", "1s"}, "--retry-interval-max (1s)"},
		"no retry interval":             {[]string{"--retry-interval-start", "0s"}, "--retry-interval-start must be positive"},
		"a negative grace":              {[]string{"--shutdown-grace", "-1s"}, "--shutdown-grace"},
		"a UID of too many digits":      {[]string{"--volume-name-uuid-length", "33"}, "--volume-name-uuid-length must be"},
		"an empty prefix":               {[]string{"--volume-name-prefix", ""}, "--volume-name-prefix must not be empty"},
		"a negative rate":               {[]string{"--kube-api-qps", "-1"}, "--kube-api-qps"},
		"a negative burst":              {[]string{"--kube-api-burst", "-1"}, "--kube-api-burst"},
		"leases that contradict":        {[]string{"--leader-election", "--leader-election-renew-deadline", "20s"}, "--leader-election-lease-duration (15s) must be more than"},
		"retries that are too rare":     {[]string{"--leader-election", "--leader-election-retry-period", "9s"}, "--leader-election-renew-deadline (10s) must be more than 1.2 times"},
		"no retry period":               {[]string{"--leader-election", "--leader-election-retry-period", "0s"}, "--leader-election-retry-period must be positive"},
		"labels in another form":        {[]string{"--leader-election-labels", "a=b"}, `"a=b" is not of the form key:value`},
		"two addresses":                 {[]string{"--http-endpoint", ":1", "--metrics-address", ":2"}, "give only the latter"},
		"an address without a port":     {[]string{"--http-endpoint", "localhost"}, `--http-endpoint "localhost" is not of the form`},
		"a metrics path without slash":  {[]string{"--metrics-path", "metrics"}, "must begin with a slash"},
		"a metrics path that is taken":  {[]string{"--metrics-path", "/livez"}, "--metrics-path must not be /livez"},
		"a certificate without its key": {[]string{"--http-endpoint", ":1", "--http-certificate-file", "c"}, "--http-certificate-file and --http-key-file go together"},
		"rights to nothing":             {[]string{"--http-authorization"}, "--http-authorization, --http-certificate-file and --http-key-file need --http-endpoint"},
		"profiles without an address":   {[]string{"--enable-pprof"}, "--enable-pprof needs --http-endpoint"},
		"an unknown log format":         {[]string{"--logging-format", "xml"}, "logging"},
		"several at once, in one line":  {[]string{"--worker-threads", "0", "--timeout", "0s"}, "--timeout must be positive, not 0s; --worker-threads"},
		"a component nobody knows":      {[]string{"--components", "attacher"}, `--components: there is no "attacher"`},
		"capacity without volumes":      {[]string{"--components", "capacity", "--capacity-ownerref-level=-1"}, "is only there beside provisioner"},
		"the same, the older way":       {[]string{"--components", "webhook", "--driver-name", "d", "--enable-capacity", "--capacity-ownerref-level=-1"}, "is only there beside provisioner"},
		"capacity of an unknown owner":  {[]string{"--enable-capacity"}, "capacity needs the environment variable POD_NAME"},
		"an owner too far up":           {[]string{"--capacity-ownerref-level", "3"}, "--capacity-ownerref-level must be -1, 0, 1 or 2"},
		"no capacity threads":           {[]string{"--capacity-threads", "0"}, "--capacity-threads must be at least 1"},
		"never asked for capacity":      {[]string{"--capacity-poll-interval", "0s"}, "--capacity-poll-interval must be positive"},
		"neither on nor off":            {[]string{"--capacity-reservations", "maybe"}, `"maybe" is neither on nor off`},
		"a negative capacity rate":      {[]string{"--kube-api-capacity-qps", "-1"}, "--kube-api-capacity-qps must not be negative"},
		"a negative capacity burst":     {[]string{"--kube-api-capacity-burst", "-1"}, "--kube-api-capacity-burst must not be negative"},
		"no components":                 {[]string{"--components", ""}, "--components must name at least one"},
		"webhooks of no driver":         {[]string{"--components", "webhook", "--admission-service-names", "a"}, "--driver-name is required with --components=webhook"},
		"a driver name that is none":    {[]string{"--driver-name", "a b"}, `--driver-name "a b" is no name of a driver`},
		"webhooks without a name":       {withAdmission(), "--admission-service-names is required"},
		"a name that is none":           {withAdmission("--admission-service-names", "a b"), `"a b" is neither a DNS name nor an IP address`},
		"a rotation without time":       {withAdmission("--admission-service-names", "a", "--admission-certificate-lifetime", "1s"), "certificate lifetime (1s) must be at least"},
		"a port without a colon":        {withAdmission("--admission-service-names", "a", "--admission-address", "8443"), `--admission-address "8443" is not of the form`},
		"certificates from nowhere":     {withAdmission("--admission-certificates", "acme"), `--admission-certificates must be self-managed or files, not "acme"`},
		"files without names":           {withAdmission("--admission-certificates", "files"), "needs --admission-certificate-file and --admission-key-file"},
		"files that are not asked for":  {withAdmission("--admission-service-names", "a", "--admission-key-file", "k"), "take --admission-certificates=files"},
		"an old version of TLS":         {withAdmission("--admission-service-names", "a", "--admission-tls-min-version", "VersionTLS11"), "--admission-tls-min-version must be VersionTLS12 or VersionTLS13"},
		"a cipher suite nobody knows":   {withAdmission("--admission-service-names", "a", "--admission-tls-cipher-suites", "ROT13"), "--admission-tls-cipher-suites"},
		"clients without an authority":  {withAdmission("--admission-service-names", "a", "--admission-client-names", "b"), "--admission-client-names needs --admission-client-ca-file"},
		"a negative drain time":         {withAdmission("--admission-service-names", "a", "--admission-drain", "-1s"), "--admission-drain must not be negative"},
		"a kubeconfig that isn't there": {[]string{"--kubeconfig", "/nowhere"}, `kubeconfig "/nowhere"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := berth(t, tt.args...)
			if code != 1 || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			if !strings.HasPrefix(stderr, "berth: ") || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got %q, want one line with %q", stderr, tt.want)
			}
		})
	}
}

// withAdmission is a command line with the webhooks.
func withAdmission(flags ...string) []string {
	return append([]string{"--components", "provisioner,webhook"}, flags...)
}

func TestAdmissionsFlagsCountOnlyWithIt(t *testing.T) {
	options, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	options.Admission.Certificates = "acme"
	if err := options.Validate(); err != nil {
		t.Errorf("without the webhooks: %v", err)
	}
	options.Components = ComponentOptions{Components: []string{componentWebhook}, DriverName: "driver"}
	options.Driver.Address = "nowhere"
	if err := options.Validate(); err == nil || strings.Contains(err.Error(), "--csi-address") {
		t.Errorf("got %v, want an error that does not speak of a driver", err)
	}
}

func TestBurstFollowsTheRate(t *testing.T) {
	o := KubeOptions{QPS: 0.4}
	if err := o.Validate(); err != nil || o.Burst != 1 {
		t.Errorf("got %d, %v", o.Burst, err)
	}
}

func TestLeaseNamespace(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "pod")
	if got := (&LeaderOptions{Namespace: "flag"}).namespace(); got != "flag" {
		t.Errorf("the flag does not win: %q", got)
	}
	if got := (&LeaderOptions{}).namespace(); got != "pod" {
		t.Errorf("got %q, want the Pod's", got)
	}
	t.Setenv("POD_NAMESPACE", "")
	if got := (&LeaderOptions{}).namespace(); got != "default" {
		t.Errorf("got %q, want default", got)
	}
}

func TestLeaseLabels(t *testing.T) {
	var labels map[string]string
	if err := (labelsValue{&labels}).Set("a:b, c:d:e"); err != nil || labels["a"] != "b" || labels["c"] != "d:e" {
		t.Errorf("got %v, %v", labels, err)
	}
}

func TestAConfigurationOfTracesThatIsNotThere(t *testing.T) {
	if tracer, err := (&DiagnosticsOptions{TracingConfig: "/nowhere"}).tracer("v1"); tracer != nil || err == nil || !strings.Contains(err.Error(), "--tracing-config-file: open /nowhere") {
		t.Errorf("got %v", err)
	}
	if tracer, err := (&DiagnosticsOptions{}).tracer("v1"); tracer != nil || err != nil {
		t.Errorf("without one: %v, %v", tracer, err)
	}
}
