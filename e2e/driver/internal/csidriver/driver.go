// Package csidriver answers CSI calls. Handlers validate a request, let the state package decide and record, and turn
// the result into an answer or a gRPC code. Everything that happens around a handler is in intercept.go: one call in
// flight for a volume, scripted faults, the call log. All of it is safe for concurrent use.
package csidriver

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/e2e/driver/internal/calls"
	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/data"
	"github.com/berth-csi/berth/e2e/driver/internal/fault"
	"github.com/berth-csi/berth/e2e/driver/internal/node"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// Parts is what a Driver works with. All fields are needed but those that say otherwise.
type Parts struct {
	Config  config.Config
	NodeID  string
	Version string
	Store   *state.Store // nil: no controller service
	Data    data.Dir
	Faults  *fault.List
	Calls   *calls.Log
	Log     *slog.Logger
	// NodeService: the node service is served. Node mounts; without, target paths are made and nothing is mounted.
	NodeService bool
	Node        *node.Node
	// Mounted: volumes are mounted on nodes, by this process or by others.
	Mounted bool
}

// Driver serves the identity, controller and node services. Make one with New.
type Driver struct {
	csipb.UnimplementedIdentityServer
	csipb.UnimplementedControllerServer
	csipb.UnimplementedNodeServer

	Parts
	inflight *inflight
	stopping chan struct{}
	stopOnce sync.Once
}

// New makes a driver.
func New(parts Parts) *Driver {
	return &Driver{Parts: parts, inflight: newInflight(), stopping: make(chan struct{})}
}

// Server is a gRPC server with those of the driver's services that there are, ready to serve a listener.
func (d *Driver) Server() *grpc.Server {
	s := grpc.NewServer(grpc.Creds(keepConn{}), grpc.UnaryInterceptor(d.intercept), grpc.MaxRecvMsgSize(maxMessage))
	csipb.RegisterIdentityServer(s, d)
	if d.Store != nil {
		csipb.RegisterControllerServer(s, d)
	}
	if d.NodeService {
		csipb.RegisterNodeServer(s, d)
	}
	return s
}

// maxMessage leaves room for a requirement that names many thousands of segments twice.
const maxMessage = 64 << 20

// Stop ends the calls that a fault lets hang, so that a server can stop gracefully. It may be called more than once.
func (d *Driver) Stop() { d.stopOnce.Do(func() { close(d.stopping) }) }

// Methods lists the short names of all methods a fault can be for.
func Methods() []string {
	var names []string
	for _, desc := range []grpc.ServiceDesc{csipb.Identity_ServiceDesc, csipb.Controller_ServiceDesc, csipb.Node_ServiceDesc} {
		for _, m := range desc.Methods {
			names = append(names, m.MethodName)
		}
	}
	return names
}

func (d *Driver) has(c config.Capability) bool { return d.Config.Capabilities.Has(c) }

func (d *Driver) hasRPC(t csipb.ControllerServiceCapability_RPC_Type) bool {
	return d.has(config.ControllerRPC(t))
}

// newID makes an id that has nothing in common with the name: who confuses the two is found out.
func newID(prefix string) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return prefix + hex.EncodeToString(b[:])
}

func now() time.Time { return time.Now().UTC() }

// refused gives a refusal its code. A nil refusal is a nil error.
func refused(no *state.Refusal) error {
	if no == nil {
		return nil
	}
	return status.Error(refusalCode(no.Reason), no.Why)
}

func refusalCode(r state.Reason) codes.Code {
	switch r {
	case state.NotFound:
		return codes.NotFound
	case state.Incompatible:
		return codes.AlreadyExists
	case state.InUse:
		return codes.FailedPrecondition
	case state.OutOfRange:
		return codes.OutOfRange
	case state.Exhausted:
		return codes.ResourceExhausted
	case state.Unsupported:
		return codes.InvalidArgument
	}
	return codes.Internal
}

// failed is for what should have worked. The details are for the log as much as for the caller, who is a test.
func failed(err error) error { return status.Error(codes.Internal, err.Error()) }

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}
