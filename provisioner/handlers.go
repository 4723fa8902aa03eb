package provisioner

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// Names of indexes.
const (
	indexPendingByClass      = "berth-pending-claims-by-class"
	indexAttachmentsByVolume = "berth-attachments-by-volume"
)

// pendingByClass finds the claims of this driver that wait for a volume, by the name of their class.
func (c *Controller) pendingByClass(object any) ([]string, error) {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok || !c.pending(claim) {
		return nil, nil
	}
	return []string{volumehelpers.GetPersistentVolumeClaimClass(claim)}, nil
}

// pending reports whether a claim is ours and has no volume.
func (c *Controller) pending(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Spec.VolumeName == "" && assignedTo(claim, c.settings.Driver.Name)
}

func attachmentsByVolume(object any) ([]string, error) {
	attachment, ok := object.(*storagev1.VolumeAttachment)
	if !ok || attachment.Spec.Source.PersistentVolumeName == nil {
		return nil, nil
	}
	return []string{*attachment.Spec.Source.PersistentVolumeName}, nil
}

// claimEvents enqueue the claims that are ours and pending, and those with an open attempt whatever they have become.
func (c *Controller) claimEvents() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			if claim, ok := object.(*corev1.PersistentVolumeClaim); ok && c.pending(claim) {
				c.claimLoop.Enqueue(keyOf(claim))
			}
		},
		UpdateFunc: func(before, after any) {
			old, ok1 := before.(*corev1.PersistentVolumeClaim)
			claim, ok2 := after.(*corev1.PersistentVolumeClaim)
			if !ok1 || !ok2 {
				return
			}
			if old.UID != claim.UID { // deleted and made again between two looks
				c.claimGone(old)
			}
			switch {
			case !c.pending(claim):
				c.claimGone(claim)
			case c.attempts.get(claim.UID) == nil && decidesAnew(old, claim):
				c.claimLoop.Wake(keyOf(claim))
			default:
				c.claimLoop.Enqueue(keyOf(claim))
			}
		},
		DeleteFunc: func(object any) {
			if claim, ok := deleteOrUnknown[*corev1.PersistentVolumeClaim](object); ok {
				c.claimGone(claim)
			}
		},
	}
}

// claimGone brings back the open attempt of a claim that is deleted, bound, or not ours any more. Its backoff goes on: an
// unknown outcome does not become known by that.
func (c *Controller) claimGone(claim *corev1.PersistentVolumeClaim) {
	if c.attempts.get(claim.UID) != nil {
		c.claimLoop.Enqueue(keyOf(claim))
	}
}

// decidesAnew reports whether a claim changed in a way that may lift what it was refused for.
func decidesAnew(old, claim *corev1.PersistentVolumeClaim) bool {
	return selectedNode(old) != selectedNode(claim) ||
		assignedTo(old, claim.Annotations[volumehelpers.AnnStorageProvisioner]) != assignedTo(claim, claim.Annotations[volumehelpers.AnnStorageProvisioner]) ||
		volumehelpers.GetPersistentVolumeClaimClass(old) != volumehelpers.GetPersistentVolumeClaimClass(claim) ||
		(old.DeletionTimestamp == nil) != (claim.DeletionTimestamp == nil)
}

// classEvents wake the claims that may wait for a class.
func (c *Controller) classEvents() cache.ResourceEventHandler {
	wake := func(object any) {
		class, ok := object.(*storagev1.StorageClass)
		if !ok {
			return
		}
		claims, err := c.claims.GetIndexer().ByIndex(indexPendingByClass, class.Name)
		if err != nil {
			return // only without the index, which New added
		}
		for _, claim := range claims {
			if claim, ok := claim.(*corev1.PersistentVolumeClaim); ok && c.attempts.get(claim.UID) == nil {
				c.claimLoop.Wake(keyOf(claim))
			}
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    wake,
		UpdateFunc: func(_, after any) { wake(after) },
	}
}

// volumeEvents enqueue our volumes and forget what was remembered about those that are gone.
func (c *Controller) volumeEvents() cache.ResourceEventHandler {
	changed := func(object any) {
		pv, ok := object.(*corev1.PersistentVolume)
		if !ok {
			return
		}
		c.written.seen(pv.Name)
		if ownedBy(pv, c.settings.Driver.Name) {
			c.volumeLoop.Enqueue(volumeKey(pv.Name))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: changed,
		UpdateFunc: func(before, after any) {
			old, ok1 := before.(*corev1.PersistentVolume)
			pv, ok2 := after.(*corev1.PersistentVolume)
			if ok1 && ok2 && old.UID != pv.UID {
				c.deletion.forget(old.UID)
			}
			changed(after)
		},
		DeleteFunc: func(object any) {
			if pv, ok := deleteOrUnknown[*corev1.PersistentVolume](object); ok {
				c.written.seen(pv.Name)
				c.deletion.forget(pv.UID)
			}
		},
	}
}

// attachmentEvents wake the volume that an attachment held.
func (c *Controller) attachmentEvents() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		DeleteFunc: func(object any) {
			attachment, ok := deleteOrUnknown[*storagev1.VolumeAttachment](object)
			if ok && attachment.Spec.Source.PersistentVolumeName != nil {
				c.volumeLoop.Wake(volumeKey(*attachment.Spec.Source.PersistentVolumeName))
			}
		},
	}
}
