package provisioner

import (
	"context"
	"fmt"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/topology"
)

// Room is told what becomes of the room in the driver's segments: whoever publishes it is ahead of the driver's own reports then. Its methods
// may be called by any number of goroutines.
type Room interface {
	// Expect: a node was selected for a volume of so many bytes, which will most likely be in this segment. It lasts until Reserve or Released.
	Expect(claim types.UID, class string, segment topology.Segment, bytes int64)
	// Fits: by all that is known a volume fits in this segment, beside those that the driver was asked for.
	Fits(class string, segment topology.Segment, bytes int64) bool
	// ReserveIfFits is Reserve if the volume fits, and reports whether it does. Of those who ask at once only as many hear so as do fit.
	ReserveIfFits(claim types.UID, class string, segment topology.Segment, bytes int64) bool
	// Reserve: a volume of so many bytes is about to be asked for, most likely in this segment. It may be said again.
	Reserve(claim types.UID, class string, segment topology.Segment, bytes int64)
	// Created: the volume that was asked for exists, accessible from these segments; none: from everywhere.
	Created(claim types.UID, accessible []topology.Segment)
	// Released: nothing is under way for the claim. It may be said again, also after Created.
	Released(claim types.UID)
	// Exhausted: the driver had no room in this segment. It returns when the scheduler can know, or after a short while.
	Exhausted(ctx context.Context, class string, segment topology.Segment, bytes int64)
	// Tell: the scheduler is to know what is known of this segment. It returns when it can, or after a short while.
	Tell(ctx context.Context, class string, segment topology.Segment)
	// Touched and Deleted: a volume, accessible from these segments, changed its size or is gone.
	Touched(accessible []topology.Segment)
	Deleted(accessible []topology.Segment)
	// Rooms are what is known of a class's segments. They are shared, and must not be changed.
	Rooms(class string) []topology.Room
}

// nobody is the Room that nobody wants to know about.
type nobody struct{}

func (nobody) Expect(types.UID, string, topology.Segment, int64)          {}
func (nobody) Tell(context.Context, string, topology.Segment)             {}
func (nobody) Reserve(types.UID, string, topology.Segment, int64)         {}
func (nobody) Created(types.UID, []topology.Segment)                      {}
func (nobody) Released(types.UID)                                         {}
func (nobody) Exhausted(context.Context, string, topology.Segment, int64) {}
func (nobody) Touched([]topology.Segment)                                 {}
func (nobody) Deleted([]topology.Segment)                                 {}

func (nobody) Rooms(string) []topology.Room                                  { return nil }
func (nobody) Fits(string, topology.Segment, int64) bool                     { return true }
func (nobody) ReserveIfFits(types.UID, string, topology.Segment, int64) bool { return true }

// expect tells of a claim for which the scheduler has selected a node. Whoever calls it has the claim worked afterwards, which ends it.
func (c *Controller) expect(claim *corev1.PersistentVolumeClaim) {
	node := selectedNode(claim)
	if node == "" || c.config.Room == nil {
		return
	}
	var segment topology.Segment
	if c.config.Topology != nil {
		var err error
		if segment, err = c.config.Topology.NodeSegment(node); err != nil {
			return // the claim will be told
		}
	}
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	c.room.Expect(claim.UID, volumehelpers.GetPersistentVolumeClaimClass(claim), segment, size.Value())
}

// reserve tells of a call that is about to be made. For a new attempt it reports false if there is no room, and the claim was not turned down
// there before: then the driver is not to be asked.
func (c *Controller) reserve(key ClaimKey, attempt *Attempt) bool {
	segment, ok := c.likely(attempt)
	if !ok {
		return true
	}
	bytes := attempt.Request.GetCapacityRange().GetRequiredBytes()
	if attempt.began.IsZero() && c.turned.may(key.UID, segment) && !c.room.ReserveIfFits(key.UID, attempt.Class, segment, bytes) {
		return false
	}
	c.room.Reserve(key.UID, attempt.Class, segment, bytes)
	return true
}

// turnDown has another place chosen for a claim: by the scheduler, which is told first that there is no room, or here with what is known now.
func (c *Controller) turnDown(ctx context.Context, key ClaimKey, attempt *Attempt) worker.Result {
	segment, _ := c.likely(attempt)
	c.turned.note(key.UID, segment)
	if attempt.SelectedNode == "" {
		return c.workClaim(ctx, key)
	}
	c.room.Tell(ctx, attempt.Class, segment)
	return c.giveBack(ctx, attempt.Claim, attempt.SelectedNode, attempt.Class, noRoomLeft(attempt.SelectedNode))
}

func noRoomLeft(node string) string {
	return fmt.Sprintf("what room the driver reported for node %q is taken by volumes that are being created; the scheduler is asked for another node", node)
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
