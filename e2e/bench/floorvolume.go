package main

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a provisioner reads from claims and writes to PVs.
const (
	annProvisioner             = "volume.kubernetes.io/storage-provisioner"
	annSelectedNode            = "volume.kubernetes.io/selected-node"
	annProvisionedBy           = "pv.kubernetes.io/provisioned-by"
	annDeletionSecretName      = "volume.kubernetes.io/provisioner-deletion-secret-name"
	annDeletionSecretNamespace = "volume.kubernetes.io/provisioner-deletion-secret-namespace"
	provisionerFinalizer       = "external-provisioner.volume.kubernetes.io/finalizer"
	attributeIdentity          = "storage.kubernetes.io/csiProvisionerIdentity"
)

// A segment is the label and the value that the nodes have from which a volume can be reached.
type segment struct{ key, value string }

func className(claim *corev1.PersistentVolumeClaim) string {
	if claim.Spec.StorageClassName == nil {
		return ""
	}
	return *claim.Spec.StorageClassName
}

// wantsVolume reports whether the claim waits for this driver's provisioner.
func wantsVolume(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, driver string) bool {
	if claim.Spec.VolumeName != "" || claim.Annotations[annProvisioner] != driver || class == nil {
		return false
	}
	delayed := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	return !delayed || claim.Annotations[annSelectedNode] != ""
}

// wantsDeletion reports whether the PV is this driver's to delete.
func wantsDeletion(volume *corev1.PersistentVolume, driver string) bool {
	return volume.Annotations[annProvisionedBy] == driver &&
		volume.Status.Phase == corev1.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete &&
		volume.DeletionTimestamp == nil
}

// floorVolume is the PV of a claim with every field a provisioner fills in, so that it costs the API server the same.
func floorVolume(
	claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, where segment,
) *corev1.PersistentVolume {
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: "pvc-" + string(claim.UID),
			Annotations: map[string]string{
				annProvisionedBy:           class.Provisioner,
				annDeletionSecretName:      "",
				annDeletionSecretNamespace: "",
			},
			Finalizers: []string{provisionerFinalizer},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes: claim.Spec.AccessModes,
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name,
				UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
			StorageClassName: class.Name,
			MountOptions:     class.MountOptions,
			VolumeMode:       claim.Spec.VolumeMode,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver:           class.Provisioner,
				VolumeHandle:     "floor-" + string(claim.UID),
				VolumeAttributes: map[string]string{attributeIdentity: "1700000000000-1234-" + class.Provisioner},
			}},
			NodeAffinity: where.affinity(),
		},
	}
	if class.ReclaimPolicy != nil {
		volume.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
	}
	return volume
}

// affinity is nil when there is no segment.
func (s segment) affinity() *corev1.VolumeNodeAffinity {
	if s.key == "" {
		return nil
	}
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: s.key, Operator: corev1.NodeSelectorOpIn, Values: []string{s.value},
		}},
	}}}}
}
