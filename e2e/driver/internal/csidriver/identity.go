package csidriver

import (
	"context"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/berth-csi/berth/e2e/driver/internal/config"
)

// GetPluginInfo implements csipb.IdentityServer.
func (d *Driver) GetPluginInfo(context.Context, *csipb.GetPluginInfoRequest) (*csipb.GetPluginInfoResponse, error) {
	return &csipb.GetPluginInfoResponse{Name: d.Config.DriverName, VendorVersion: d.Version}, nil
}

// GetPluginCapabilities implements csipb.IdentityServer.
func (d *Driver) GetPluginCapabilities(context.Context, *csipb.GetPluginCapabilitiesRequest) (*csipb.GetPluginCapabilitiesResponse, error) {
	r := &csipb.GetPluginCapabilitiesResponse{}
	service := func(c config.Capability, t csipb.PluginCapability_Service_Type) {
		if d.has(c) {
			r.Capabilities = append(r.Capabilities, &csipb.PluginCapability{
				Type: &csipb.PluginCapability_Service_{Service: &csipb.PluginCapability_Service{Type: t}},
			})
		}
	}
	service(config.ControllerService, csipb.PluginCapability_Service_CONTROLLER_SERVICE)
	service(config.AccessibilityConstraints, csipb.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS)
	if d.has(config.OnlineExpansion) {
		r.Capabilities = append(r.Capabilities, &csipb.PluginCapability{
			Type: &csipb.PluginCapability_VolumeExpansion_{VolumeExpansion: &csipb.PluginCapability_VolumeExpansion{Type: csipb.PluginCapability_VolumeExpansion_ONLINE}},
		})
	}
	return r, nil
}

// Probe implements csipb.IdentityServer. The driver serves nothing before it is ready, so it always is.
func (d *Driver) Probe(context.Context, *csipb.ProbeRequest) (*csipb.ProbeResponse, error) {
	return &csipb.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// ControllerGetCapabilities implements csipb.ControllerServer.
func (d *Driver) ControllerGetCapabilities(context.Context, *csipb.ControllerGetCapabilitiesRequest) (*csipb.ControllerGetCapabilitiesResponse, error) {
	r := &csipb.ControllerGetCapabilitiesResponse{}
	for _, t := range config.ControllerRPCs() {
		if d.hasRPC(t) {
			r.Capabilities = append(r.Capabilities, &csipb.ControllerServiceCapability{
				Type: &csipb.ControllerServiceCapability_Rpc{Rpc: &csipb.ControllerServiceCapability_RPC{Type: t}},
			})
		}
	}
	return r, nil
}
