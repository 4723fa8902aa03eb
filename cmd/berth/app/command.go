// Package app makes a process of the parts: it reads the flags, checks them, connects, and runs the controllers until it is told
// to stop.
//
// Each group of flags is an options type in a file of its own, with AddFlags and Validate. Options become a Config, which holds
// everything that Run needs. The package imports all others; none imports it but main.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	"k8s.io/klog/v2"
)

// Main runs the command and returns the process's exit code. Whatever goes wrong is one line on stderr and code 1.
func Main(ctx context.Context, version string, args []string, stdout, stderr io.Writer) int {
	defer logs.FlushLogs()
	command, err := NewCommand(version)
	if err == nil {
		command.SetArgs(args)
		command.SetOut(stdout)
		command.SetErr(stderr)
		err = command.ExecuteContext(ctx)
	}
	if err == nil {
		return 0
	}
	logs.FlushLogs()
	// Errors of several lines (lists of problems, parsers) become one, so that it survives log collectors in one piece.
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	fmt.Fprintf(stderr, "berth: %s\n", strings.Join(lines, "; "))
	return 1
}

// errUsage marks errors in what was typed.
var errUsage = errors.New("see berth --help")

// NewCommand is the command line.
func NewCommand(version string) (*cobra.Command, error) {
	options, err := NewOptions()
	if err != nil {
		return nil, err
	}
	showVersion := false
	program := programName(os.Args[0])
	command := &cobra.Command{
		Use:   "berth",
		Short: "Provision the volumes of a CSI driver",
		Long: `Berth creates the volumes that PersistentVolumeClaims of one CSI driver ask for, and deletes them when they are
released. It runs beside the driver and talks to it over a unix socket. It takes the place of the csi-provisioner
sidecar; the flags they share have the same names. With --components it also serves admission webhooks. "berth journal" prints what is being created, as recorded in the
cluster. "berth explain pvc NAMESPACE/NAME" says why a claim is Pending, and what to do.`,
		Example: `  berth --csi-address /run/csi/socket --leader-election
  berth --csi-address /tmp/csi.sock --kubeconfig ~/.kube/config -v 4
  berth --csi-address /run/csi/socket --leader-election --components provisioner,webhook \
    --admission-service-names berth.kube-system.svc --admission-mutating-configurations berth-mutate-claims`,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: program},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unexpected argument %q: berth takes only flags (%w)", args[0], errUsage)
			}
			return nil
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if showVersion {
				fmt.Fprintf(command.OutOrStdout(), "berth %s\n", version)
				return nil
			}
			if err := options.Validate(); err != nil {
				return err
			}
			config, err := options.Complete(version)
			if err != nil {
				return err
			}
			config.Diagnostics.Flags = newShownFlags(command.Flags())
			ctx := klog.NewContext(command.Context(), klog.Background())
			return Run(ctx, config)
		},
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })

	sections := options.Flags()
	misc := sections.FlagSet("Other")
	misc.BoolVar(&showVersion, "version", false, "Print the version and exit.")
	misc.BoolP("help", "h", false, "Print this help and exit.")
	for _, set := range sections.FlagSets {
		command.Flags().AddFlagSet(set)
	}
	command.CompletionOptions.DisableDefaultCmd = true
	command.AddCommand(newJournalCommand(version), newCheckCommand(version), newExplainCommand(version, program))
	setHelp(command, sections)
	return command, nil
}

// setHelp has a command's help show its flags in groups.
func setHelp(command *cobra.Command, sections cliflag.NamedFlagSets) {
	columns, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		columns = 0 // not a terminal: lines are not wrapped
	}
	cliflag.SetUsageAndHelpFunc(command, sections, columns)
}
