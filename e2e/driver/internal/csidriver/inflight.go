package csidriver

import (
	"sync"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
)

// claim is what a call holds while it is in flight: one volume or snapshot for itself, and its source together with
// others (many clones of one source may run at once, while the source itself must not change). Empty is nothing.
type claim struct{ own, shared string }

// inflight knows which volumes and snapshots have a call in flight.
type inflight struct {
	mu     sync.Mutex
	owned  map[string]bool
	shared map[string]int
}

func newInflight() *inflight { return &inflight{owned: map[string]bool{}, shared: map[string]int{}} }

// acquire takes a claim, or says that an operation is pending. What was taken has to be given to release.
func (f *inflight) acquire(c claim) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owned[c.own] || f.shared[c.own] > 0 || f.owned[c.shared] {
		return false
	}
	if c.own != "" {
		f.owned[c.own] = true
	}
	if c.shared != "" {
		f.shared[c.shared]++
	}
	return true
}

func (f *inflight) release(c claim) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.owned, c.own)
	if c.shared != "" {
		if f.shared[c.shared]--; f.shared[c.shared] == 0 {
			delete(f.shared, c.shared)
		}
	}
}

// claimOf is what a request claims. A volume is claimed by its name wherever it has one, so that a creation and a
// deletion of the same volume see each other although one names it and the other has its id.
func (d *Driver) claimOf(req any) claim {
	switch r := req.(type) {
	case *csipb.CreateVolumeRequest:
		c := claim{own: volumeNameKey(r.GetName())}
		if id := r.GetVolumeContentSource().GetVolume().GetVolumeId(); id != "" {
			c.shared = d.volumeKey(id)
		}
		if id := r.GetVolumeContentSource().GetSnapshot().GetSnapshotId(); id != "" {
			c.shared = d.snapshotKey(id)
		}
		return c
	case *csipb.CreateSnapshotRequest:
		return claim{own: snapshotNameKey(r.GetName()), shared: d.volumeKey(r.GetSourceVolumeId())}
	case *csipb.DeleteSnapshotRequest:
		return claim{own: d.snapshotKey(r.GetSnapshotId())}
	case *csipb.DeleteVolumeRequest, *csipb.ControllerExpandVolumeRequest, *csipb.ControllerModifyVolumeRequest,
		*csipb.ControllerPublishVolumeRequest, *csipb.ControllerUnpublishVolumeRequest,
		*csipb.NodeStageVolumeRequest, *csipb.NodeUnstageVolumeRequest, *csipb.NodeExpandVolumeRequest,
		*csipb.NodePublishVolumeRequest, *csipb.NodeUnpublishVolumeRequest:
		return claim{own: d.volumeKey(r.(interface{ GetVolumeId() string }).GetVolumeId())}
	default:
		return claim{}
	}
}

func (d *Driver) volumeKey(id string) string {
	if d.Store != nil {
		if v := d.Store.Volume(id); v != nil {
			return volumeNameKey(v.Name)
		}
	}
	return key("volume id ", id)
}

func (d *Driver) snapshotKey(id string) string {
	if s := d.Store.Snapshot(id); s != nil {
		return snapshotNameKey(s.Name)
	}
	return key("snapshot id ", id)
}

func volumeNameKey(name string) string   { return key("volume name ", name) }
func snapshotNameKey(name string) string { return key("snapshot name ", name) }

// key keeps an empty name or id, which will be rejected anyway, from being claimed.
func key(kind, value string) string {
	if value == "" {
		return ""
	}
	return kind + value
}
