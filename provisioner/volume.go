package provisioner

import (
	"fmt"
	"maps"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

// newVolume completes an attempt's template with the driver's answer. The error says what in the answer cannot be stored.
func newVolume(s Settings, attempt *Attempt, answer *csipb.Volume) (*corev1.PersistentVolume, error) {
	pv := attempt.Template.DeepCopy()
	bytes := answer.GetCapacityBytes()
	if bytes == 0 { // unknown to the driver: what was asked for is what the claim may count on
		bytes = attempt.Request.GetCapacityRange().GetRequiredBytes()
	}
	pv.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI)}
	pv.Spec.CSI.VolumeHandle = answer.GetVolumeId()
	pv.Spec.CSI.VolumeAttributes = map[string]string{AttributeIdentity: s.Identity}
	maps.Copy(pv.Spec.CSI.VolumeAttributes, answer.GetVolumeContext())
	if s.Driver.Topology {
		segments := csi.Segments(answer.GetAccessibleTopology())
		for _, segment := range segments {
			if err := topology.ValidateSegment(segment); err != nil {
				return nil, fmt.Errorf("accessible_topology: %w", err)
			}
		}
		pv.Spec.NodeAffinity = topology.NodeAffinity(segments)
	}
	if attempt.MigratedFrom == "" {
		return pv, nil
	}
	pv, err := toInTree(pv)
	if err != nil {
		return nil, fmt.Errorf("translate it to a volume of in-tree driver %s: %w", attempt.MigratedFrom, err)
	}
	return pv, nil
}

// sameVolume reports whether a stored object is the one that was to be written: the same claim, the same volume behind it, and not on
// its way out. The name alone proves nothing.
func sameVolume(s Settings, stored, wanted *corev1.PersistentVolume) bool {
	have, want := sourceOf(s, stored), sourceOf(s, wanted)
	return stored.DeletionTimestamp == nil && stored.Spec.ClaimRef != nil && have != nil && want != nil &&
		have.Driver == want.Driver && have.VolumeHandle == want.VolumeHandle && s.whereIs(stored) != elsewhere &&
		stored.Spec.ClaimRef.UID == wanted.Spec.ClaimRef.UID
}

// refersTo reports whether an object is of the driver's volume with this handle, whatever claim it is for. The volume is that object's
// to keep or to delete.
func refersTo(s Settings, stored *corev1.PersistentVolume, handle string) bool {
	if stored == nil {
		return false
	}
	source := sourceOf(s, stored)
	return source != nil && source.Driver == s.Driver.Name && source.VolumeHandle == keptHandle(s, stored, handle) &&
		s.whereIs(stored) != elsewhere // where each node has volumes of its own a handle means something on its node only
}

// storedHere reports whether the volume of a claim with this UID is stored, and is not another node's of the same name.
func storedHere(s Settings, stored *corev1.PersistentVolume, claim types.UID) bool {
	return stored != nil && isFor(stored, claim) && s.whereIs(stored) != elsewhere
}

// isFor reports whether an object is for the claim with this UID.
func isFor(stored *corev1.PersistentVolume, claim types.UID) bool {
	return stored.Spec.ClaimRef != nil && stored.Spec.ClaimRef.UID == claim
}
