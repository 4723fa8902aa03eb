package csidriver

import (
	"context"
	"errors"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/e2e/driver/internal/mounts"
	"github.com/berth-csi/berth/e2e/driver/internal/node"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// The calls in this file are for a driver that mounts: serves lets none of them through if d.Node is nil.

// NodeStageVolume implements csipb.NodeServer.
func (d *Driver) NodeStageVolume(_ context.Context, r *csipb.NodeStageVolumeRequest) (*csipb.NodeStageVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if r.GetStagingTargetPath() == "" {
		return nil, invalid("staging_target_path is missing")
	}
	how, err := d.mounting(r.GetVolumeCapability(), false)
	if err != nil {
		return nil, err
	}
	if err := answered(d.Node.Stage(r.GetVolumeId(), r.GetStagingTargetPath(), how)); err != nil {
		return nil, err
	}
	return &csipb.NodeStageVolumeResponse{}, nil
}

// NodeUnstageVolume implements csipb.NodeServer.
func (d *Driver) NodeUnstageVolume(_ context.Context, r *csipb.NodeUnstageVolumeRequest) (*csipb.NodeUnstageVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if r.GetStagingTargetPath() == "" {
		return nil, invalid("staging_target_path is missing")
	}
	if err := answered(d.Node.Unstage(r.GetVolumeId(), r.GetStagingTargetPath())); err != nil {
		return nil, err
	}
	return &csipb.NodeUnstageVolumeResponse{}, nil
}

func (d *Driver) mount(r *csipb.NodePublishVolumeRequest) error {
	how, err := d.mounting(r.GetVolumeCapability(), r.GetReadonly())
	if err != nil {
		return err
	}
	if d.Node.Stages && r.GetStagingTargetPath() == "" {
		// NodePublishVolume Errors of the specification: the staging path has to be set where the driver has STAGE_UNSTAGE_VOLUME.
		return status.Error(codes.FailedPrecondition, "staging_target_path is missing")
	}
	return answered(d.Node.Publish(r.GetVolumeId(), r.GetStagingTargetPath(), r.GetTargetPath(), how))
}

func (d *Driver) unmount(id, path string) error { return answered(d.Node.Unpublish(id, path)) }

// mounting turns a capability into what is to be mounted.
func (d *Driver) mounting(vc *csipb.VolumeCapability, readonly bool) (node.Publication, error) {
	c, err := capability(vc, d.Config)
	if err != nil {
		return node.Publication{}, err
	}
	options := vc.GetMount().GetMountFlags()
	if err := mounts.CheckOptions(options); err != nil {
		return node.Publication{}, invalid("mount_flags: %v", err)
	}
	if c.Mode == csipb.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY.String() || c.Mode == csipb.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY.String() {
		readonly = true
	}
	return node.Publication{Block: c.Block, Readonly: readonly, Single: !c.Shared(), Options: options}, nil
}

// answered turns what came of a call into its error. What is busy is so only for now.
func answered(no *state.Refusal, err error) error {
	switch {
	case no != nil:
		return refused(no)
	case errors.Is(err, unix.EBUSY):
		return status.Error(codes.FailedPrecondition, err.Error())
	case err != nil:
		return failed(err)
	}
	return nil
}

// NodeGetVolumeStats implements csipb.NodeServer.
func (d *Driver) NodeGetVolumeStats(_ context.Context, r *csipb.NodeGetVolumeStatsRequest) (*csipb.NodeGetVolumeStatsResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if r.GetVolumePath() == "" {
		return nil, invalid("volume_path is missing")
	}
	usage, no, err := d.Node.Stats(r.GetVolumeId(), r.GetVolumePath())
	if err := answered(no, err); err != nil {
		return nil, err
	}
	answer := &csipb.NodeGetVolumeStatsResponse{Usage: []*csipb.VolumeUsage{{
		Unit: csipb.VolumeUsage_BYTES, Total: usage.Total, Used: usage.Used, Available: usage.Available,
	}}}
	if !usage.Block {
		answer.Usage = append(answer.Usage, &csipb.VolumeUsage{
			Unit: csipb.VolumeUsage_INODES, Total: usage.Inodes, Used: usage.InodesUsed, Available: usage.InodesAvailable,
		})
	}
	return answer, nil
}

// NodeExpandVolume implements csipb.NodeServer.
func (d *Driver) NodeExpandVolume(_ context.Context, r *csipb.NodeExpandVolumeRequest) (*csipb.NodeExpandVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, invalid("volume_id is missing")
	}
	if r.GetVolumePath() == "" {
		return nil, invalid("volume_path is missing")
	}
	if r.GetCapacityRange() != nil {
		if _, err := capacityRange(r.GetCapacityRange(), false); err != nil {
			return nil, err
		}
	}
	size, no, err := d.Node.Expand(r.GetVolumeId(), r.GetVolumePath())
	if err := answered(no, err); err != nil {
		return nil, err
	}
	return &csipb.NodeExpandVolumeResponse{CapacityBytes: size}, nil
}
