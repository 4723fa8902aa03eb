package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
	"github.com/berth-csi/berth/e2e/controlplane/internal/supervisor"
)

// upOptions are the flags of `up`.
type upOptions struct {
	target       target
	qps          float64
	burst        int
	controllers  []string
	featureGates []string
	sets         []string
	definitions  bool
	audit        bool
	timeout      time.Duration
	node         bool
	runtime      string
	images       []string
}

func newUp() *cobra.Command {
	o := upOptions{controllers: supervisor.DefaultControllers()}
	command := &cobra.Command{
		Use:   "up --dir DIR",
		Short: "Start a control plane and keep it until interrupted or told to stop by down",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return o.run(command) },
	}
	o.target.addFlag(command)
	flags := command.Flags()
	flags.Float64Var(&o.qps, "controller-manager-qps", 0, "client rate limit of the controller-manager; 0 leaves Kubernetes' own 20")
	flags.IntVar(&o.burst, "controller-manager-burst", 0, "client burst of the controller-manager; 0 leaves Kubernetes' own 30")
	flags.StringSliceVar(&o.controllers, "controllers", o.controllers, "controllers of the controller-manager, in its own syntax")
	flags.StringArrayVar(&o.featureGates, "feature-gates", nil, "COMPONENT:GATE=BOOL[,GATE=BOOL]..., repeatable; \"all:\" for every Kubernetes component")
	flags.StringArrayVar(&o.sets, "set", nil, "COMPONENT:FLAG=VALUE, repeatable: any flag of a component")
	flags.BoolVar(&o.definitions, "crds", true, "install the VolumeSnapshot definitions")
	flags.BoolVar(&o.audit, "audit", true, "record requests in DIR/audit.log")
	flags.BoolVar(&o.node, "node", false, "run a kubelet and containerd as well, in namespaces of their own; needs root and cgroups")
	flags.StringVar(&o.runtime, "node-runtime", "", "directory of containerd's and the network plugins' programs (default: node beside this program)")
	flags.StringArrayVar(&o.images, "image", nil, "OCI `ARCHIVE` to import into the node's containerd, repeatable; one has to hold "+node.PauseImage)
	flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long everything together may take to become ready")
	return command
}

func (o upOptions) run(command *cobra.Command) error {
	place, inside, err := node.Inside()
	if err != nil {
		return err
	}
	if o.node && !command.Flags().Changed("controllers") {
		o.controllers = supervisor.NodeControllers()
	}
	config, err := o.config()
	if err != nil {
		return err
	}
	if o.node && !inside {
		return o.aroundNode(command, config)
	}
	if inside {
		config.Node = &place
	}
	// One write a line, so that lines of concurrent starts do not mix.
	config.Report = func(line string) { fmt.Fprintln(command.ErrOrStderr(), line) }
	config.OnReady = func(ready supervisor.Ready) {
		config.Report(fmt.Sprintf("ready in %.1f s: Kubernetes %s at %s", ready.ReadySeconds, ready.Version, ready.Server))
		fmt.Fprintf(command.OutOrStdout(), "export KUBECONFIG=%s\n", shellQuote(config.Dir.Kubeconfig()))
	}
	return supervisor.Run(command.Context(), config)
}

func (o upOptions) config() (supervisor.Config, error) {
	dir, err := o.target.directory()
	if err != nil {
		return supervisor.Config{}, err
	}
	overrides, err := component.ParseOverrides(o.featureGates, o.sets)
	if err != nil {
		return supervisor.Config{}, err
	}
	if err := o.onlyWithNode(); err != nil {
		return supervisor.Config{}, err
	}
	if o.timeout <= 0 {
		return supervisor.Config{}, fmt.Errorf("--timeout %s is not positive", o.timeout)
	}
	executable, err := os.Executable()
	if err != nil {
		return supervisor.Config{}, fmt.Errorf("find own executable: %w", err)
	}
	return supervisor.Config{
		Dir:         dir,
		Executable:  executable,
		QPS:         o.qps,
		Burst:       o.burst,
		Controllers: o.controllers,
		Overrides:   overrides,
		Definitions: o.definitions,
		Audit:       o.audit,
		Timeout:     o.timeout,
		Images:      o.images,
	}, nil
}

// onlyWithNode refuses what would be ignored without a node.
func (o upOptions) onlyWithNode() error {
	if o.node {
		return nil
	}
	if o.runtime != "" || len(o.images) > 0 {
		return errors.New("--image and --node-runtime are for --node")
	}
	for _, item := range slices.Concat(o.featureGates, o.sets) {
		for _, name := range component.Node() {
			if strings.HasPrefix(item, string(name)+":") {
				return fmt.Errorf("%q: there is no %s without --node", item, name)
			}
		}
	}
	return nil
}

// aroundNode calls `up` again where a node can be.
func (o upOptions) aroundNode(command *cobra.Command, config supervisor.Config) error {
	place := node.Place{Dir: config.Dir, Runtime: o.runtime}
	if place.Runtime == "" {
		place.Runtime = filepath.Join(filepath.Dir(config.Executable), "node")
	}
	var err error
	if place.Runtime, err = filepath.Abs(place.Runtime); err != nil {
		return fmt.Errorf("resolve --node-runtime: %w", err)
	}
	missing, err := node.Missing(place)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("no node can run here: %s", strings.Join(missing, "; "))
	}
	owner, err := supervisor.Own(config.Dir)
	if err != nil {
		return err
	}
	defer owner.Close()
	code, err := node.Up(command.Context(), node.Config{Place: place, Executable: config.Executable, Args: os.Args[2:], Owner: owner})
	if err == nil && code != 0 {
		return Exit(code)
	}
	return err
}

// shellQuote leaves ordinary paths as they are.
func shellQuote(s string) string {
	special := func(r rune) bool {
		return !strings.ContainsRune("/._-+:@%,=", r) && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
	}
	if !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
