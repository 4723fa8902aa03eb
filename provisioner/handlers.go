package provisioner

import (
	"maps"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/cache"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/topology"
)

// claimEvents enqueue the claims that are ours and pending, and those with an open attempt whatever they have become. Whatever happens to a
// claim that others are made from, or that is made from something, is news for the source.
func (c *Controller) claimEvents() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			claim, ok := object.(*corev1.PersistentVolumeClaim)
			if !ok {
				return
			}
			if c.pending(claim) {
				c.expect(claim)
				c.claimLoop.Enqueue(keyOf(claim))
			}
			c.reviewClones(nil, claim)
			c.noteClaim(claim)
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
				c.left.forget(claim.UID)
				c.turned.forget(claim.UID)
				c.turns.forget(claim.UID)
				c.strays.forget(claim.UID)
				c.reviewAttempt(claim)
			case c.decidesAnew(old, claim):
				if selectedNode(old) != selectedNode(claim) {
					c.expect(claim)
				}
				c.claimLoop.Wake(keyOf(claim))
			default:
				c.claimLoop.Enqueue(keyOf(claim))
			}
			c.reviewSource(old)
			c.reviewClones(old, claim)
			c.noteClaim(claim)
		},
		DeleteFunc: func(object any) {
			if claim, ok := deleted[*corev1.PersistentVolumeClaim](object); ok {
				c.claimGone(claim)
				c.reviewSource(claim)
				c.noteClaim(claim)
			}
		},
	}
}

// claimGone forgets what was remembered about a claim, and brings back its open attempt.
func (c *Controller) claimGone(claim *corev1.PersistentVolumeClaim) {
	c.announced.forget(claim.UID)
	c.left.forget(claim.UID)
	c.turned.forget(claim.UID)
	c.turns.forget(claim.UID)
	c.strays.forget(claim.UID)
	c.attempts.settled(claim.UID)
	c.reviewAttempt(claim)
}

// reviewSource looks again at what a claim was to be made from, now that it changed: it may have been the last one.
func (c *Controller) reviewSource(old *corev1.PersistentVolumeClaim) {
	if old.Spec.DataSource == nil && old.Spec.DataSourceRef == nil {
		return
	}
	if reference, _ := datasource.Resolve(old); reference.Kind == datasource.Snapshot || reference.Kind == datasource.Clone {
		c.sourceLoop.Enqueue(reference.Key())
	}
}

