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
	return &csipb.TopologyRequirement{Requisite: topologies(need.Requisite), Preferred: topologies(need.Preferred)}
}

func topologies(segments []topology.Segment) []*csipb.Topology {
	all := make([]*csipb.Topology, len(segments))
	for i, segment := range segments {
		all[i] = &csipb.Topology{Segments: segment.Map()}
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
