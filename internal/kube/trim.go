// Package kube makes the clients and caches that everything else reads: clients without a rate limit of their own unless one is
// asked for, and informers that keep of each object only what this project reads.
//
// It imports nothing of this project.
package kube

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// Trim returns the transform of all informers: objects are cut down to the fields that are read before they are stored. At 20,000
// claims and 5,000 nodes most of a cache would otherwise be fields that nobody looks at: managed fields, container images,
// the claims and volumes of other drivers.
//
// A field that a new feature reads must be kept here first; a test that reads it through a real informer fails otherwise. inTree is the
// in-tree driver that the driver took over; empty: none.
func Trim(driver, inTree string) cache.TransformFunc {
	return trimmer{driver: driver, inTree: inTree, same: newShared()}.trim
}

// TrimForAdmission is Trim for a process that serves webhooks, too: they need to know more about claims and volumes that are bound, and about
// the volumes of other drivers that a claim may get.
func TrimForAdmission(driver, inTree string) cache.TransformFunc {
	return trimmer{driver: driver, inTree: inTree, admission: true, same: newShared()}.trim
}

// TrimForNode is Trim for a process that looks after the volumes of one node. Of those of which elsewhere reports that they are on another one it keeps
// no more than tells that, and for whom they are.
func TrimForNode(driver, inTree string, elsewhere func(*corev1.PersistentVolume) bool) cache.TransformFunc {
	return trimmer{driver: driver, inTree: inTree, elsewhere: elsewhere, same: newShared()}.trim
}

// trimmer knows what to keep. It writes into the object that it is given, which nobody else has seen yet: with a second one for what is kept, each would lie
// beside one that is garbage, and half of the memory between them could not be given back. client-go's queues transform an object once, before
// it is stored.
type trimmer struct {
	driver, inTree string
	admission      bool
	elsewhere      func(*corev1.PersistentVolume) bool // nil: all volumes are looked after
	same           *shared
}

func (t trimmer) trim(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.PersistentVolumeClaim:
		slim := trimClaim(o, t.same)
		if t.admission {
			keepSource(&slim, o)
		}
		*o = slim
		return o, nil
	case *corev1.PersistentVolume:
		keepForNode := t.forNode(o)
		slim := trimVolume(o, t.driver, t.inTree, t.same)
		keepForNode(&slim)
		if t.admission {
			keepMode(&slim, o)
		}
		*o = slim
		return o, nil
	case *corev1.Node:
		*o = corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, Labels: t.same.words(o.Labels),
		}}
		return o, nil
	case *storagev1.CSINode:
		*o = trimCSINode(o, t.driver, t.same)
		return o, nil
	case *storagev1.VolumeAttachment:
		return trimAttachment(o), nil
	case *storagev1.StorageClass:
		o.ManagedFields = nil
		return o, nil
	case *storagev1.CSIStorageCapacity:
		o.ManagedFields = nil
		return o, nil
	}
	return object, nil
}

// identity keeps what names an object and what an informer itself needs.
func identity(meta metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion,
		DeletionTimestamp: meta.DeletionTimestamp, CreationTimestamp: meta.CreationTimestamp,
	}
}

// within is an equal text, which is a part of another one if it is there: names of volumes hold their claims' UIDs.
func within(whole, part string) string {
	if at := strings.Index(whole, part); at >= 0 {
		return whole[at : at+len(part)]
	}
	return part
}

// cloningProtection on a claim tells that volumes are, or were, made from it.
const cloningProtection = "provisioner.storage.kubernetes.io/cloning-protection"

// trimClaim drops what kubectl left in the annotations and, of a claim that has its volume, everything that only matters before.
func trimClaim(claim *corev1.PersistentVolumeClaim, same *shared) corev1.PersistentVolumeClaim {
	slim := corev1.PersistentVolumeClaim{ObjectMeta: identity(claim.ObjectMeta)}
	slim.Namespace = same.text(claim.Namespace)
	if slices.Contains(claim.Finalizers, cloningProtection) {
		slim.Finalizers = []string{cloningProtection}
	}
	slim.Status.Phase = corev1.PersistentVolumeClaimPhase(same.text(string(claim.Status.Phase)))
	if claim.Spec.VolumeName != "" {
		slim.Spec.VolumeName = claim.Spec.VolumeName
		slim.UID = types.UID(within(slim.Spec.VolumeName, string(slim.UID)))
		if class := claim.Spec.StorageClassName; class != nil {
			*class = same.text(*class)
			slim.Spec.StorageClassName = class
		}
		return slim
	}
	slim.Annotations = trimAnnotations(claim.Annotations)
	slim.Spec = claim.Spec
	return slim
}

// keepSource keeps of a claim that has its volume what tells whether another claim may be cloned from it.
func keepSource(slim, claim *corev1.PersistentVolumeClaim) {
	if claim.Spec.VolumeName == "" {
		return // it was kept whole
	}
	slim.Spec.VolumeMode = claim.Spec.VolumeMode
	slim.Spec.Resources.Requests = claim.Spec.Resources.Requests
	slim.Annotations = only(claim.Annotations, corev1.BetaStorageClassAnnotation)
}

// keepMode keeps of a volume of ours its volume mode, which the mode of a claim made from it is compared with.
func keepMode(slim, pv *corev1.PersistentVolume) {
	if slim.Spec.CSI != nil {
		slim.Spec.VolumeMode = pv.Spec.VolumeMode
	}
}

