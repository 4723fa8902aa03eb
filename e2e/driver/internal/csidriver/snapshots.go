package csidriver

import (
	"context"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// CreateSnapshot implements csipb.ControllerServer. A snapshot is a full copy and ready at once.
func (d *Driver) CreateSnapshot(ctx context.Context, r *csipb.CreateSnapshotRequest) (*csipb.CreateSnapshotResponse, error) {
	if err := checkName(r.GetName()); err != nil {
		return nil, err
	}
	if r.GetSourceVolumeId() == "" {
		return nil, invalid("source_volume_id is missing")
	}
	if err := checkParameters(r.GetParameters(), "volumesnapshot/name", "volumesnapshot/namespace", "volumesnapshotcontent/name"); err != nil {
		return nil, err
	}
	if r.GetAccessibilityRequirements() != nil {
		return nil, invalid("accessibility_requirements: this driver does not have SNAPSHOT_ACCESSIBILITY_CONSTRAINTS")
	}
	want := state.NewSnapshot{Name: r.GetName(), SourceVolumeID: r.GetSourceVolumeId(), Parameters: r.GetParameters()}
	existing, fresh, no := d.Store.BeginSnapshot(want, newID("snap-"), now())
	if no != nil {
		return nil, refused(no)
	}
	if existing != nil {
		return &csipb.CreateSnapshotResponse{Snapshot: snapshot(existing)}, nil
	}
	err := d.Data.Snapshot(ctx, fresh.ID, fresh.SourceVolumeID)
	if err == nil && ctx.Err() == nil {
		err = d.Store.CommitSnapshot(fresh)
		if err == nil {
			return &csipb.CreateSnapshotResponse{Snapshot: snapshot(fresh)}, nil
		}
	}
	if rm := d.Data.RemoveSnapshot(fresh.ID); rm != nil {
		d.Log.Error("remove data of a snapshot that was not created", "snapshot", fresh.ID, "error", rm)
	}
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return nil, failed(err)
}

// DeleteSnapshot implements csipb.ControllerServer.
func (d *Driver) DeleteSnapshot(_ context.Context, r *csipb.DeleteSnapshotRequest) (*csipb.DeleteSnapshotResponse, error) {
	if r.GetSnapshotId() == "" {
		return nil, invalid("snapshot_id is missing")
	}
	gone, err := d.Store.DeleteSnapshot(r.GetSnapshotId())
	if err != nil {
		return nil, failed(err)
	}
	if gone != nil {
		if err := d.Data.RemoveSnapshot(gone.ID); err != nil {
			d.Log.Error("remove data of a deleted snapshot", "snapshot", gone.ID, "error", err)
		}
	}
	return &csipb.DeleteSnapshotResponse{}, nil
}

// GetSnapshot implements csipb.ControllerServer.
func (d *Driver) GetSnapshot(_ context.Context, r *csipb.GetSnapshotRequest) (*csipb.GetSnapshotResponse, error) {
	if r.GetSnapshotId() == "" {
		return nil, invalid("snapshot_id is missing")
	}
	s := d.Store.Snapshot(r.GetSnapshotId())
	if s == nil {
		return nil, status.Errorf(codes.NotFound, "snapshot %q does not exist", r.GetSnapshotId())
	}
	return &csipb.GetSnapshotResponse{Snapshot: snapshot(s)}, nil
}

func snapshot(s *state.Snapshot) *csipb.Snapshot {
	return &csipb.Snapshot{
		SnapshotId: s.ID, SourceVolumeId: s.SourceVolumeID, SizeBytes: s.Bytes,
		CreationTime: timestamppb.New(s.Created), ReadyToUse: true,
	}
}
