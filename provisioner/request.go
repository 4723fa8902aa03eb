package provisioner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

// Keys of a StorageClass' parameters that are ours and not the driver's.
const (
	parameterPrefix = "csi.storage.k8s.io/"
	parameterFSType = parameterPrefix + "fstype"
	// legacyFSType is the same in any letter case; the driver still gets to see it.
	legacyFSType = "fstype"

	// Added to the driver's parameters with --extra-create-metadata.
	parameterClaimName      = parameterPrefix + "pvc/name"
	parameterClaimNamespace = parameterPrefix + "pvc/namespace"
	parameterVolumeName     = parameterPrefix + "pv/name"
)

// seal settles an attempt: the request to the driver, and the object to be written when the driver has answered.
func seal(s Settings, claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, selectedNode string, need *topology.Requirement) (*Attempt, error) {
	name := s.VolumeName(claim.UID)
	parameters, fsType, err := splitParameters(class.Parameters)
	if err != nil {
		return nil, fmt.Errorf("storage class %q: %w", class.Name, err)
	}
	if fsType == nil {
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
	return &Attempt{
		Claim:        claimReference(claim),
		Class:        class.Name,
		SelectedNode: selectedNode,
		Request: &csipb.CreateVolumeRequest{
			Name:                      name,
			CapacityRange:             &csipb.CapacityRange{RequiredBytes: size.Value()},
			VolumeCapabilities:        capabilities,
			Parameters:                parameters,
			AccessibilityRequirements: csi.TopologyRequirement(need),
		},
		Template: template(s, name, claim, class, volume),
	}, nil
}

// splitParameters takes what is ours out of a class's parameters. fsType is nil if none is given; the empty string is given too.
func splitParameters(all map[string]string) (driver map[string]string, fsType *string, err error) {
	driver = make(map[string]string, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := all[key]
		switch {
		case key == parameterFSType, strings.EqualFold(key, legacyFSType):
			if fsType != nil {
				return nil, nil, fmt.Errorf("the file system type is given twice (%q and %q or another spelling): keep %q", key, legacyFSType, parameterFSType)
			}
			fsType = &value
			if key != parameterFSType {
				driver[key] = value
			}
		case isSecretParameter(key):
			return nil, nil, fmt.Errorf("parameter %q: secrets are not supported by this version", key)
		case strings.HasPrefix(key, parameterPrefix):
			return nil, nil, fmt.Errorf("parameter %q is reserved (prefix %q) but unknown: check its spelling", key, parameterPrefix)
		default:
			driver[key] = value
		}
	}
	return driver, fsType, nil
}

// isSecretParameter knows the reserved names of secrets, and the deprecated ones without the prefix.
func isSecretParameter(key string) bool {
	if rest, ok := strings.CutPrefix(key, parameterPrefix); ok {
		return strings.HasSuffix(rest, "secret-name") || strings.HasSuffix(rest, "secret-namespace")
	}
	switch key {
	case "csiProvisionerSecretName", "csiProvisionerSecretNamespace",
		"csiControllerPublishSecretName", "csiControllerPublishSecretNamespace",
		"csiNodeStageSecretName", "csiNodeStageSecretNamespace",
		"csiNodePublishSecretName", "csiNodePublishSecretNamespace":
		return true
	}
	return false
}

// namesProvisionerSecret reports whether a class names a secret for creating and deleting volumes.
func namesProvisionerSecret(parameters map[string]string) bool {
	for _, key := range []string{parameterPrefix + "provisioner-secret-name", parameterPrefix + "secret-name", "csiProvisionerSecretName"} {
		if parameters[key] != "" {
			return true
		}
	}
	return false
}

// volumeSpec is how a volume is to be used.
type volumeSpec struct {
	block        bool
	fsType       string
	mountOptions []string
}

// capabilities are one VolumeCapability for each access mode of the claim.
func (v volumeSpec) capabilities(modes []corev1.PersistentVolumeAccessMode, singleNodeMultiWriter bool) ([]*csipb.VolumeCapability, error) {
	capabilities := make([]*csipb.VolumeCapability, 0, len(modes))
	for _, mode := range modes {
		accessMode, ok := accessModeOf(mode, singleNodeMultiWriter)
		if !ok {
			return nil, fmt.Errorf("access mode %q is unknown", mode)
		}
		capability := &csipb.VolumeCapability{AccessMode: &csipb.VolumeCapability_AccessMode{Mode: accessMode}}
		if v.block {
			capability.AccessType = &csipb.VolumeCapability_Block{Block: &csipb.VolumeCapability_BlockVolume{}}
		} else {
			capability.AccessType = &csipb.VolumeCapability_Mount{Mount: &csipb.VolumeCapability_MountVolume{
				FsType: v.fsType, MountFlags: v.mountOptions,
			}}
		}
		capabilities = append(capabilities, capability)
	}
	return capabilities, nil
}

// accessModeOf translates one access mode. Drivers without SINGLE_NODE_MULTI_WRITER know one word for "one node", those with it two.
func accessModeOf(mode corev1.PersistentVolumeAccessMode, singleNodeMultiWriter bool) (csipb.VolumeCapability_AccessMode_Mode, bool) {
	switch mode {
	case corev1.ReadWriteMany:
		return csipb.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, true
	case corev1.ReadOnlyMany:
		return csipb.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY, true
	case corev1.ReadWriteOnce:
		if singleNodeMultiWriter {
			return csipb.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER, true
		}
		return csipb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, true
	case corev1.ReadWriteOncePod:
		if singleNodeMultiWriter {
			return csipb.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, true
		}
		return csipb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, true
	}
	return csipb.VolumeCapability_AccessMode_UNKNOWN, false
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
func template(s Settings, name string, claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, volume volumeSpec) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Annotations: map[string]string{
				AnnotationProvisionedBy: class.Provisioner,
				// Always there, so that deletion never has to look at a class that may have changed since.
				AnnotationDeletionSecretName:      "",
				AnnotationDeletionSecretNamespace: "",
			},
		},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class.Name,
			ClaimRef:         claimReference(claim),
			AccessModes:      claim.Spec.AccessModes,
			MountOptions:     class.MountOptions,
			VolumeMode:       claim.Spec.VolumeMode,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: s.Driver.Name},
			},
		},
	}
	if class.ReclaimPolicy != nil {
		pv.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
	}
	if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
		// A retained volume does not need it, and would cost a write to take it away again.
		pv.Finalizers = []string{FinalizerVolume}
	}
	if !volume.block {
		pv.Spec.CSI.FSType = volume.fsType
	}
	modes := claim.Spec.AccessModes
	pv.Spec.CSI.ReadOnly = s.PublishReadOnly && len(modes) == 1 && modes[0] == corev1.ReadOnlyMany
	return pv
}
