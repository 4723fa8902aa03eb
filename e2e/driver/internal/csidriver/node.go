package csidriver

import (
	"context"
	"errors"
	"io/fs"
	"os"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// NodeGetInfo implements csipb.NodeServer.
func (d *Driver) NodeGetInfo(context.Context, *csipb.NodeGetInfoRequest) (*csipb.NodeGetInfoResponse, error) {
	r := &csipb.NodeGetInfoResponse{NodeId: d.NodeID, MaxVolumesPerNode: d.Config.MaxVolumes}
	if t := d.topology(d.Config.NodeSegments); t != nil {
		r.AccessibleTopology = t[0]
	}
	return r, nil
}

// NodeGetCapabilities implements csipb.NodeServer.
func (d *Driver) NodeGetCapabilities(context.Context, *csipb.NodeGetCapabilitiesRequest) (*csipb.NodeGetCapabilitiesResponse, error) {
	r := &csipb.NodeGetCapabilitiesResponse{}
	if d.has(config.SingleNodeMultiWriter) {
		r.Capabilities = append(r.Capabilities, &csipb.NodeServiceCapability{
			Type: &csipb.NodeServiceCapability_Rpc{Rpc: &csipb.NodeServiceCapability_RPC{Type: csipb.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER}},
		})
	}
	return r, nil
}

// NodePublishVolume implements csipb.NodeServer as far as that goes without privileges: the target path comes to be, as
// an empty directory or file, and nothing is mounted on it.
func (d *Driver) NodePublishVolume(_ context.Context, r *csipb.NodePublishVolumeRequest) (*csipb.NodePublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if r.GetTargetPath() == "" {
		return nil, invalid("target_path is missing")
	}
	how, err := d.publication(r.GetVolumeCapability(), r.GetReadonly())
	if err != nil {
		return nil, err
	}
	_, no, err := d.Store.AddTarget(r.GetVolumeId(), r.GetTargetPath(), how)
	if no != nil {
		return nil, refused(no)
	}
	if err == nil {
		err = makeTarget(r.GetTargetPath(), how)
	}
	if err != nil {
		return nil, failed(err)
	}
	return &csipb.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume implements csipb.NodeServer. It removes what NodePublishVolume made, never more: a directory that
// has got content stays, with an error.
func (d *Driver) NodeUnpublishVolume(_ context.Context, r *csipb.NodeUnpublishVolumeRequest) (*csipb.NodeUnpublishVolumeResponse, error) {
	if r.GetTargetPath() == "" {
		return nil, invalid("target_path is missing")
	}
	v, err := d.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if _, ours := v.Targets[r.GetTargetPath()]; !ours {
		return &csipb.NodeUnpublishVolumeResponse{}, nil
	}
	if err := os.Remove(r.GetTargetPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, failed(err)
	}
	_, no, err := d.Store.RemoveTarget(r.GetVolumeId(), r.GetTargetPath())
	if no != nil {
		return nil, refused(no)
	}
	if err != nil {
		return nil, failed(err)
	}
	return &csipb.NodeUnpublishVolumeResponse{}, nil
}

// makeTarget makes a target path whose parent exists. One that is there already is left as it is.
func makeTarget(path string, how state.Publication) error {
	if !how.Capability.Block {
		if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	return file.Close()
}
