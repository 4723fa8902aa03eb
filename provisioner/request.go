package provisioner

import (
	"fmt"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

// seal settles an attempt: the request to the driver, and the object to be written when the driver has answered. The request lacks its
// source, which is looked up only when everything else is in order.
func seal(in Input, need *topology.Requirement) (*Attempt, error) {
	s, claim, class := in.Settings, in.Claim, in.Class
	name := s.VolumeName(claim.UID)
	parameters, fsType, err := splitParameters(class.Parameters)
	if err != nil {
		return nil, fmt.Errorf("storage class %q: %w", class.Name, err)
	}
	secrets, err := resolveSecrets(class.Parameters, secretTokens{
		volume: name, namespace: claim.Namespace, claim: claim.Name, annotations: claim.Annotations,
	})
	if err != nil {
		return nil, fmt.Errorf("storage class %q: %w", class.Name, err)
	}
	if fsType == nil || *fsType == "" {
		fsType = &s.DefaultFSType
	}
	if s.ExtraMetadata {
		parameters[parameterClaimName] = claim.Name
		parameters[parameterClaimNamespace] = claim.Namespace
		parameters[parameterVolumeName] = name
	}
	volume := volumeSpec{
		block:        claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode == corev1.PersistentVolumeBlock,
		fsType:       *fsType,
		mountOptions: class.MountOptions,
	}
	capabilities, err := volume.capabilities(claim.Spec.AccessModes, s.Driver.SingleNodeMultiWriter)
	if err != nil {
		return nil, err
	}
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	attempt := &Attempt{
		Claim:        claimReference(claim),
		Class:        class.Name,
		SelectedNode: selectedNode(claim),
		MigratedFrom: in.MigratedFrom,
		Secret:       secrets[secretProvisioner],
		Request: &csipb.CreateVolumeRequest{
			Name:                      name,
			CapacityRange:             &csipb.CapacityRange{RequiredBytes: size.Value()},
			VolumeCapabilities:        capabilities,
			Parameters:                parameters,
			AccessibilityRequirements: csi.TopologyRequirement(need),
		},
		Template: template(in, name, volume, secrets),
	}
	if attributes := in.AttributesClass; attributes != nil {
		attempt.Request.MutableParameters = attributes.Parameters
		attempt.Template.Spec.VolumeAttributesClassName = &attributes.Name
	}
	return attempt, nil
}

func claimReference(claim *corev1.PersistentVolumeClaim) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		Kind:            "PersistentVolumeClaim",
		APIVersion:      corev1.SchemeGroupVersion.String(),
		Namespace:       claim.Namespace,
		Name:            claim.Name,
		UID:             claim.UID,
		ResourceVersion: claim.ResourceVersion,
	}
}

// template is the volume's object as far as it is known before the driver has answered.
func template(in Input, name string, volume volumeSpec, secrets map[string]*corev1.SecretReference) *corev1.PersistentVolume {
	claim, class := in.Claim, in.Class
	modes := claim.Spec.AccessModes
	source := &corev1.CSIPersistentVolumeSource{
		Driver:                     in.Settings.Driver.Name,
		ReadOnly:                   in.Settings.PublishReadOnly && len(modes) == 1 && modes[0] == corev1.ReadOnlyMany,
		ControllerPublishSecretRef: secrets[secretControllerPublish],
		NodeStageSecretRef:         secrets[secretNodeStage],
		NodePublishSecretRef:       secrets[secretNodePublish],
		ControllerExpandSecretRef:  secrets[secretControllerExpand],
		NodeExpandSecretRef:        secrets[secretNodeExpand],
	}
	if !volume.block {
		source.FSType = volume.fsType
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations(in, secrets)},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:       class.Name,
			ClaimRef:               claimReference(claim),
			AccessModes:            modes,
			MountOptions:           class.MountOptions,
			VolumeMode:             claim.Spec.VolumeMode,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: source},
		},
	}
	if class.ReclaimPolicy != nil {
		pv.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
	}
	if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
		// A retained volume does not need it, and would cost a write to take it away again.
		pv.Finalizers = []string{FinalizerVolume}
	}
	return pv
}

// annotations of a new volume's object.
func annotations(in Input, secrets map[string]*corev1.SecretReference) map[string]string {
	by := in.Settings.Driver.Name
	if in.MigratedFrom != "" {
		by = in.MigratedFrom // the volume's object is an in-tree one
	}
	all := map[string]string{
		AnnotationProvisionedBy: by,
		// Always there, so that deletion never has to look at a class that may have changed since.
		AnnotationDeletionSecretName:      "",
		AnnotationDeletionSecretNamespace: "",
	}
	if secret := secrets[secretProvisioner]; secret != nil {
		all[AnnotationDeletionSecretName] = secret.Name
		all[AnnotationDeletionSecretNamespace] = secret.Namespace
	}
	if secret := secrets[secretControllerModify]; secret != nil {
		all[AnnotationModifySecretName] = secret.Name
		all[AnnotationModifySecretNamespace] = secret.Namespace
	}
	return all
}
