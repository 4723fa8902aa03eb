package app

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// peerFlags are all flags that csi-provisioner has or had, each as a manifest may give it.
func peerFlags() map[string]struct {
	typed string
	says  string // what the refusal says; empty: it is accepted
} {
	type row = struct{ typed, says string }
	return map[string]row{
		"master":                                  {"--master=https://api:6443", ""},
		"kubeconfig":                              {"--kubeconfig=/etc/kubeconfig", ""},
		"csi-address":                             {"--csi-address=/csi/csi.sock", ""},
		"csi-address, as a URL":                   {"--csi-address=unix:///csi/csi.sock", ""},
		"version":                                 {"--version", ""},
		"volume-name-prefix":                      {"--volume-name-prefix=vol", ""},
		"volume-name-uuid-length":                 {"--volume-name-uuid-length=10", ""},
		"retry-interval-start":                    {"--retry-interval-start=500ms", ""},
		"retry-interval-max":                      {"--retry-interval-max=10m", ""},
		"worker-threads":                          {"--worker-threads=10", ""},
		"cloning-protection-threads":              {"--cloning-protection-threads=2", ""},
		"snapshot-orphan-sweep-interval":          {"--snapshot-orphan-sweep-interval=0", ""},
		"timeout":                                 {"--timeout=5m", ""},
		"strict-topology":                         {"--strict-topology", ""},
		"immediate-topology":                      {"--immediate-topology=false", ""},
		"extra-create-metadata":                   {"--extra-create-metadata=true", ""},
		"default-fstype":                          {"--default-fstype=ext4", ""},
		"controller-publish-readonly":             {"--controller-publish-readonly", ""},
		"prevent-volume-mode-conversion":          {"--prevent-volume-mode-conversion=false", ""},
		"kube-api-qps":                            {"--kube-api-qps=100", ""},
		"kube-api-burst":                          {"--kube-api-burst=200", ""},
		"leader-election":                         {"--leader-election", ""},
		"leader-election-namespace":               {"--leader-election-namespace=storage", ""},
		"leader-election-lease-duration":          {"--leader-election-lease-duration=60s", ""},
		"leader-election-renew-deadline":          {"--leader-election-renew-deadline=8s", ""},
		"leader-election-retry-period":            {"--leader-election-retry-period=2s", ""},
		"leader-election-labels":                  {"--leader-election-labels=a:b", ""},
		"http-endpoint":                           {"--http-endpoint=:8080", ""},
		"metrics-address":                         {"--metrics-address=:8080", ""},
		"metrics-path":                            {"--metrics-path=/m", ""},
		"enable-pprof":                            {"--enable-pprof=false", ""},
		"automaxprocs":                            {"--automaxprocs", ""},
		"automaxprocs, explicitly":                {"--automaxprocs=false", ""},
		"feature-gates":                           {"--feature-gates=Topology=true,HonorPVReclaimPolicy=true", ""},
		"a gate of somebody else's":               {"--feature-gates=APIServerTracing=true", "there is no feature gate"},
		"logging-format":                          {"--logging-format=json", ""},
		"v":                                       {"--v=5", ""},
		"v, short":                                {"-v=5", ""},
		"vmodule":                                 {"--vmodule=claims=5", ""},
		"log-flush-frequency":                     {"--log-flush-frequency=1s", ""},
		"log-json-split-stream":                   {"--log-json-split-stream=false", ""},
		"log-json-info-buffer-size":               {"--log-json-info-buffer-size=0", ""},
		"log-text-split-stream":                   {"--log-text-split-stream=false", ""},
		"log-text-info-buffer-size":               {"--log-text-info-buffer-size=0", ""},
		"node-deployment, off":                    {"--node-deployment=false", ""},
		"node-deployment":                         {"--node-deployment", "needs the environment variable NODE_NAME"},
		"node-deployment-immediate-binding":       {"--node-deployment-immediate-binding=false", ""},
		"node-deployment-base-delay":              {"--node-deployment-base-delay=1s", ""},
		"node-deployment-max-delay":               {"--node-deployment-max-delay=2s", ""},
		"provisioner":                             {"--provisioner=ebs.csi.aws.com", "remove it, the driver tells its name"},
		"connection-timeout":                      {"--connection-timeout=15s", "use --startup-timeout"},
		"enable-leader-election":                  {"--enable-leader-election", "its name is --leader-election"},
		"leader-election-type":                    {"--leader-election-type=leases", "remove it, the lock is a Lease"},
		"logtostderr":                             {"--logtostderr", "lost it in version 5.2"},
		"alsologtostderr":                         {"--alsologtostderr=true", "lost it in version 5.2"},
		"stderrthreshold":                         {"--stderrthreshold=INFO", "lost it in version 5.2"},
		"log_dir, with an underscore":             {"--log_dir=/var/log", "unknown flag: --log_dir: csi-provisioner lost it in version 5.2"},
		"log_file":                                {"--log_file=x", "lost it in version 5.2"},
		"log_file_max_size":                       {"--log_file_max_size=1", "lost it in version 5.2"},
		"log_backtrace_at":                        {"--log_backtrace_at=:0", "lost it in version 5.2"},
		"add_dir_header":                          {"--add_dir_header", "lost it in version 5.2"},
		"one_output":                              {"--one_output", "lost it in version 5.2"},
		"skip_headers":                            {"--skip_headers", "lost it in version 5.2"},
		"skip_log_headers":                        {"--skip_log_headers", "lost it in version 5.2"},
		"a long name with one dash":               {"-timeout=5m", "take two dashes"},
		"a long name that is gone, with one dash": {"-logtostderr", "lost it in version 5.2"},
		"a name that nobody ever had":             {"--worker-thread=1", "unknown flag: --worker-thread (see berth --help)"},
		"a letter that nobody ever had":           {"-x", "unknown shorthand flag: 'x' in -x (see berth --help)"},
		"enable-capacity, off":                    {"--enable-capacity=false", ""},
		"enable-capacity":                         {"--enable-capacity", "capacity needs the environment variable POD_NAME"},
		"capacity-threads":                        {"--capacity-threads=2", ""},
		"capacity-for-immediate-binding":          {"--capacity-for-immediate-binding", ""},
		"capacity-poll-interval":                  {"--capacity-poll-interval=5m", ""},
		"capacity-ownerref-level":                 {"--capacity-ownerref-level=2", ""},
		"kube-api-capacity-qps":                   {"--kube-api-capacity-qps=1", ""},
		"kube-api-capacity-burst":                 {"--kube-api-capacity-burst=5", ""},
	}
}

