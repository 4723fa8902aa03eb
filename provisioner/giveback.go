package provisioner

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/internal/worker"
)

// giveBackGone gives a claim back whose node is gone, once the API server itself has said so: the scheduler selects nodes that are
// seconds old, and the claim's watch may be ahead of the nodes'.
func (c *Controller) giveBackGone(ctx context.Context, in Input, message string) worker.Result {
	node := selectedNode(in.Claim)
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	live, err := absent(c.client.CoreV1().Nodes().Get(call, node, metav1.GetOptions{}))
	if err == nil && live != nil {
		var csiNode *storagev1.CSINode
		if csiNode, err = absent(c.client.StorageV1().CSINodes().Get(call, node, metav1.GetOptions{})); err == nil && csiNode != nil {
			return worker.Backoff(fmt.Errorf("node %q is not in the cache yet", node))
		}
	}
	if err != nil {
		return worker.Backoff(fmt.Errorf("find out whether node %q is gone: %w", node, err))
	}
	return c.giveBack(ctx, claimReference(in.Claim), node, in.Class.Name, message)
}

// giveBack removes the selected node from a claim if it still is the one that did not do; then the scheduler chooses again. A claim
// that changed meanwhile is left as it is: its change brings it back.
func (c *Controller) giveBack(ctx context.Context, claim *corev1.ObjectReference, node, class, message string) worker.Result {
	c.event(claim, corev1.EventTypeWarning, ReasonProvisioningFailed, message)
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	err := c.patchSelectedNode(call, claim, node)
	if apierrors.IsForbidden(err) {
		// The established provisioner's role has update and not patch.
		err = c.updateSelectedNode(call, claim, node)
	}
	switch {
	case err == nil:
		c.metrics.rescheduled.WithLabelValues(class).Inc()
		return worker.Done()
	case apierrors.IsNotFound(err), apierrors.IsInvalid(err), apierrors.IsConflict(err):
		return worker.Done()
	}
	return worker.Backoff(fmt.Errorf("give claim %s/%s back to the scheduler: %w", claim.Namespace, claim.Name, err))
}

// patchSelectedNode tests before it removes; a test that fails is an Invalid error.
func (c *Controller) patchSelectedNode(ctx context.Context, claim *corev1.ObjectReference, node string) error {
	path := "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(volumehelpers.AnnSelectedNode) // RFC 6901
	patch, err := json.Marshal([]map[string]string{
		{"op": "test", "path": "/metadata/uid", "value": string(claim.UID)},
		{"op": "test", "path": path, "value": node},
		{"op": "remove", "path": path},
	})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.JSONPatchType, patch, metav1.PatchOptions{})
	return err
}

// updateSelectedNode does the same with a read and a write that conflicts if anything changed between them.
func (c *Controller) updateSelectedNode(ctx context.Context, claim *corev1.ObjectReference, node string) error {
	claims := c.client.CoreV1().PersistentVolumeClaims(claim.Namespace)
	live, err := claims.Get(ctx, claim.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if live.UID != claim.UID || selectedNode(live) != node {
		return nil
	}
	delete(live.Annotations, volumehelpers.AnnSelectedNode)
	_, err = claims.Update(ctx, live, metav1.UpdateOptions{})
	return err
}
