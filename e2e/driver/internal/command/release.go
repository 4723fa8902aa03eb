package command

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/driver/internal/mounts"
)

// newRelease is for who takes down a whole node: mounts end with their namespace and with the machine, but loop devices belong to the kernel, which knows of
// no container.
func newRelease() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "release", Short: "Detach the loop devices of all volumes of a driver that is gone", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			released, err := release(dir)
			for _, device := range released {
				fmt.Fprintln(c.OutOrStdout(), device)
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "state", "", "directory with the driver's volumes")
	_ = c.MarkFlagRequired("state") // fails only for a flag that does not exist
	return c
}

func release(dir string) (released []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "volumes", "*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		loops, err := mounts.Loops(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return released, err
		}
		for _, loop := range loops {
			if err := mounts.DetachLoop(loop); err != nil {
				return released, err
			}
			released = append(released, loop.Device)
		}
	}
	return released, nil
}
