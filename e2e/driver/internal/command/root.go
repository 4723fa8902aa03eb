// Package command is poold's command line: serve runs the driver, the other commands ask a running one.
package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/driver/internal/admin"
)

// New is the command with its subcommands. It prints nothing about errors: its caller does, in one line.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:           "poold",
		Short:         "A CSI driver to test against: storage pools in segments, and faults on command",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newServe(), newVolumes(), newSnapshots(), newPools(), newCalls(), newFaults(), newFault(), newResize(), newRelease())
	return root
}

// ask is what the commands that talk to a running driver have in common.
type ask struct {
	admin string
	json  bool
}

func (a *ask) flags(c *cobra.Command) {
	c.Args = cobra.NoArgs
	c.Flags().StringVar(&a.admin, "admin", "", "admin socket of the running driver, unix:///DIR/admin.sock")
	c.Flags().BoolVar(&a.json, "json", false, "print JSON instead of a table")
}

func (a *ask) do(c *cobra.Command, method, path string, body any) (json.RawMessage, error) {
	if a.admin == "" {
		return nil, errors.New("--admin is missing")
	}
	socket, err := socketPath("--admin", a.admin)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(socket).Do(c.Context(), method, path, body)
}

// show prints an answer: as it came, or as the table that is made of it.
func show[T any](a *ask, out io.Writer, raw json.RawMessage, header string, row func(T) []string) error {
	if a.json {
		_, err := out.Write(raw)
		return err
	}
	var items []T
	if err := json.Unmarshal(raw, &items); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = row(item)
	}
	return table(out, strings.Split(header, " "), rows)
}

// newList is a command that shows a list.
func newList[T any](use, short, path, header string, row func(T) []string) *cobra.Command {
	a := &ask{}
	c := &cobra.Command{Use: use, Short: short, RunE: func(c *cobra.Command, _ []string) error {
		raw, err := a.do(c, "GET", path, nil)
		if err != nil {
			return err
		}
		return show(a, c.OutOrStdout(), raw, header, row)
	}}
	a.flags(c)
	return c
}

// socketPath is the path in a unix socket's address: unix:///p, unix:/p or the path itself.
func socketPath(flag, address string) (string, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(address, "unix:"), "//")
	if path == "" || strings.Contains(path, "://") {
		return "", fmt.Errorf("%s: %q is not a unix socket such as unix:///tmp/csi.sock", flag, address)
	}
	// sockaddr_un holds 108 bytes with the final zero; the kernel's own complaint would be "invalid argument".
	if len(path) > 107 {
		return "", fmt.Errorf("%s: the path of a unix socket has at most 107 bytes, this one has %d: %s", flag, len(path), path)
	}
	return path, nil
}
