package csidriver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/node"
)

// NodeGetInfo implements csipb.NodeServer.
func (d *Driver) NodeGetInfo(context.Context, *csipb.NodeGetInfoRequest) (*csipb.NodeGetInfoResponse, error) {
	r := &csipb.NodeGetInfoResponse{NodeId: d.NodeID, MaxVolumesPerNode: d.Config.MaxVolumes}
	if t := d.topology(d.Config.NodeSegments); t != nil {
		r.AccessibleTopology = t[0]
	}
	return r, nil
}

// nodeRPCs are the capabilities of the node service. Those beside SINGLE_NODE_MULTI_WRITER are about mounts.
func (d *Driver) nodeRPCs() []csipb.NodeServiceCapability_RPC_Type {
	return slices.DeleteFunc(config.NodeRPCs(), func(t csipb.NodeServiceCapability_RPC_Type) bool {
		return !d.has(config.NodeRPC(t)) || d.Node == nil && t != csipb.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER
	})
}

// NodeGetCapabilities implements csipb.NodeServer.
func (d *Driver) NodeGetCapabilities(context.Context, *csipb.NodeGetCapabilitiesRequest) (*csipb.NodeGetCapabilitiesResponse, error) {
	r := &csipb.NodeGetCapabilitiesResponse{}
	for _, t := range d.nodeRPCs() {
		r.Capabilities = append(r.Capabilities, &csipb.NodeServiceCapability{
			Type: &csipb.NodeServiceCapability_Rpc{Rpc: &csipb.NodeServiceCapability_RPC{Type: t}},
		})
	}
	return r, nil
}

// NodePublishVolume implements csipb.NodeServer.
func (d *Driver) NodePublishVolume(_ context.Context, r *csipb.NodePublishVolumeRequest) (*csipb.NodePublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if r.GetTargetPath() == "" {
		return nil, invalid("target_path is missing")
	}
	publish := d.publishWithout
	if d.Node != nil {
		publish = d.mount
	}
	if err := publish(r); err != nil {
		return nil, err
	}
	return &csipb.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume implements csipb.NodeServer.
func (d *Driver) NodeUnpublishVolume(_ context.Context, r *csipb.NodeUnpublishVolumeRequest) (*csipb.NodeUnpublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if r.GetTargetPath() == "" {
		return nil, invalid("target_path is missing")
	}
	unpublish := d.unpublishWithout
	if d.Node != nil {
		unpublish = d.unmount
	}
	if err := unpublish(r.GetVolumeId(), r.GetTargetPath()); err != nil {
		return nil, err
	}
	return &csipb.NodeUnpublishVolumeResponse{}, nil
}

// publishWithout publishes as far as that goes without privileges: the target path comes to be, as an empty directory or file, and nothing is mounted
// on it.
func (d *Driver) publishWithout(r *csipb.NodePublishVolumeRequest) error {
	how, err := d.publication(r.GetVolumeCapability(), r.GetReadonly())
	if err != nil {
		return err
	}
	_, no, err := d.Store.AddTarget(r.GetVolumeId(), r.GetTargetPath(), how)
	if no != nil {
		return refused(no)
	}
	if err == nil {
		err = node.MakeTarget(r.GetTargetPath(), how.Capability.Block)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// unpublishWithout removes what publishWithout made, never more: a directory that has got content stays, with an error.
func (d *Driver) unpublishWithout(id, path string) error {
	v, err := d.find(id)
	if err != nil {
		return err
	}
	if _, ours := v.Targets[path]; !ours {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(err)
	}
	_, no, err := d.Store.RemoveTarget(id, path)
	if no != nil {
		return refused(no)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}
