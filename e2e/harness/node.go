package harness

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
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

// DriverInPod is a driver that runs on the node, as the sidecars beside it see it: over the socket in the chart's volume of its Pod. It can be called, and
// is nobody's process here.
func (c *ControlPlane) DriverInPod(name string, pod *corev1.Pod) (*Driver, error) {
	directory := c.NodeFile("pods", string(pod.UID), "volumes", "kubernetes.io~empty-dir", "socket-dir")
	short := filepath.Join(c.Dir, "pod-"+string(pod.UID)[:8]) // the path of a socket must be short
	if err := os.Symlink(directory, short); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return &Driver{Name: name, Socket: filepath.Join(short, "csi.sock")}, nil
}

// KillOutright ends the control plane with SIGKILL, as if the machine's administrator had, and waits for the process alone.
func (c *ControlPlane) KillOutright(ctx context.Context) error {
	if err := c.process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := c.process.Wait(ctx)
	return err
}
