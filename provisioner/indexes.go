package provisioner

import (
	"hash/fnv"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/datasource"
)

// Names of indexes.
const (
	indexPendingByClass           = "berth-pending-claims-by-class"
	indexPendingByAttributesClass = "berth-pending-claims-by-attributes-class"
	indexPendingBySource          = "berth-pending-claims-by-source"
	indexProtected                = "berth-protected-claims"
	indexAttachmentsByVolume      = "berth-attachments-by-volume"
	indexVolumesByHandle          = "berth-volumes-by-handle"
)

// protectedValue is the only value of indexProtected.
const protectedValue = "protected"

// grantsOf is the value of indexPendingBySource for the claims whose source is in a namespace that has to grant it.
func grantsOf(namespace string) string { return "grants of " + namespace }

// indexers are the indexes over claims.
func (c *Controller) indexers() cache.Indexers {
	return cache.Indexers{
		indexPendingByClass:           c.pendingByClass,
		indexPendingByAttributesClass: c.pendingByAttributesClass,
		indexPendingBySource:          c.pendingBySource,
		indexProtected:                protectedClaims,
	}
}

// pendingByClass finds the claims of this driver that wait for a volume, by the name of their class.
func (c *Controller) pendingByClass(object any) ([]string, error) {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok || !c.pending(claim) {
		return nil, nil
	}
	return []string{volumehelpers.GetPersistentVolumeClaimClass(claim)}, nil
}

// pendingByAttributesClass finds them by the name of their volume attributes class.
func (c *Controller) pendingByAttributesClass(object any) ([]string, error) {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok || !c.pending(claim) {
		return nil, nil
	}
	if name := attributesName(c.settings, claim); name != "" {
		return []string{name}, nil
	}
	return nil, nil
}

// pendingBySource finds them by what they are to be made from and, if a grant decides about that, by the namespace that gives it.
func (c *Controller) pendingBySource(object any) ([]string, error) {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok || !c.pending(claim) {
		return nil, nil
	}
	reference, _ := datasource.Resolve(claim)
	switch {
	case reference.Kind == datasource.None:
		return nil, nil
	case reference.CrossNamespace:
		return []string{reference.Key().String(), grantsOf(reference.Namespace)}, nil
	}
	return []string{reference.Key().String()}, nil
}

// protectedClaims finds the claims that carry our finalizer because they are, or were, being cloned.
func protectedClaims(object any) ([]string, error) {
	if claim, ok := object.(*corev1.PersistentVolumeClaim); ok && slices.Contains(claim.Finalizers, datasource.FinalizerClaim) {
		return []string{protectedValue}, nil
	}
	return nil, nil
}

// pending reports whether a claim is ours and has no volume.
func (c *Controller) pending(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Spec.VolumeName == "" && assignedTo(claim, c.settings)
}

func attachmentsByVolume(object any) ([]string, error) {
	attachment, ok := object.(*storagev1.VolumeAttachment)
	if !ok || attachment.Spec.Source.PersistentVolumeName == nil {
		return nil, nil
	}
	return []string{*attachment.Spec.Source.PersistentVolumeName}, nil
}

// handleBuckets is how many values indexVolumesByHandle has. An index keeps a set for each value, and a set of one volume takes ten times what one more in a
// set does; so volumes whose handles are different share a value.
const handleBuckets = 1 << 12

// handleBucket is the value under which a handle is found, among others.
func handleBucket(handle string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(handle)) // never fails
	return strconv.FormatUint(uint64(hash.Sum32()%handleBuckets), 36)
}

// volumesByHandle finds the driver's volumes by the bucket of what the driver calls them.
func (c *Controller) volumesByHandle(object any) ([]string, error) {
	pv, ok := object.(*corev1.PersistentVolume)
	if !ok {
		return nil, nil
	}
	if source := sourceOf(c.settings, pv); source != nil && source.Driver == c.settings.Driver.Name && source.VolumeHandle != "" { // another node's has none here
		return []string{handleBucket(source.VolumeHandle)}, nil
	}
	return nil, nil
}
