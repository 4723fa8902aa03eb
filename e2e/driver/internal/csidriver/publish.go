package csidriver

import (
	"context"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// ControllerPublishVolume implements csipb.ControllerServer.
func (d *Driver) ControllerPublishVolume(_ context.Context, r *csipb.ControllerPublishVolumeRequest) (*csipb.ControllerPublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if r.GetNodeId() == "" {
		return nil, invalid("node_id is missing")
	}
	how, err := d.publication(r.GetVolumeCapability(), r.GetReadonly())
	if err != nil {
		return nil, err
	}
	if r.GetReadonly() && !d.hasRPC(csipb.ControllerServiceCapability_RPC_PUBLISH_READONLY) {
		return nil, invalid("readonly: this driver does not have PUBLISH_READONLY")
	}
	if _, err := d.find(r.GetVolumeId()); err != nil {
		return nil, err
	}
	limit, known := d.nodeLimit(r.GetNodeId())
	if !known {
		return nil, status.Errorf(codes.NotFound, "node %q does not exist", r.GetNodeId())
	}
	_, no, err := d.Store.Publish(r.GetVolumeId(), r.GetNodeId(), how, limit)
	if no != nil {
		return nil, refused(no)
	}
	if err != nil {
		return nil, failed(err)
	}
	return &csipb.ControllerPublishVolumeResponse{}, nil
}

// ControllerUnpublishVolume implements csipb.ControllerServer. A volume that does not exist is published nowhere.
func (d *Driver) ControllerUnpublishVolume(_ context.Context, r *csipb.ControllerUnpublishVolumeRequest) (*csipb.ControllerUnpublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	_, no, err := d.Store.Unpublish(r.GetVolumeId(), r.GetNodeId())
	if no != nil && no.Reason != state.NotFound {
		return nil, refused(no)
	}
	if err != nil {
		return nil, failed(err)
	}
	return &csipb.ControllerUnpublishVolumeResponse{}, nil
}

// nodeLimit is how many volumes a node takes (0 for any number), and whether there is such a node.
func (d *Driver) nodeLimit(id string) (limit int64, known bool) {
	if id == d.NodeID || d.Config.AnyNode || d.Config.OtherNodes[id] {
		return d.Config.MaxVolumes, true
	}
	return 0, false
}

func (d *Driver) publication(vc *csipb.VolumeCapability, readonly bool) (state.Publication, error) {
	c, err := capability(vc, d.Config)
	return state.Publication{Capability: c, Readonly: readonly}, err
}
