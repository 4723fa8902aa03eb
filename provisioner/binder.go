package provisioner

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

// bindWorkers is how many claims are bound at once. They are few, so that the API server has time for the volumes that are yet to be made: drivers
// should be asked as soon as possible, because they take longest. It is enough for hundreds of claims a second.
const bindWorkers = 16

// conflictPause is how soon to look again at what has changed under a write.
const conflictPause = 20 * time.Millisecond

// binding is a claim whose volume was stored in this term and that is not bound yet, as far as we know.
type binding struct {
	volume *corev1.PersistentVolume // as it was answered to the write; nil: it was stored by somebody else
	stored time.Time                // or bound, if it is done
	begun  bool                     // the claim names the volume because we wrote that
	done   bool                     // nothing is left to do; caches may not show it yet
	stale  bool                     // a write met something newer, or had no answer: caches do not do
	waited string                   // why the binder was waited for last
}

// bindings are by claim.
type bindings struct {
	mu    sync.Mutex
	byUID map[types.UID]binding
}

func (b *bindings) get(claim types.UID) (binding, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	entry, ok := b.byUID[claim]
	return entry, ok
}

func (b *bindings) put(claim types.UID, entry binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byUID[claim] = entry
}

// change changes an entry, and makes one for a claim that has none.
func (b *bindings) change(claim types.UID, change func(*binding)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	entry := b.byUID[claim]
	change(&entry)
	b.byUID[claim] = entry
}

// seen forgets a claim whose binding is done: the cache shows it.
func (b *bindings) seen(claim types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byUID[claim].done {
		delete(b.byUID, claim)
	}
}

// drop forgets a claim. It reports whether there was anything to forget.
func (b *bindings) drop(claim types.UID) (binding, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	entry, ok := b.byUID[claim]
	delete(b.byUID, claim)
	return entry, ok
}

// bindSoon has the claim bound whose volume was stored just now.
func (c *Controller) bindSoon(key ClaimKey, pv *corev1.PersistentVolume) {
	if c.express.on() {
		c.bindings.put(key.UID, binding{volume: pv, stored: time.Now()})
		c.bindLoop.Enqueue(key)
	} else if c.express.enabled {
		c.metrics.leftToBinder.WithLabelValues(c.express.off()).Inc()
	}
}

// workBinding binds one claim, or as much of it as can be done now. A step's answer is what the next one is decided on.
func (c *Controller) workBinding(ctx context.Context, key ClaimKey) worker.Result {
	if off := c.express.off(); off != "" {
		c.leaveBinding(ctx, key, LeaveBinding{off, "nothing is bound here for now"})
		return worker.Done()
	}
	if entry, _ := c.bindings.get(key.UID); entry.done {
		if left := cacheLag - time.Since(entry.stored); left > 0 {
			return worker.After(left)
		}
		c.bindings.drop(key.UID)
	}
	in, err := c.gatherBinding(ctx, key)
	for err == nil {
		switch action := DecideBind(in).(type) {
		case Finished:
			c.finished(key)
			return worker.Done()
		case LeaveBinding:
			if action.Reason == LeftLost {
				c.lost(ctx, key)
			}
			c.leaveBinding(ctx, key, action)
			return worker.Done()
		case AwaitBinder:
			c.bindings.change(key.UID, func(b *binding) { b.waited = action.Reason })
			return worker.After(action.For)
		case ReadBinding:
			err = c.readBinding(ctx, key, &in)
		case BindVolume:
			err = c.bindVolume(ctx, &in)
		case BindClaim:
			if err = c.bindClaim(ctx, &in); err == nil {
				c.bindings.change(key.UID, func(b *binding) { b.begun = true })
			}
		case CompleteClaim:
			if err = c.completeClaim(ctx, &in); err == nil {
				c.boundByUs(ctx, key, in)
				return worker.After(cacheLag)
			}
		}
	}
	return c.unbound(ctx, key, err)
}

// unbound looks again after a write that failed, or of which nobody knows. What it was decided on is not believed any more.
func (c *Controller) unbound(ctx context.Context, key ClaimKey, err error) worker.Result {
	switch {
	case apierrors.IsForbidden(err):
		c.allowedToBind(ctx, err.Error())
		c.leaveBinding(ctx, key, LeaveBinding{LeftForbidden, err.Error()})
		return worker.Done()
	case apierrors.IsConflict(err), apierrors.IsInvalid(err), apierrors.IsNotFound(err):
		c.bindings.change(key.UID, func(b *binding) { b.stale = true })
		return worker.After(conflictPause)
	}
	c.bindings.change(key.UID, func(b *binding) { b.stale = true })
	return worker.Backoff(fmt.Errorf("bind claim %s: %w", key, err))
}