// reviewClones looks at a claim as something that others are made from: they may wait for it, or its protection may be left over. old is
// nil for a claim that is new.
func (c *Controller) reviewClones(old, claim *corev1.PersistentVolumeClaim) {
	source := datasource.Key{Kind: datasource.Clone, Namespace: claim.Namespace, Name: claim.Name}
	if slices.Contains(claim.Finalizers, datasource.FinalizerClaim) {
		c.sourceLoop.Enqueue(source)
	}
	if old == nil || old.UID != claim.UID || old.Status.Phase != claim.Status.Phase || old.Spec.VolumeName != claim.Spec.VolumeName {
		c.wakeBy(indexPendingBySource, source.String())
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
func (c *Controller) decidesAnew(old, claim *corev1.PersistentVolumeClaim) bool {
	return selectedNode(old) != selectedNode(claim) ||
		volumehelpers.GetPersistentVolumeClaimClass(old) != volumehelpers.GetPersistentVolumeClaimClass(claim) ||
		(old.DeletionTimestamp == nil) != (claim.DeletionTimestamp == nil) ||
		!equality.Semantic.DeepEqual(old.Spec, claim.Spec) ||
		c.templatesDiffer(old, claim)
}

// templatesDiffer reports whether a claim's annotations changed that its class names secrets by.
func (c *Controller) templatesDiffer(old, claim *corev1.PersistentVolumeClaim) bool {
	if maps.Equal(old.Annotations, claim.Annotations) {
		return false
	}
	class, err := c.classLister.Get(volumehelpers.GetPersistentVolumeClaimClass(claim))
	if err != nil {
		return false // no class, no templates
	}
	return slices.ContainsFunc(templateAnnotations(class.Parameters), func(key string) bool {
		return old.Annotations[key] != claim.Annotations[key]
	})
}

// classEvents wake the claims of a class that came or changed in what we read.
func (c *Controller) classEvents() cache.ResourceEventHandler {
	wake := func(object any) {
		if class, ok := object.(*storagev1.StorageClass); ok {
			c.wakeBy(indexPendingByClass, class.Name)
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

// wakeBy wakes the claims that an index has under a value.
func (c *Controller) wakeBy(index, value string) {
	claims, err := c.claims.GetIndexer().ByIndex(index, value)
	if err != nil {
		return // only without the index, which New added
	}
	for _, claim := range claims {
		if claim, ok := claim.(*corev1.PersistentVolumeClaim); ok {
			c.claimLoop.Wake(keyOf(claim))
		}
	}
}

// attributesClassEvents wake the claims of a volume attributes class that came, or was made anew: nothing that we read of one can change.
func (c *Controller) attributesClassEvents() cache.ResourceEventHandler {
	wake := func(object any) {
		if class, ok := object.(*storagev1.VolumeAttributesClass); ok {
			c.wakeBy(indexPendingByAttributesClass, class.Name)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: wake,
		UpdateFunc: func(before, after any) {
			old, ok1 := before.(*storagev1.VolumeAttributesClass)
			class, ok2 := after.(*storagev1.VolumeAttributesClass)
			if ok1 && ok2 && old.UID != class.UID {
				wake(class)
			}
		},
	}
}

// snapshotEvents wake the claims that are to be made from a snapshot that came or changed in what decides about them, which its finalizers
// do not, and look at whether it needs its protection.
func (c *Controller) snapshotEvents() cache.ResourceEventHandler {
	changed := func(old, snapshot *snapshotv1.VolumeSnapshot) {
		source := datasource.Key{Kind: datasource.Snapshot, Namespace: snapshot.Namespace, Name: snapshot.Name}
		if slices.Contains(snapshot.Finalizers, datasource.FinalizerSnapshot) {
			c.sourceLoop.Enqueue(source)
		}
		if old == nil || old.UID != snapshot.UID || !sameSnapshot(old.Status, snapshot.Status) {
			c.wakeBy(indexPendingBySource, source.String())
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			if snapshot, ok := object.(*snapshotv1.VolumeSnapshot); ok {
				changed(nil, snapshot)
			}
		},
		UpdateFunc: func(before, after any) {
			old, ok1 := before.(*snapshotv1.VolumeSnapshot)
			snapshot, ok2 := after.(*snapshotv1.VolumeSnapshot)
			if ok1 && ok2 {
				changed(old, snapshot)
			}
		},
	}
}

// sameSnapshot reports whether a snapshot can be restored from as well as before. What its status says about errors does not matter: the time of
// the last one changes with each try.
func sameSnapshot(a, b *snapshotv1.VolumeSnapshotStatus) bool {
	if a == nil || b == nil {
		return a == b
	}
	return equality.Semantic.DeepEqual(a.BoundVolumeSnapshotContentName, b.BoundVolumeSnapshotContentName) &&
		equality.Semantic.DeepEqual(a.ReadyToUse, b.ReadyToUse) && equality.Semantic.DeepEqual(a.RestoreSize, b.RestoreSize)
}

// grantEvents wake the claims whose source is in the namespace that a grant is of.
func (c *Controller) grantEvents() cache.ResourceEventHandler {
	wake := func(object any) {
		if grant, ok := object.(*gatewayv1beta1.ReferenceGrant); ok {
			c.wakeBy(indexPendingBySource, grantsOf(grant.Namespace))
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: wake, UpdateFunc: func(_, after any) { wake(after) }}
}

// sawWritten notes that the cache knows a volume, if it is one that we wrote.
func (c *Controller) sawWritten(pv *corev1.PersistentVolume) {
	if pv.Spec.ClaimRef != nil {
		c.written.seen(pv.Name, pv.Spec.ClaimRef.UID)
	}
}

// volumeEvents enqueue our volumes and forget what was remembered about those that are gone.
func (c *Controller) volumeEvents() cache.ResourceEventHandler {
	changed := func(object any) {
		pv, ok := object.(*corev1.PersistentVolume)
		if !ok {
			return
		}
		c.sawWritten(pv)
		c.noteVolume(pv)
		if ownedBy(c.settings, pv) {
			c.volumeLoop.Enqueue(volumeKey(pv.Name))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			c.volumeCount.Add(1)
			changed(object)
		},
		UpdateFunc: func(before, after any) {
			old, ok1 := before.(*corev1.PersistentVolume)
			pv, ok2 := after.(*corev1.PersistentVolume)
			if ok1 && ok2 && old.UID != pv.UID {
				c.deletion.forget(old.UID)
			}
			if ok1 && ok2 && resized(old, pv) && ownedBy(c.settings, pv) {
				c.room.Touched(topology.AffinitySegments(pv.Spec.NodeAffinity))
			}
			changed(after)
			if ok2 {
				c.reviewLeft(pv.Name)
			}
		},
		DeleteFunc: func(object any) {
			if pv, ok := deleted[*corev1.PersistentVolume](object); ok {
				c.volumeCount.Add(-1)
				c.backlog.note(pv.Name, false)
				c.sawWritten(pv)
				c.deletion.forget(pv.UID)
				c.upkeep.forget(pv.UID)
				c.volumeVanished(pv)
				c.reviewLeft(pv.Name)
			}
		},
	}
}

// resized reports whether a volume was expanded.
func resized(old, pv *corev1.PersistentVolume) bool {
	before, after := old.Spec.Capacity[corev1.ResourceStorage], pv.Spec.Capacity[corev1.ResourceStorage]
	return old.UID == pv.UID && before.Cmp(after) != 0
}

// volumeVanished wakes the claim that a volume was for: if it is not bound yet it needs another one.
func (c *Controller) volumeVanished(pv *corev1.PersistentVolume) {
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return
	}
	claim, err := c.claimLister.PersistentVolumeClaims(ref.Namespace).Get(ref.Name)
	if err == nil && claim.UID == ref.UID && c.pending(claim) {
		c.attempts.bereave(claim.UID)
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
