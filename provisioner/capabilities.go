package provisioner

import (
	"fmt"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
)

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
