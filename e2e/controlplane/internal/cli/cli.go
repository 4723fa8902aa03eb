// Package cli is the command line: flags in, calls to the packages that do the work, lines out. Progress and errors go
// to standard error, what a script may want to read goes to standard output. It knows nothing about how components
// run, so it links without them.
package cli

import (
	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
)

// New returns the root command.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:   "controlplane",
		Short: "A real Kubernetes control plane in one binary, on loopback",
		// main prints the error, once and without the usage.
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newUp(),
		newDown(),
		newStatus(),
		newKill(),
		newStart(),
		newRestart(),
		newLimits(),
		newExec(),
		newKubeconfig(),
		newRequests(),
	)
	return root
}

// target is the control plane a command is about.
type target struct {
	path string
}

func (t *target) addFlag(command *cobra.Command) {
	command.Flags().StringVar(&t.path, "dir", "", "directory of the control plane (required)")
}

func (t *target) directory() (directory.Dir, error) { return directory.Open(t.path) }

func (t *target) client() (*control.Client, error) {
	dir, err := t.directory()
	if err != nil {
		return nil, err
	}
	return control.NewClient(dir.Socket()), nil
}
