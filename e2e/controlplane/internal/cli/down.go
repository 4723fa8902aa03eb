package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
	"github.com/berth-csi/berth/e2e/controlplane/internal/supervisor"
)

// downTimeout is far beyond what stopping takes.
const downTimeout = 30 * time.Second

func newDown() *cobra.Command {
	var t target
	command := &cobra.Command{
		Use:   "down --dir DIR",
		Short: "Stop a control plane and wait until it has; fine if none runs",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			dir, err := t.directory()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), downTimeout)
			defer cancel()
			err = control.NewClient(dir.Socket()).Down(ctx)
			if errors.Is(err, control.ErrNotRunning) {
				fmt.Fprintln(command.ErrOrStderr(), "no control plane is running in", dir)
				return removeLeftovers(dir)
			}
			if err != nil {
				return err
			}
			return awaitEnd(ctx, dir)
		},
	}
	t.addFlag(command)
	return command
}

// removeLeftovers cleans up behind a supervisor that was killed. A directory that is missing, or that an `up` has
// just taken, needs nothing.
func removeLeftovers(dir directory.Dir) error {
	lock, err := dir.Lock()
	if err != nil {
		return nil
	}
	defer lock.Close()
	return errors.Join(supervisor.RemoveLeftovers(dir), node.RemoveCgroups(node.Place{Dir: dir}))
}

// awaitEnd returns once nobody owns the directory.
func awaitEnd(ctx context.Context, dir directory.Dir) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		lock, err := dir.Lock()
		if err == nil {
			return lock.Close()
		}
		if !errors.Is(err, directory.ErrInUse) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the control plane in %s has not stopped: %w", dir, ctx.Err())
		case <-ticker.C:
		}
	}
}
