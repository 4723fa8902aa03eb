package provisioner

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/topology"
)

// Capacities tell how much room the driver has. A call bounds its own time.
type Capacities interface {
	GetCapacity(ctx context.Context, parameters map[string]string, segment topology.Segment) (csi.Capacity, error)
}

// takenPause is how long a claim that was just taken, or lost to somebody faster, is given to come back by its event before it is looked at again.
const takenPause = 5 * time.Second

// What became of this node's turn to take a claim: values of the label "result".
const (
	turnTaken   = "taken"
	turnLost    = "lost"    // somebody else was faster
	turnNoRoom  = "no_room" // here
	turnUnknown = "unknown" // the driver did not say how much room there is
)

// gatherTurn finds out what decides about a claim that no node has taken. It reads caches and memory only: every node does it for every such claim.
func (c *Controller) gatherTurn(in Input) Turn {
	claim := in.Claim
	if !untaken(c.settings, claim) || !c.settings.Node.Immediate || in.Class == nil || delayed(in.Class) || notOurs(in) != "" {
		return Turn{}
	}
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	return Turn{
		Left:            c.turns.left(claim.UID),
		Full:            c.full.wait(in.Class.Name, c.settings.Node.Segment, size.Value()),
		SourceElsewhere: c.madeElsewhere(claim),
	}
}

// madeElsewhere reports whether what a claim is to be made from is known to be on another node. Whether a source is any good is looked at by who takes
// the claim.
func (c *Controller) madeElsewhere(claim *corev1.PersistentVolumeClaim) bool {
	reference, _ := datasource.Resolve(claim)
	return (reference.Kind == datasource.Clone || reference.Kind == datasource.Snapshot) && c.sourceIs(reference.Key(), elsewhere)
}

// askRoom asks the driver and decides again, from what the caches say by then.
func (c *Controller) askRoom(ctx context.Context, key ClaimKey, in Input) worker.Result {
	size := in.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	others := c.turns.promise(key.UID, in.Class.Name, size.Value())
	room, err := c.roomHere(ctx, in)
	if err != nil {
		c.metrics.turns.WithLabelValues(turnUnknown).Inc()
		again := c.turns.next(key.UID)
		klog.FromContext(ctx).Info("Claim not taken: the driver does not say how much room there is", "claim", key, "again", again, "err", err)
		return worker.After(again)
	}
	room.Available = max(0, room.Available-others)
	if in, err = c.gatherClaim(ctx, key); err != nil {
		c.turns.release(key.UID)
		return worker.Backoff(err)
	}
	in.Turn.Room = &room
	return c.act(ctx, key, in)
}

// roomHere asks the driver, unless it was asked for the same a moment ago.
func (c *Controller) roomHere(ctx context.Context, in Input) (csi.Capacity, error) {
	if room, ok := c.turns.known(in.Class.Name); ok {
		return room, nil
	}
	worker.Pause(ctx) // for its turn
	defer worker.Resume(ctx)
	asked := c.turns.now()
	room, err := c.config.Capacities.GetCapacity(csi.WhenSent(ctx, func() { worker.Resume(ctx) }), DriverParameters(in.Class.Parameters), c.settings.Node.Segment)
	if err == nil {
		c.turns.note(in.Class.Name, room, asked)
	}
	return room, err
}

// passOn waits for another round.
func (c *Controller) passOn(ctx context.Context, key ClaimKey, why string) worker.Result {
	c.metrics.turns.WithLabelValues(turnNoRoom).Inc()
	again := c.turns.next(key.UID)
	klog.FromContext(ctx).V(2).Info("Claim not taken: there is no room for it here", "claim", key, "why", why, "again", again.Round(time.Millisecond))
	return worker.After(again)
}

// take selects this node for a claim. From then on it is as if the scheduler had.
func (c *Controller) take(ctx context.Context, key ClaimKey, claim *corev1.PersistentVolumeClaim) worker.Result {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	err := c.selectNode(call, claim)
	switch {
	case err == nil:
		c.metrics.turns.WithLabelValues(turnTaken).Inc()
		klog.FromContext(ctx).Info("Claim taken", "claim", key, "node", c.settings.Node.Name)
		return worker.After(takenPause)
	case apierrors.IsConflict(err), apierrors.IsInvalid(err), apierrors.IsNotFound(err):
		c.metrics.turns.WithLabelValues(turnLost).Inc()
		c.turns.release(key.UID)
		klog.FromContext(ctx).V(2).Info("Claim not taken: it has changed", "claim", key)
		return worker.After(takenPause)
	}
	c.turns.release(key.UID)
	return worker.Backoff(fmt.Errorf("take claim %s for node %q: %w", key, c.settings.Node.Name, err))
}

// selectNode writes the annotation if the claim is as it was seen.
func (c *Controller) selectNode(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	claims := c.client.CoreV1().PersistentVolumeClaims(claim.Namespace)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": claim.UID, "resourceVersion": claim.ResourceVersion,
		"annotations": map[string]string{volumehelpers.AnnSelectedNode: c.settings.Node.Name},
	}})
	if err != nil {
		return err
	}
	_, err = claims.Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if !apierrors.IsForbidden(err) {
		return err
	}
	// The established provisioner's role has update and not patch.
	live, err := claims.Get(ctx, claim.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if live.UID != claim.UID || live.ResourceVersion != claim.ResourceVersion {
		return apierrors.NewConflict(corev1.Resource("persistentvolumeclaims"), claim.Name, fmt.Errorf("it has changed"))
	}
	metav1.SetMetaDataAnnotation(&live.ObjectMeta, volumehelpers.AnnSelectedNode, c.settings.Node.Name)
	_, err = claims.Update(ctx, live, metav1.UpdateOptions{})
	return err
}

// gatherUnattended is Input.Unattended.
func (c *Controller) gatherUnattended(in Input) time.Duration {
	if !notThisNode(c.settings, in.Claim) || in.Stored != nil || notForDriver(in) != "" {
		return 0
	}
	return c.strays.left(in.Claim.UID, selectedNode(in.Claim))
}

// noteTurn forgets the turn of a claim that has a volume, is gone, or is another node's; and of one that is for another node, how long it has waited.
func (c *Controller) noteTurn(key ClaimKey, in Input) {
	if c.settings.Node.IsZero() || in.Attempt != nil {
		return
	}
	if in.Claim == nil || in.Stored != nil || !c.pending(in.Claim) || selectedNode(in.Claim) != "" && selectedNode(in.Claim) != c.settings.Node.Name {
		c.turns.forget(key.UID)
	}
	if in.Claim == nil || in.Stored != nil || !c.pending(in.Claim) || !notThisNode(c.settings, in.Claim) {
		c.strays.forget(key.UID)
	}
}
