package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
)

// Exit is the code to exit with when a command has said all there was to say.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func newExec() *cobra.Command {
	var t target
	command := &cobra.Command{
		Use:   "exec --dir DIR -- COMMAND [ARGUMENT]...",
		Short: "Run a command on the node: in its mounts, its network and among its processes",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := t.client()
			if err != nil {
				return err
			}
			supervisor, err := client.PID(command.Context())
			if err != nil {
				return err
			}
			code, err := node.Enter(command.Context(), supervisor, node.Command{
				Args: args, Stdin: command.InOrStdin(), Stdout: command.OutOrStdout(), Stderr: command.ErrOrStderr(),
			})
			if err == nil && code != 0 {
				return Exit(code)
			}
			return err
		},
	}
	t.addFlag(command)
	return command
}