// provisionerIdentity in a volume's attributes tells who made it.
const provisionerIdentity = "storage.kubernetes.io/csiProvisionerIdentity"

// forNode reads a volume before it is trimmed, and returns what makes of the trimmed one what one node's process reads. Where a volume does not say
// where it is, who made it counts.
func (t trimmer) forNode(pv *corev1.PersistentVolume) func(slim *corev1.PersistentVolume) {
	if t.elsewhere == nil || pv.Spec.CSI == nil || pv.Spec.CSI.Driver != t.driver {
		return func(*corev1.PersistentVolume) {}
	}
	elsewhere := t.elsewhere(pv)
	identity, told := pv.Spec.CSI.VolumeAttributes[provisionerIdentity]
	return func(slim *corev1.PersistentVolume) {
		if told && slim.Spec.NodeAffinity == nil {
			slim.Spec.CSI.VolumeAttributes = t.same.labels(map[string]string{provisionerIdentity: identity})
		}
		if elsewhere {
			slim.Annotations, slim.Finalizers = nil, nil
			slim.Spec.CSI.VolumeHandle, slim.Spec.StorageClassName, slim.Spec.PersistentVolumeReclaimPolicy, slim.Spec.Capacity = "", "", "", nil
		}
	}
}

// only returns one annotation; nil: there is none of that name.
func only(annotations map[string]string, key string) map[string]string {
	value, ok := annotations[key]
	if !ok {
		return nil
	}
	return map[string]string{key: value}
}

func trimAnnotations(all map[string]string) map[string]string {
	if _, ok := all[corev1.LastAppliedConfigAnnotation]; ok { //nolint:staticcheck // what was trimmed is shared: deleting what is not there is a write, too
		delete(all, corev1.LastAppliedConfigAnnotation)
	}
	return all
}

// Annotations on volumes of an in-tree driver: who made them, and the CSI driver that took over.
const (
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	migratedTo    = "pv.kubernetes.io/migrated-to"
)

// trimVolume keeps what deletion needs of this driver's volumes, and of others' no more than that they exist and, while no claim has them, what a
// claim is matched by; but of each for whom it is and in which phase, which tells what the controller-manager has still to do. An
// in-tree volume that the driver took over is kept whole: translating it needs its source, its labels and its node affinity.
func trimVolume(pv *corev1.PersistentVolume, driver, inTree string, same *shared) corev1.PersistentVolume {
	slim := corev1.PersistentVolume{ObjectMeta: identity(pv.ObjectMeta)}
	slim.Status.Phase = corev1.PersistentVolumePhase(same.text(string(pv.Status.Phase)))
	if pv.Spec.ClaimRef == nil {
		keepMatched(&slim, pv)
	}
	source := pv.Spec.CSI
	if inTree != "" && source == nil && (pv.Annotations[migratedTo] == driver || pv.Annotations[provisionedBy] == inTree) {
		whole := *pv
		whole.ManagedFields = nil
		trimAnnotations(whole.Annotations)
		return whole
	}
	if claim := pv.Spec.ClaimRef; claim != nil {
		*claim = corev1.ObjectReference{
			Namespace: same.text(claim.Namespace), Name: claim.Name, UID: types.UID(within(pv.Name, string(claim.UID))),
		}
		slim.Spec.ClaimRef = claim
	}
	if source == nil || source.Driver != driver {
		return slim
	}
	*source = corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: within(pv.Name, source.VolumeHandle)}
	slim.Spec.CSI = source
	slim.Annotations = same.labels(trimAnnotations(pv.Annotations))
	slim.Finalizers = same.list(pv.Finalizers)
	slim.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimPolicy(same.text(string(pv.Spec.PersistentVolumeReclaimPolicy)))
	slim.Spec.StorageClassName = same.text(pv.Spec.StorageClassName)
	slim.Spec.NodeAffinity = same.affinity(pv.Spec.NodeAffinity)
	slim.Spec.Capacity = same.capacity(pv.Spec.Capacity)
	return slim
}

// keepMatched keeps of a volume that no claim has what package static matches claims by.
func keepMatched(slim, pv *corev1.PersistentVolume) {
	slim.Spec.StorageClassName = pv.Spec.StorageClassName
	slim.Spec.AccessModes = pv.Spec.AccessModes
	slim.Spec.VolumeMode = pv.Spec.VolumeMode
	slim.Spec.VolumeAttributesClassName = pv.Spec.VolumeAttributesClassName
	if size, ok := pv.Spec.Capacity[corev1.ResourceStorage]; ok {
		slim.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: size}
	}
	if class, ok := pv.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		slim.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: class}
	}
}

func trimCSINode(node *storagev1.CSINode, driver string, same *shared) storagev1.CSINode {
	slim := storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion}}
	for _, d := range node.Spec.Drivers {
		if d.Name == driver {
			slim.Spec.Drivers = []storagev1.CSINodeDriver{{Name: driver, NodeID: within(node.Name, d.NodeID), TopologyKeys: same.list(d.TopologyKeys)}}
		}
	}
	return slim
}

func trimAttachment(attachment *storagev1.VolumeAttachment) *storagev1.VolumeAttachment {
	slim := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{
		Name: attachment.Name, UID: attachment.UID, ResourceVersion: attachment.ResourceVersion,
	}}
	slim.Spec.NodeName = attachment.Spec.NodeName
	slim.Spec.Source.PersistentVolumeName = attachment.Spec.Source.PersistentVolumeName
	return slim
}
