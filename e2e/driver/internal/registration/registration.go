// Package registration makes a CSI driver known to the kubelet of its node: the kubelet watches a directory for sockets, asks at each what is there, and says
// what became of it (https://pkg.go.dev/k8s.io/kubelet/pkg/apis/pluginregistration/v1). Elsewhere a sidecar does this.
package registration

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	registrationpb "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Plugin is what the kubelet is told.
type Plugin struct {
	Driver   string
	Endpoint string // path of the CSI socket, as the kubelet sees it
}

// csiVersions are those that the kubelet knows to ask for: 1 is all there is, 1.13 included.
var csiVersions = []string{"1.0.0"}

// NewServer makes a server that still has to be given a listener in the kubelet's directory.
func NewServer(p Plugin, log *slog.Logger) *grpc.Server {
	s := grpc.NewServer()
	registrationpb.RegisterRegistrationServer(s, server{plugin: p, log: log})
	return s
}

type server struct {
	registrationpb.UnimplementedRegistrationServer

	plugin Plugin
	log    *slog.Logger
}

// GetInfo implements registrationpb.RegistrationServer.
func (s server) GetInfo(context.Context, *registrationpb.InfoRequest) (*registrationpb.PluginInfo, error) {
	return &registrationpb.PluginInfo{
		Type: registrationpb.CSIPlugin, Name: s.plugin.Driver, Endpoint: s.plugin.Endpoint, SupportedVersions: csiVersions,
	}, nil
}

// NotifyRegistrationStatus implements registrationpb.RegistrationServer. The kubelet tries again by itself after a failure.
func (s server) NotifyRegistrationStatus(_ context.Context, r *registrationpb.RegistrationStatus) (*registrationpb.RegistrationStatusResponse, error) {
	if r.GetPluginRegistered() {
		s.log.Info("the kubelet has registered the driver", "driver", s.plugin.Driver)
	} else {
		s.log.Error("the kubelet has not registered the driver", "driver", s.plugin.Driver, "error", r.GetError())
	}
	return &registrationpb.RegistrationStatusResponse{}, nil
}
