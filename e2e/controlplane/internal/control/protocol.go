// Package control is how the subcommands talk to the running `up`: HTTP over a unix socket, a handful of requests.
// The server side carries them to a Plane; the client side returns its answers and its errors unchanged.
package control

import (
	"context"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
)

// State is what a component is doing.
type State string

// The states of a component.
const (
	// Down: not started yet, or ended on request.
	Down State = "down"
	// Starting: runs, and has not been healthy yet.
	Starting State = "starting"
	// Running: runs, and has been healthy since it was started.
	Running State = "running"
	// Frozen: stopped by SIGSTOP.
	Frozen State = "frozen"
	// Failed: ended without having been asked to.
	Failed State = "failed"
)

// Status describes a component.
type Status struct {
	Component component.Name `json:"component"`
	State     State          `json:"state"`
	// PID is 0 if the component does not run.
	PID int `json:"pid"`
	// Restarts counts starts after the first.
	Restarts int    `json:"restarts"`
	Log      string `json:"log"`
	// CPUSeconds is user and system time since `up`, over all restarts.
	CPUSeconds    float64 `json:"cpuSeconds"`
	ResidentBytes int64   `json:"residentBytes"`
}

// Kill ends a component, or freezes or thaws it.
type Kill struct {
	Component component.Name `json:"component"`
	// Signal is KILL, TERM, INT, STOP or CONT.
	Signal string `json:"signal"`
}

// Start starts a component.
type Start struct {
	Component component.Name  `json:"component"`
	Set       component.Flags `json:"set,omitempty"`
}

// Restart ends a component, if it runs, and starts it.
type Restart struct {
	Component component.Name  `json:"component"`
	Signal    string          `json:"signal"`
	Set       component.Flags `json:"set,omitempty"`
}

// Limits are the controller-manager's client limits. QPS 0 stands for Kubernetes' own limits.
type Limits struct {
	QPS   float64 `json:"qps"`
	Burst int     `json:"burst"`
}

// Plane is a running control plane. All methods may be called concurrently. Those that start something return once
// it is healthy, with an error that includes the end of its log otherwise.
type Plane interface {
	Status() []Status
	Kill(ctx context.Context, request Kill) error
	Start(ctx context.Context, request Start) error
	Restart(ctx context.Context, request Restart) error
	SetLimits(ctx context.Context, limits Limits) error
	// Down asks the control plane to stop and returns at once.
	Down()
}