// gatherBinding reads caches, or the API server where they are known to be behind.
func (c *Controller) gatherBinding(ctx context.Context, key ClaimKey) (BindInput, error) {
	in := BindInput{Settings: c.settings, HeadStart: headStart(int(c.volumeCount.Load())), Behind: c.backlog.behind()}
	entry, known := c.bindings.get(key.UID)
	if entry.stale {
		if err := c.readBinding(ctx, key, &in); err != nil {
			return in, err
		}
		c.bindings.change(key.UID, func(b *binding) { b.stale = false })
	} else if err := c.cachedBinding(key, entry, &in); err != nil {
		return in, err
	}
	switch {
	case in.Volume == nil:
	case known && !entry.stored.IsZero():
		in.Age = time.Since(entry.stored)
	default: // API servers count in whole seconds
		in.Age = time.Since(in.Volume.CreationTimestamp.Time) - time.Second
	}
	if in.Claim == nil || in.Volume == nil || in.Claim.Spec.VolumeName != "" {
		return in, nil
	}
	return in, c.gatherReach(&in)
}

func (c *Controller) cachedBinding(key ClaimKey, entry binding, in *BindInput) error {
	claim, err := absent(c.claimLister.PersistentVolumeClaims(key.Namespace).Get(key.Name))
	if err != nil {
		return fmt.Errorf("read claim %s: %w", key, err)
	}
	if claim != nil && claim.UID == key.UID {
		in.Claim = claim
	}
	name := c.volumeNameOf(key, entry, in.Claim)
	if in.Volume, err = absent(c.volumeLister.Get(name)); err != nil {
		return fmt.Errorf("read volume %s: %w", name, err)
	}
	if stored := entry.volume; stored != nil && (in.Volume == nil || in.Volume.ResourceVersion == stored.ResourceVersion) {
		in.Volume, in.VolumeWhole = stored, true
	}
	return nil
}

// volumeNameOf is the name of the volume that a claim has, was given, or would be given.
func (c *Controller) volumeNameOf(key ClaimKey, entry binding, claim *corev1.PersistentVolumeClaim) string {
	switch {
	case entry.volume != nil:
		return entry.volume.Name
	case claim != nil && claim.Spec.VolumeName != "":
		return claim.Spec.VolumeName
	}
	return c.settings.VolumeName(key.UID)
}

// readBinding reads claim and volume from the API server itself.
func (c *Controller) readBinding(ctx context.Context, key ClaimKey, in *BindInput) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	claim, err := absent(c.client.CoreV1().PersistentVolumeClaims(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{}))
	if err != nil {
		return fmt.Errorf("read claim %s: %w", key, err)
	}
	in.Claim, in.ClaimWhole = nil, true
	if claim != nil && claim.UID == key.UID {
		in.Claim = claim
	}
	entry, _ := c.bindings.get(key.UID)
	name := c.volumeNameOf(key, entry, in.Claim)
	pv, err := absent(c.client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{}))
	if err != nil {
		return fmt.Errorf("read volume %s: %w", name, err)
	}
	in.Volume, in.VolumeWhole = pv, true
	return nil
}

// gatherReach finds out whether the claim still is to be where its volume is.
func (c *Controller) gatherReach(in *BindInput) error {
	name := volumehelpers.GetPersistentVolumeClaimClass(in.Claim)
	class, err := absent(c.classLister.Get(name))
	if err != nil {
		return fmt.Errorf("read storage class %q: %w", name, err)
	}
	in.Delayed = class != nil && delayed(class)
	node := selectedNode(in.Claim)
	if node == "" || c.config.Topology == nil || in.Volume.Spec.CSI == nil || in.Volume.Spec.NodeAffinity == nil {
		return nil
	}
	segment, err := c.config.Topology.NodeSegment(node)
	if err == nil {
		err = volumehelpers.CheckNodeAffinity(in.Volume, segment.Map())
	}
	if err != nil {
		in.Unreachable = fmt.Errorf("node %q is selected now: %w", node, err)
	}
	return nil
}

func (c *Controller) bindVolume(ctx context.Context, in *BindInput) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	patch, err := json.Marshal(volumePatch(in.Volume))
	if err != nil {
		return err
	}
	pv, err := c.client.CoreV1().PersistentVolumes().Patch(ctx, in.Volume.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("give PersistentVolume %s the phase Bound: %w", in.Volume.Name, err)
	}
	in.Volume, in.VolumeWhole = pv, true
	return nil
}

func (c *Controller) bindClaim(ctx context.Context, in *BindInput) error {
	return c.patchClaim(ctx, in, claimPatch(in.Claim, in.Volume), "name its volume in the claim")
}

func (c *Controller) completeClaim(ctx context.Context, in *BindInput) error {
	return c.patchClaim(ctx, in, statusPatch(in.Claim, in.Volume), "give the claim its status", "status")
}

func (c *Controller) patchClaim(ctx context.Context, in *BindInput, patch any, what string, subresources ...string) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	encoded, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	claim, err := c.client.CoreV1().PersistentVolumeClaims(in.Claim.Namespace).Patch(ctx, in.Claim.Name, types.MergePatchType, encoded, metav1.PatchOptions{}, subresources...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	in.Claim, in.ClaimWhole = claim, true
	return nil
}

