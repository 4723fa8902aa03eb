package webhook

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// Indexes over volumes. Both hold only volumes that nobody uses, which are few, so that neither a review nor a volume's life costs much.
const (
	indexUnclaimed = "berth-unclaimed-volumes-by-class"
	indexReserved  = "berth-reserved-volumes-by-claim"
)

// VolumeIndex finds volumes in an informer's cache, in particular those that a claim might be bound to. It is a Volumes.
type VolumeIndex struct{ indexer cache.Indexer }

// NewVolumeIndex adds what it needs to the informer. Of a volume without a claim the cache must keep, whatever driver it is of: class (with
// the annotation that once was it), access modes, volume mode, capacity, attributes class and phase; of one with a claim: the reference to it,
// and the phase. Of this driver's volumes it must keep the node affinity, for hints, and the volume mode, or else clones cost live reads.
func NewVolumeIndex(volumes cache.SharedIndexInformer) (*VolumeIndex, error) {
	err := volumes.AddIndexers(cache.Indexers{indexUnclaimed: unclaimedByClass, indexReserved: reservedByClaim})
	if err != nil {
		return nil, fmt.Errorf("index volumes: %w", err)
	}
	return &VolumeIndex{volumes.GetIndexer()}, nil
}

// Get returns a volume; nil: none is known.
func (x *VolumeIndex) Get(name string) *corev1.PersistentVolume {
	object, _, err := x.indexer.GetByKey(name)
	if err != nil {
		return nil // only of stores that are not in memory
	}
	volume, _ := object.(*corev1.PersistentVolume)
	return volume
}

// Unclaimed returns the volumes of a class that no claim has and that are not reserved for one.
func (x *VolumeIndex) Unclaimed(class string) []*corev1.PersistentVolume {
	return x.find(indexUnclaimed, class)
}

// ReservedFor returns the volumes that somebody reserved for a claim of that name and that it has not got yet.
func (x *VolumeIndex) ReservedFor(claim cache.ObjectName) []*corev1.PersistentVolume {
	return x.find(indexReserved, claim.String())
}

func (x *VolumeIndex) find(index, value string) []*corev1.PersistentVolume {
	found, err := x.indexer.ByIndex(index, value)
	if err != nil || len(found) == 0 {
		return nil // an error only without the index, which NewVolumeIndex added
	}
	volumes := make([]*corev1.PersistentVolume, 0, len(found))
	for _, object := range found {
		if volume, ok := object.(*corev1.PersistentVolume); ok {
			volumes = append(volumes, volume)
		}
	}
	return volumes
}

func unclaimedByClass(object any) ([]string, error) {
	volume, ok := object.(*corev1.PersistentVolume)
	if !ok || volume.Spec.ClaimRef != nil || !unused(volume) {
		return nil, nil
	}
	class := volumehelpers.GetPersistentVolumeClass(volume)
	if class == "" {
		return nil, nil // no claim that is ours has none
	}
	return []string{class}, nil
}

func reservedByClaim(object any) ([]string, error) {
	volume, ok := object.(*corev1.PersistentVolume)
	if !ok || volume.Spec.ClaimRef == nil || !unused(volume) {
		return nil, nil
	}
	ref := volume.Spec.ClaimRef
	return []string{cache.NewObjectName(ref.Namespace, ref.Name).String()}, nil
}
