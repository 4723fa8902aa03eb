package csidriver

import (
	"context"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// DeleteVolume implements csipb.ControllerServer. The volume is forgotten before its data is removed: dying in between
// leaves data that the next start sweeps up, not a volume without data.
func (d *Driver) DeleteVolume(_ context.Context, r *csipb.DeleteVolumeRequest) (*csipb.DeleteVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if d.Mounted {
		user, err := d.Data.UsedBy(r.GetVolumeId())
		if err != nil {
			return nil, failed(err)
		}
		if user != "" {
			return nil, status.Errorf(codes.FailedPrecondition, "volume %q is staged or published on node %q", r.GetVolumeId(), user)
		}
	}
	gone, no, err := d.Store.Delete(r.GetVolumeId())
	if no != nil {
		return nil, refused(no)
	}
	if err != nil {
		return nil, failed(err)
	}
	if gone != nil {
		if err := d.Data.Remove(gone.ID); err != nil {
			d.Log.Error("remove data of a deleted volume", "volume", gone.ID, "error", err)
		}
	}
	return &csipb.DeleteVolumeResponse{}, nil
}

// ControllerExpandVolume implements csipb.ControllerServer. Expansion on the node is for block volumes: their device has the size that its file had.
func (d *Driver) ControllerExpandVolume(_ context.Context, r *csipb.ControllerExpandVolumeRequest) (*csipb.ControllerExpandVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	size, err := capacityRange(r.GetCapacityRange(), true)
	if err != nil {
		return nil, err
	}
	var use *state.Capability
	if r.GetVolumeCapability() != nil {
		c, err := capability(r.GetVolumeCapability(), d.Config)
		if err != nil {
			return nil, err
		}
		use = &c
	}
	v, no, err := d.Store.Expand(r.GetVolumeId(), size, use, !d.has(config.OnlineExpansion))
	if no != nil {
		return nil, refused(no)
	}
	if err != nil {
		return nil, failed(err)
	}
	// After the record, and also if that was large enough already: a repeated call mends what the first could not.
	if err := d.Data.Grow(v.ID, v.Bytes); err != nil {
		return nil, failed(err)
	}
	return &csipb.ControllerExpandVolumeResponse{CapacityBytes: v.Bytes, NodeExpansionRequired: d.Mounted && v.Block()}, nil
}

// ControllerModifyVolume implements csipb.ControllerServer.
func (d *Driver) ControllerModifyVolume(_ context.Context, r *csipb.ControllerModifyVolumeRequest) (*csipb.ControllerModifyVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if err := checkMutable(r.GetMutableParameters(), d.Config); err != nil {
		return nil, err
	}
	_, no, err := d.Store.Modify(r.GetVolumeId(), r.GetMutableParameters())
	if no != nil {
		return nil, refused(no)
	}
	if err != nil {
		return nil, failed(err)
	}
	return &csipb.ControllerModifyVolumeResponse{}, nil
}

// ControllerGetVolume implements csipb.ControllerServer.
func (d *Driver) ControllerGetVolume(_ context.Context, r *csipb.ControllerGetVolumeRequest) (*csipb.ControllerGetVolumeResponse, error) {
	v, err := d.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	answer := &csipb.ControllerGetVolumeResponse{Volume: d.volume(v), Status: &csipb.ControllerGetVolumeResponse_VolumeStatus{}}
	if d.hasRPC(csipb.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES) {
		answer.Status.PublishedNodeIds = v.Nodes()
	}
	return answer, nil
}

// ValidateVolumeCapabilities implements csipb.ControllerServer.
func (d *Driver) ValidateVolumeCapabilities(_ context.Context, r *csipb.ValidateVolumeCapabilitiesRequest) (*csipb.ValidateVolumeCapabilitiesResponse, error) {
	if len(r.GetVolumeCapabilities()) == 0 {
		return nil, invalid("volume_capabilities is missing")
	}
	v, err := d.find(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	for _, vc := range r.GetVolumeCapabilities() {
		// A capability the driver does not know at all is not supported by the volume either; that is an answer.
		c, err := capability(vc, d.Config)
		if err != nil {
			return &csipb.ValidateVolumeCapabilitiesResponse{Message: status.Convert(err).Message()}, nil
		}
		if !v.Supports(c) {
			return &csipb.ValidateVolumeCapabilitiesResponse{Message: "the volume was not created with one of these capabilities"}, nil
		}
	}
	return &csipb.ValidateVolumeCapabilitiesResponse{Confirmed: &csipb.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext: r.GetVolumeContext(), VolumeCapabilities: r.GetVolumeCapabilities(),
		Parameters: r.GetParameters(), MutableParameters: r.GetMutableParameters(),
	}}, nil
}

// find is the volume with an id that a request names.
func (d *Driver) find(id string) (*state.Volume, error) {
	if id == "" {
		return nil, invalid("volume_id is missing")
	}
	if v := d.Store.Volume(id); v != nil {
		return v, nil
	}
	return nil, status.Errorf(codes.NotFound, "volume %q does not exist", id)
}

// GetCapacity implements csipb.ControllerServer. A topology without a pool has no capacity; that is not an error.
// Parameters are not looked at: all pools serve all of them, and the established provisioner sends a class's parameters
// here with the reserved ones still among them.
func (d *Driver) GetCapacity(_ context.Context, r *csipb.GetCapacityRequest) (*csipb.GetCapacityResponse, error) {
	for _, vc := range r.GetVolumeCapabilities() {
		if _, err := capability(vc, d.Config); err != nil {
			return nil, err
		}
	}
	var term map[string]string
	if t := r.GetAccessibleTopology(); t != nil {
		if !d.has(config.AccessibilityConstraints) {
			return nil, invalid("accessible_topology: this driver does not have VOLUME_ACCESSIBILITY_CONSTRAINTS")
		}
		if term = t.GetSegments(); len(term) == 0 {
			return nil, invalid("accessible_topology: has no segments")
		}
	}
	c := d.Store.Capacity(term)
	answer := &csipb.GetCapacityResponse{AvailableCapacity: c.Available}
	if c.LargestKnown {
		answer.MaximumVolumeSize = wrapperspb.Int64(c.Largest)
	}
	return answer, nil
}
