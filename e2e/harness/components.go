package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ComponentStatus is what the control plane says about one of its components.
type ComponentStatus struct {
	Component string `json:"component"`
	// State is down, starting, running, frozen or failed.
	State string `json:"state"`
	PID   int    `json:"pid"`
	// Restarts counts starts after the first.
	Restarts int    `json:"restarts"`
	Log      string `json:"log"`
	// CPUSeconds are since the control plane came up, over all restarts; ResidentBytes are now.
	CPUSeconds    float64 `json:"cpuSeconds"`
	ResidentBytes int64   `json:"residentBytes"`
}

// Status of every component.
func (c *ControlPlane) Status(ctx context.Context) ([]ComponentStatus, error) {
	var status []ComponentStatus
	if err := c.ask(ctx, &status, "status", "--json"); err != nil {
		return nil, err
	}
	return status, nil
}

// Kill ends a component with SIGKILL and leaves it down.
func (c *ControlPlane) Kill(ctx context.Context, component string) error {
	return c.Signal(ctx, component, syscall.SIGKILL)
}

// Signal sends KILL, TERM or INT, after which the component stays down, or STOP and CONT, which freeze and thaw it.
func (c *ControlPlane) Signal(ctx context.Context, component string, signal syscall.Signal) error {
	return c.tell(ctx, "kill", component, "--signal", strings.TrimPrefix(unix.SignalName(signal), "SIG"))
}

// Start starts a component that is down and returns when it is healthy. Each of set is FLAG=VALUE, and lasts.
func (c *ControlPlane) Start(ctx context.Context, component string, set ...string) error {
	return c.tell(ctx, "start", append([]string{component}, setFlags(set)...)...)
}

// Restart stops a component with SIGTERM and starts it. Each of set is FLAG=VALUE, and lasts.
func (c *ControlPlane) Restart(ctx context.Context, component string, set ...string) error {
	return c.tell(ctx, "restart", append([]string{component}, setFlags(set)...)...)
}

// SetLimits restarts the controller-manager with other client limits; the zero value is back to stock.
func (c *ControlPlane) SetLimits(ctx context.Context, limits ClientLimits) error {
	if limits == (ClientLimits{}) {
		return c.tell(ctx, "limits", "--stock")
	}
	return c.tell(ctx, "limits", "--qps", strconv.FormatFloat(limits.QPS, 'f', -1, 64),
		"--burst", strconv.Itoa(limits.Burst))
}

// ServiceAccountKubeconfig writes a kubeconfig with a token of a service account, which is created if it is missing, and
// returns its path.
func (c *ControlPlane) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (string, error) {
	path := filepath.Join(c.Dir, fmt.Sprintf("%s.%s.kubeconfig", namespace, name))
	if err := c.tell(ctx, "kubeconfig", "--service-account", namespace+"/"+name, "--out", path); err != nil {
		return "", err
	}
	return path, nil
}

func setFlags(set []string) []string {
	var args []string
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return args
}

// tell runs a subcommand against this control plane.
func (c *ControlPlane) tell(ctx context.Context, subcommand string, args ...string) error {
	_, err := command(ctx, c.binary, append([]string{subcommand, "--dir", c.Dir}, args...)...)
	return err
}

// ask is tell for a subcommand that answers in JSON.
func (c *ControlPlane) ask(ctx context.Context, into any, subcommand string, args ...string) error {
	return commandJSON(ctx, into, c.binary, append([]string{subcommand, "--dir", c.Dir}, args...)...)
}
