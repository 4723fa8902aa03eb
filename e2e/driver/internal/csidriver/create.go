package csidriver

import (
	"context"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/data"
	"github.com/berth-csi/berth/e2e/driver/internal/pool"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// CreateVolume implements csipb.ControllerServer. The commit point is the record of the volume: a caller that gives up
// before it leaves nothing behind, one that gives up after it finds the volume by its name.
func (d *Driver) CreateVolume(ctx context.Context, r *csipb.CreateVolumeRequest) (*csipb.CreateVolumeResponse, error) {
	want, err := newVolume(r, d.Config)
	if err != nil {
		return nil, err
	}
	existing, fresh, no := d.Store.Begin(want, newID("vol-"), now())
	if no != nil {
		return nil, refused(no)
	}
	if existing != nil {
		return &csipb.CreateVolumeResponse{Volume: d.volume(existing)}, nil
	}
	if err := d.Data.Create(ctx, data.New{ID: fresh.ID, Bytes: fresh.Bytes, Block: fresh.Block(), From: data.Origin(want.Source)}); err != nil {
		d.Store.Abandon(fresh)
		if ctx.Err() != nil {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		return nil, failed(err)
	}
	if ctx.Err() != nil {
		d.Store.Abandon(fresh)
		d.discard(fresh.ID)
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if err := d.Store.Commit(fresh); err != nil {
		d.discard(fresh.ID)
		return nil, failed(err)
	}
	return &csipb.CreateVolumeResponse{Volume: d.volume(fresh)}, nil
}

// discard removes the data of a volume that did not come to be. If that fails the next start sweeps it up.
func (d *Driver) discard(id string) {
	if err := d.Data.Remove(id); err != nil {
		d.Log.Error("remove data of a volume that was not created", "volume", id, "error", err)
	}
}

// volume is a record as CSI describes it.
func (d *Driver) volume(v *state.Volume) *csipb.Volume {
	return &csipb.Volume{
		VolumeId:           v.ID,
		CapacityBytes:      v.Bytes,
		VolumeContext:      map[string]string{"pool": pool.KeyOf(v.Segments).String()},
		ContentSource:      contentSource(v.Source),
		AccessibleTopology: d.topology(v.Segments),
	}
}

// topology is where something is accessible from: nothing to tell unless the driver has the capability.
func (d *Driver) topology(segments map[string]string) []*csipb.Topology {
	if !d.has(config.AccessibilityConstraints) || len(segments) == 0 {
		return nil
	}
	return []*csipb.Topology{{Segments: segments}}
}

func contentSource(s state.Source) *csipb.VolumeContentSource {
	switch {
	case s.VolumeID != "":
		return &csipb.VolumeContentSource{Type: &csipb.VolumeContentSource_Volume{
			Volume: &csipb.VolumeContentSource_VolumeSource{VolumeId: s.VolumeID},
		}}
	case s.SnapshotID != "":
		return &csipb.VolumeContentSource{Type: &csipb.VolumeContentSource_Snapshot{
			Snapshot: &csipb.VolumeContentSource_SnapshotSource{SnapshotId: s.SnapshotID},
		}}
	default:
		return nil
	}
}