func TestTheEstablishedProvisionersFlags(t *testing.T) {
	for name, tt := range peerFlags() {
		t.Run(name, func(t *testing.T) {
			options, err := NewOptions()
			if err != nil {
				t.Fatal(err)
			}
			flags := pflag.NewFlagSet("berth", pflag.ContinueOnError)
			flags.Usage = func() {}
			flags.SetOutput(io.Discard)
			flags.Bool("version", false, "")
			sections := options.Flags()
			for _, set := range sections.FlagSets {
				flags.AddFlagSet(set)
			}
			if err = flags.Parse([]string{tt.typed}); err != nil {
				err = flagError(err)
			} else {
				err = options.Validate()
			}
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("%s: %v", tt.typed, err)
			case tt.says != "" && err == nil:
				t.Errorf("%s is accepted, want it refused with %q", tt.typed, tt.says)
			case err != nil && !strings.Contains(err.Error(), tt.says), err != nil && strings.Contains(err.Error(), "\n"):
				t.Errorf("%s: got %q, want one line with %q", tt.typed, err, tt.says)
			}
		})
	}
}

func TestAFlagThatIsThereIsNotCalledAbsent(t *testing.T) {
	options, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	sections := options.Flags()
	for _, set := range sections.FlagSets {
		for name := range absentFlags {
			if set.Lookup(name) != nil {
				t.Errorf("--%s is there, take it out of the absent ones", name)
			}
		}
	}
}
