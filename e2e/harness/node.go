package harness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// The components of a node, as Kill, Start and Restart know them.
const (
	Containerd = "containerd"
	Kubelet    = "kubelet"
)

// NodeName is the name of the only Node of a control plane with a node.
const NodeName = "node"

// ErrNoNode says that this machine cannot run a node; the error that wraps it says what is missing.
var ErrNoNode = errors.New("no node can run here")

// NodeImages are the archives that "make e2e-images" makes.
func NodeImages() ([]string, error) {
	binary, err := Binary(controlPlaneBinary)
	if err != nil {
		return nil, err
	}
	var images []string
	for _, name := range []string{"pause", "scribe", driverBinary, berthBinary} {
		path := filepath.Join(filepath.Dir(binary), name+"-e2e.tar")
		if _, err := os.Stat(path); err != nil {
			return nil, errors.Join(err, errors.New(`run "make e2e-images"`))
		}
		images = append(images, path)
	}
	return images, nil
}

// OnNode runs a command among the node's processes and returns its standard output.
func (c *ControlPlane) OnNode(ctx context.Context, args ...string) (string, error) {
	out, err := command(ctx, c.binary, append([]string{"exec", "--dir", c.Dir, "--"}, args...)...)
	return string(out), err
}

// NodeFile is where a file below the node's /var/lib/kubelet is to be found from outside.
func (c *ControlPlane) NodeFile(elements ...string) string {
	return filepath.Join(append([]string{c.Dir, "node", "kubelet"}, elements...)...)
}

// KillOutright ends the control plane with SIGKILL, as if the machine's administrator had, and waits for the process alone.
func (c *ControlPlane) KillOutright(ctx context.Context) error {
	if err := c.process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := c.process.Wait(ctx)
	return err
}
