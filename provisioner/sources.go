package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/worker"
)

// releasePause is how long a claim waits for a source whose protection is being taken off: about as long as a write takes.
const releasePause = 50 * time.Millisecond

// lookUp finds out about the claim's source and decides again, from what the caches say by then. From here on the source keeps its
// protection, if it has it.
func (c *Controller) lookUp(ctx context.Context, key ClaimKey, reference datasource.Reference) worker.Result {
	if !c.holds.take(key.UID, reference.Key()) {
		return worker.After(releasePause)
	}
	facts, err := c.sources.Gather(ctx, reference)
	if err != nil {
		return c.unreadSource(key, fmt.Errorf("look up the source of claim %s: %w", key, err))
	}
	in, err := c.gatherClaim(ctx, key)
	if err != nil {
		return worker.Backoff(err)
	}
	in.Source = &facts
	return c.act(ctx, key, in)
}

func (c *Controller) unreadSource(key ClaimKey, err error) worker.Result {
	claim, listErr := c.claimLister.PersistentVolumeClaims(key.Namespace).Get(key.Name)
	if listErr != nil {
		claim = nil
	}
	return c.unread(claim, err)
}

// letGo ends the claim's reliance on its source. Whether anybody else needs the source protected is for its own key to find out.
func (c *Controller) letGo(claim types.UID) {
	if source, held := c.holds.letGo(claim); held {
		c.want(source)
		c.sourceLoop.Enqueue(source)
	}
}

// protect puts our finalizer on a source. An error means that the source is not protected and the driver must not be asked.
func (c *Controller) protect(ctx context.Context, reference datasource.Reference, facts *datasource.Facts) error {
	if facts == nil {
		return nil // made from nothing
	}
	object, finalizer := protectedBy(reference.Kind, *facts)
	if object == nil || slices.Contains(object.GetFinalizers(), finalizer) {
		return nil
	}
	protecting, step := c.begin(ctx, stepProtect)
	err := c.setFinalizers(protecting, reference.Kind, *facts, append(slices.Clone(object.GetFinalizers()), finalizer))
	step.end(err)
	if apierrors.IsForbidden(err) && reference.Kind == datasource.Snapshot {
		// As the established provisioner, whose role may lack this. The snapshot can be deleted while it is being restored.
		klog.FromContext(ctx).Info("Not allowed to protect snapshots from deletion while they are restored; grant patch on volumesnapshots", "source", reference.Key(), "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("protect %s from being deleted meanwhile: %w", reference, err)
	}
	return nil
}

// workSource takes our finalizer off a source that nobody is made from any more.
func (c *Controller) workSource(ctx context.Context, key datasource.Key) worker.Result {
	if c.waitingFor(key) > 0 || !c.minds(key) || !c.holds.beginRelease(key) {
		return worker.Done() // whoever it is for brings it back
	}
	defer c.holds.endRelease(key)
	facts, err := c.sources.Gather(ctx, datasource.Reference{Kind: key.Kind, Namespace: key.Namespace, Name: key.Name})
	if err != nil {
		c.want(key)
		return worker.Backoff(fmt.Errorf("look up %s, which may be protected without need: %w", key, err))
	}
	release, why := MayRelease(ReleaseInput{Driver: c.settings.Driver.Name, Facts: facts, Kind: key.Kind, Waiting: c.waitingFor(key)})
	if !release {
		klog.FromContext(ctx).V(4).Info("Source left alone", "source", key, "why", why)
		return worker.Done()
	}
	object, finalizer := protectedBy(key.Kind, facts)
	left := slices.DeleteFunc(slices.Clone(object.GetFinalizers()), func(f string) bool { return f == finalizer })
	switch err := c.setFinalizers(ctx, key.Kind, facts, left); {
	case err == nil:
		klog.FromContext(ctx).V(2).Info("Source released", "source", key)
	case apierrors.IsNotFound(err):
	default:
		c.want(key)
		return worker.Backoff(fmt.Errorf("take the protection off %s: %w", key, err))
	}
	return worker.Done()
}

// waitingFor counts the claims that are to be made from a source and have no volume yet, in any namespace.
func (c *Controller) waitingFor(source datasource.Key) int {
	claims, err := c.claims.GetIndexer().ByIndex(indexPendingBySource, source.String())
	if err != nil {
		return 1 // only without the index, which New added; then nothing is released
	}
	waiting := 0
	for _, object := range claims {
		if claim, ok := object.(*corev1.PersistentVolumeClaim); ok && claim.DeletionTimestamp == nil {
			waiting++
		}
	}
	return waiting
}

// setFinalizers writes a source's finalizers if it did not change since it was read; a conflict means that it is to be read again. Custom
// resources know no patch that adds to a list, and an update would drop fields that we do not know. Old roles allow nothing but
// the update.
func (c *Controller) setFinalizers(ctx context.Context, kind datasource.Kind, facts datasource.Facts, finalizers []string) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	object, _ := protectedBy(kind, facts)
	if object == nil {
		return errors.New("it does not exist")
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": object.GetUID(), "resourceVersion": object.GetResourceVersion(), "finalizers": finalizers,
	}})
	if err != nil {
		return err
	}
	if kind == datasource.Snapshot {
		snapshots := c.config.Snapshots.SnapshotV1().VolumeSnapshots(object.GetNamespace())
		_, err = snapshots.Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
		if apierrors.IsForbidden(err) {
			changed := facts.Snapshot.DeepCopy()
			changed.Finalizers = finalizers
			_, err = snapshots.Update(ctx, changed, metav1.UpdateOptions{})
		}
		return err
	}
	claims := c.client.CoreV1().PersistentVolumeClaims(object.GetNamespace())
	_, err = claims.Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsForbidden(err) {
		changed := facts.SourceClaim.DeepCopy()
		changed.Finalizers = finalizers
		_, err = claims.Update(ctx, changed, metav1.UpdateOptions{})
	}
	return err
}

// sweep has every protected source looked at again, once in a while: what a process that was killed left behind is found without it at
// the next start, and what an API server refused for long is found here.
func (c *Controller) sweep(ctx context.Context) {
	if c.config.SweepInterval <= 0 {
		return
	}
	ticker := time.NewTicker(c.config.SweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if c.snapshots != nil {
			for _, snapshot := range c.snapshots.Protected() {
				c.sweepSource(datasource.Key{Kind: datasource.Snapshot, Namespace: snapshot.Namespace, Name: snapshot.Name})
			}
		}
		claims, err := c.claims.GetIndexer().ByIndex(indexProtected, protectedValue)
		if err != nil {
			continue // only without the index, which New added
		}
		for _, object := range claims {
			if claim, ok := object.(*corev1.PersistentVolumeClaim); ok {
				c.sweepSource(datasource.Key{Kind: datasource.Clone, Namespace: claim.Namespace, Name: claim.Name})
			}
		}
	}
}