// boundByUs closes a binding of which we wrote the end.
func (c *Controller) boundByUs(ctx context.Context, key ClaimKey, in BindInput) {
	c.bindings.put(key.UID, binding{done: true, stored: time.Now()})
	class := volumehelpers.GetPersistentVolumeClaimClass(in.Claim)
	took := time.Since(in.Claim.CreationTimestamp.Time)
	c.metrics.bound.WithLabelValues(class).Inc()
	c.metrics.boundDuration.WithLabelValues(class).Observe(took.Seconds())
	klog.FromContext(ctx).V(2).Info("Claim bound", "claim", key, "volume", in.Volume.Name, "after", took.Round(time.Millisecond))
}

// finished closes a binding that turns out to be complete: somebody else wrote the end of it.
func (c *Controller) finished(key ClaimKey) {
	entry, ok := c.bindings.drop(key.UID)
	switch {
	case !ok || entry.volume == nil:
	case entry.begun:
		c.metrics.bound.WithLabelValues(entry.volume.Spec.StorageClassName).Inc()
	case entry.waited != "":
		c.metrics.leftToBinder.WithLabelValues(entry.waited).Inc()
	default:
		c.metrics.leftToBinder.WithLabelValues(LeftBinderFaster).Inc()
	}
}

// leaveBinding closes a binding that is the binder's from here on.
func (c *Controller) leaveBinding(ctx context.Context, key ClaimKey, action LeaveBinding) {
	entry, ok := c.bindings.drop(key.UID)
	if ok && entry.volume != nil {
		c.metrics.leftToBinder.WithLabelValues(action.Reason).Inc()
	}
	klog.FromContext(ctx).V(4).Info("Claim left to the binder", "claim", key, "reason", action.Reason, "why", action.Why)
}

// lost takes note of a binder that had not heard of a volume whose claim we bound.
func (c *Controller) lost(ctx context.Context, key ClaimKey) {
	if c.express.pause() {
		klog.FromContext(ctx).Info("The controller-manager has called a claim Lost whose volume is there, because it is behind with its work; it will see, and until then nothing more is bound here",
			"claim", key, "pause", lostPause)
	}
}

// reviewBinding brings back the claim of a volume that is not bound through and through: a write of ours, or of the binder's, may be missing.
func (c *Controller) reviewBinding(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) {
	ref := pv.Spec.ClaimRef
	if !c.express.on() || ref == nil || claim == nil || claim.UID != ref.UID || pv.DeletionTimestamp != nil ||
		pv.Annotations[AnnotationProvisionedBy] == "" || !ownedBy(c.settings, pv) || c.settings.whereIs(pv) != here {
		return
	}
	if entry, _ := c.bindings.get(claim.UID); entry.done {
		return
	}
	if claim.Spec.VolumeName == "" || claim.Spec.VolumeName == pv.Name && (claim.Status.Phase != corev1.ClaimBound || pv.Status.Phase != corev1.VolumeBound) {
		c.bindLoop.Enqueue(keyOf(claim))
	}
}

// reviewBindings looks at every volume once: nothing was bound here for a while.
func (c *Controller) reviewBindings() {
	for _, object := range c.volumes.GetStore().List() {
		pv, ok := object.(*corev1.PersistentVolume)
		if !ok || pv.Spec.ClaimRef == nil {
			continue
		}
		if claim, err := c.claimLister.PersistentVolumeClaims(pv.Spec.ClaimRef.Namespace).Get(pv.Spec.ClaimRef.Name); err == nil {
			c.reviewBinding(pv, claim)
		}
	}
}

// noteVolume keeps the backlog up with a volume, and has its claim bound if that is missing.
func (c *Controller) noteVolume(pv *corev1.PersistentVolume) {
	if !c.express.enabled {
		return
	}
	var claim *corev1.PersistentVolumeClaim
	if ref := pv.Spec.ClaimRef; ref != nil {
		claim, _ = c.claimLister.PersistentVolumeClaims(ref.Namespace).Get(ref.Name) // an error is: not found
	}
	c.backlog.note(pv.Name, owesPhase(pv, claim))
	c.reviewBinding(pv, claim)
}

// noteClaim does the same for the volume of a claim that came, changed or went.
func (c *Controller) noteClaim(claim *corev1.PersistentVolumeClaim) {
	if !c.express.enabled {
		return
	}
	if claim.Spec.VolumeName != "" && claim.Status.Phase == corev1.ClaimBound {
		c.bindings.seen(claim.UID)
	}
	name := claim.Spec.VolumeName
	if name == "" {
		name = c.settings.VolumeName(claim.UID)
	}
	if pv, err := c.volumeLister.Get(name); err == nil {
		c.noteVolume(pv)
	}
}
