package provisioner

import (
	"context"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

// Room is told what becomes of the room in the driver's segments: whoever publishes it is ahead of the driver's own reports then. Its methods
// may be called by any number of goroutines.
type Room interface {
	// Reserve: a volume of so many bytes is about to be asked for, most likely in this segment. It may be said again.
	Reserve(claim types.UID, class string, segment topology.Segment, bytes int64)
	// Created: the volume that was asked for exists, accessible from these segments; none: from everywhere.
	Created(claim types.UID, accessible []topology.Segment)
	// Released: nothing is under way for the claim. It may be said again, also after Created.
	Released(claim types.UID)
	// Exhausted: the driver had no room in this segment. It returns when the scheduler can know, or after a short while.
	Exhausted(ctx context.Context, class string, segment topology.Segment, bytes int64)
	// Touched and Deleted: a volume, accessible from these segments, changed its size or is gone.
	Touched(accessible []topology.Segment)
	Deleted(accessible []topology.Segment)
	// Rooms are what is known of a class's segments. They are shared, and must not be changed.
	Rooms(class string) []topology.Room
}

// nobody is the Room that nobody wants to know about.
type nobody struct{}

func (nobody) Reserve(types.UID, string, topology.Segment, int64)         {}
func (nobody) Created(types.UID, []topology.Segment)                      {}
func (nobody) Released(types.UID)                                         {}
func (nobody) Exhausted(context.Context, string, topology.Segment, int64) {}
func (nobody) Touched([]topology.Segment)                                 {}
func (nobody) Deleted([]topology.Segment)                                 {}

func (nobody) Rooms(string) []topology.Room { return nil }

// reserve tells of a call that is about to be made.
func (c *Controller) reserve(key ClaimKey, attempt *Attempt) {
	segment, ok := c.likely(attempt)
	if ok {
		c.room.Reserve(key.UID, attempt.Class, segment, attempt.Request.GetCapacityRange().GetRequiredBytes())
	}
}

// likely is where an attempt's volume is likely to be: near the selected node, else where the driver is to try first. It is false if that is up to
// the driver.
func (c *Controller) likely(attempt *Attempt) (topology.Segment, bool) {
	if c.config.Topology == nil {
		return topology.Segment{}, true
	}
	if attempt.SelectedNode != "" {
		segment, err := c.config.Topology.NodeSegment(attempt.SelectedNode)
		return segment, err == nil
	}
	preferred := attempt.Request.GetAccessibilityRequirements().GetPreferred()
	if len(preferred) == 0 {
		return topology.Segment{}, false
	}
	return topology.NewSegment(preferred[0].GetSegments()), true
}

// created tells of a volume that exists.
func (c *Controller) created(key ClaimKey, volume *csipb.Volume) {
	c.room.Created(key.UID, csi.Segments(volume.GetAccessibleTopology()))
}

// accessible are the segments that a volume's object says it is accessible from, as CSI calls them.
func (c *Controller) accessible(ctx context.Context, pv *corev1.PersistentVolume) []topology.Segment {
	if c.config.Topology == nil {
		return nil
	}
	segments := topology.AffinitySegments(pv.Spec.NodeAffinity)
	if len(segments) == 0 {
		klog.FromContext(ctx).V(5).Info("Nobody is told of the room that a volume's deletion makes: it has no node affinity", "volume", pv.Name)
	}
	return segments
}
