package provisioner

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
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
	driver := c.settings.Driver.Name
	return claim.Spec.VolumeName == "" && (assignedTo(claim, driver) || migrated(claim, driver))
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
				c.reviewAttempt(old)
			}
			switch {
			case !c.pending(claim):
				c.reviewAttempt(claim)
			case decidesAnew(old, claim):
				c.claimLoop.Wake(keyOf(claim))
			default:
				c.claimLoop.Enqueue(keyOf(claim))
			}
		},
		DeleteFunc: func(object any) {
			if claim, ok := deleted[*corev1.PersistentVolumeClaim](object); ok {
				c.reviewAttempt(claim)
			}
		},
	}
}

// reviewAttempt brings back the open attempt of a claim that is deleted, bound, or not ours any more. Its backoff goes on: an
// unknown outcome does not become known by that.
func (c *Controller) reviewAttempt(claim *corev1.PersistentVolumeClaim) {
	if c.attempts.get(claim.UID) != nil {
		c.claimLoop.Enqueue(keyOf(claim))
	}
}

// decidesAnew reports whether a claim changed in a way that may lift what it was refused for.
func decidesAnew(old, claim *corev1.PersistentVolumeClaim) bool {
	return selectedNode(old) != selectedNode(claim) ||
		volumehelpers.GetPersistentVolumeClaimClass(old) != volumehelpers.GetPersistentVolumeClaimClass(claim) ||
		(old.DeletionTimestamp == nil) != (claim.DeletionTimestamp == nil)
}

// classEvents wake the claims of a class that came or changed in what we read.
func (c *Controller) classEvents() cache.ResourceEventHandler {
	wake := func(object any) {
		if class, ok := object.(*storagev1.StorageClass); ok {
			c.wakePending(class.Name)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: wake,
		UpdateFunc: func(before, after any) {
			old, ok1 := before.(*storagev1.StorageClass)
			class, ok2 := after.(*storagev1.StorageClass)
			if ok1 && ok2 && !sameClass(old, class) {
				wake(class)
			}
		},
	}
}

// sameClass reports whether two versions of a class make the same volumes. Only the API server keeps most of it from changing, and a
// class can be deleted and made anew between two looks.
func sameClass(a, b *storagev1.StorageClass) bool {
	return a.UID == b.UID && a.Provisioner == b.Provisioner &&
		equality.Semantic.DeepEqual(a.Parameters, b.Parameters) &&
		equality.Semantic.DeepEqual(a.ReclaimPolicy, b.ReclaimPolicy) &&
		equality.Semantic.DeepEqual(a.VolumeBindingMode, b.VolumeBindingMode) &&
		equality.Semantic.DeepEqual(a.MountOptions, b.MountOptions) &&
		equality.Semantic.DeepEqual(a.AllowedTopologies, b.AllowedTopologies)
}

func (c *Controller) wakePending(class string) {
	claims, err := c.claims.GetIndexer().ByIndex(indexPendingByClass, class)
	if err != nil {
		return // only without the index, which New added
	}
	for _, claim := range claims {
		if claim, ok := claim.(*corev1.PersistentVolumeClaim); ok {
			c.claimLoop.Wake(keyOf(claim))
		}
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
		if driver := c.settings.Driver.Name; ownedBy(pv, driver) || migratedVolume(pv, driver) {
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
			if pv, ok := deleted[*corev1.PersistentVolume](object); ok {
				c.written.seen(pv.Name)
				c.deletion.forget(pv.UID)
				c.volumeVanished(pv)
			}
		},
	}
}

// volumeVanished wakes the claim that a volume was for: if it is not bound yet it needs another one.
func (c *Controller) volumeVanished(pv *corev1.PersistentVolume) {
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return
	}
	claim, err := c.claimLister.PersistentVolumeClaims(ref.Namespace).Get(ref.Name)
	if err == nil && claim.UID == ref.UID && c.pending(claim) {
		c.claimLoop.Wake(keyOf(claim))
	}
}

// attachmentEvents wake the volume that an attachment held.
func (c *Controller) attachmentEvents() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		DeleteFunc: func(object any) {
			attachment, ok := deleted[*storagev1.VolumeAttachment](object)
			if ok && attachment.Spec.Source.PersistentVolumeName != nil {
				c.volumeLoop.Wake(volumeKey(*attachment.Spec.Source.PersistentVolumeName))
			}
		},
	}
}
