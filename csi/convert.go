package csi

import (
	csipb "github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/berth-csi/berth/topology"
)

// TopologyRequirement is the requirement of a CreateVolume call; nil leaves the choice to the driver.
func TopologyRequirement(need *topology.Requirement) *csipb.TopologyRequirement {
	if need == nil {
		return nil
	}
	// Each segment is in both lists: its message is made once.
	made := make(map[topology.Segment]*csipb.Topology, len(need.Requisite))
	return &csipb.TopologyRequirement{Requisite: topologies(need.Requisite, made), Preferred: topologies(need.Preferred, made)}
}

func topologies(segments []topology.Segment, made map[topology.Segment]*csipb.Topology) []*csipb.Topology {
	all := make([]*csipb.Topology, len(segments))
	for i, segment := range segments {
		t := made[segment]
		if t == nil {
			t = &csipb.Topology{Segments: segment.Map()}
			made[segment] = t
		}
		all[i] = t
	}
	return all
}

// Segments are the segments that a volume is accessible from, in the driver's order.
func Segments(accessible []*csipb.Topology) []topology.Segment {
	segments := make([]topology.Segment, 0, len(accessible))
	for _, t := range accessible {
		segments = append(segments, topology.NewSegment(t.GetSegments()))
	}
	return segments
}

// ContentSource is what a volume is to be made from: the handle of a snapshot, or that of a volume. Without either it is nil: an
// empty volume.
func ContentSource(snapshotHandle, volumeHandle string) *csipb.VolumeContentSource {
	switch {
	case snapshotHandle != "":
		return &csipb.VolumeContentSource{Type: &csipb.VolumeContentSource_Snapshot{
			Snapshot: &csipb.VolumeContentSource_SnapshotSource{SnapshotId: snapshotHandle},
		}}
	case volumeHandle != "":
		return &csipb.VolumeContentSource{Type: &csipb.VolumeContentSource_Volume{
			Volume: &csipb.VolumeContentSource_VolumeSource{VolumeId: volumeHandle},
		}}
	}
	return nil
}

// WithSecrets is the request with the given secrets. The request itself, which is kept and repeated, never holds any.
func WithSecrets(request *csipb.CreateVolumeRequest, secrets map[string]string) *csipb.CreateVolumeRequest {
	if len(secrets) == 0 {
		return request
	}
	return &csipb.CreateVolumeRequest{
		Name:                      request.GetName(),
		CapacityRange:             request.GetCapacityRange(),
		VolumeCapabilities:        request.GetVolumeCapabilities(),
		Parameters:                request.GetParameters(),
		Secrets:                   secrets,
		VolumeContentSource:       request.GetVolumeContentSource(),
		AccessibilityRequirements: request.GetAccessibilityRequirements(),
		MutableParameters:         request.GetMutableParameters(),
	}
}
