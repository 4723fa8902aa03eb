package static

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// Indexes over volumes. They hold volumes that nobody uses, and those that were not made for the claim that has them: both are few, so that neither a
// question nor a volume's life costs much.
const (
	indexUnclaimed = "berth-unclaimed-volumes-by-class"
	indexReserved  = "berth-reserved-volumes-by-claim"
)

// Index finds volumes in an informer's cache, in particular those that a claim might be bound to. Safe for concurrent use.
type Index struct{ indexer cache.Indexer }

// NewIndex adds what it needs to the informer, unless that is there already: several parts of a process share one informer. It must not be called for
// the same informer twice at once.
//
// Of a volume without a claim the cache must keep, whatever driver it is of: class (with the annotation that once was it), access modes, volume
// mode, capacity, attributes class and phase; of one with a claim: the reference to it, and the phase (internal/kube, Trim).
func NewIndex(volumes cache.SharedIndexInformer) (*Index, error) {
	added := cache.Indexers{}
	for name, index := range Indexers() {
		if _, ok := volumes.GetIndexer().GetIndexers()[name]; !ok {
			added[name] = index
		}
	}
	if err := volumes.AddIndexers(added); err != nil {
		return nil, fmt.Errorf("index volumes: %w", err)
	}
	return Over(volumes.GetIndexer()), nil
}

// Over returns an Index over a cache that has Indexers.
func Over(volumes cache.Indexer) *Index { return &Index{volumes} }

// Indexers are what an Index needs.
func Indexers() cache.Indexers {
	return cache.Indexers{indexUnclaimed: unclaimedByClass, indexReserved: reservedByClaim}
}

// Get returns a volume; nil: none is known.
func (x *Index) Get(name string) *corev1.PersistentVolume {
	object, _, err := x.indexer.GetByKey(name)
	if err != nil {
		return nil // only of stores that are not in memory
	}
	volume, _ := object.(*corev1.PersistentVolume)
	return volume
}

// Unclaimed returns the volumes of a class that no claim has and that are not reserved for one.
func (x *Index) Unclaimed(class string) []*corev1.PersistentVolume {
	return x.find(indexUnclaimed, class)
}

// ReservedFor returns the volumes that somebody reserved for a claim of that name, and those that were and that it has got.
func (x *Index) ReservedFor(claim cache.ObjectName) []*corev1.PersistentVolume {
	return x.find(indexReserved, claim.String())
}

// InPlay returns a volume that matches the claim, one that is reserved for it rather than another; nil: there is none. The claim must have a name.
func (x *Index) InPlay(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	for _, volume := range x.ReservedFor(cache.NewObjectName(claim.Namespace, claim.Name)) {
		if Match(volume, claim) {
			return volume
		}
	}
	var found *corev1.PersistentVolume
	for _, volume := range x.Unclaimed(volumehelpers.GetPersistentVolumeClaimClass(claim)) {
		// The first by name, whatever the order of the index: who waits for it finds the same one again.
		if (found == nil || volume.Name < found.Name) && Match(volume, claim) {
			found = volume
		}
	}
	return found
}

func (x *Index) find(index, value string) []*corev1.PersistentVolume {
	found, err := x.indexer.ByIndex(index, value)
	if err != nil || len(found) == 0 {
		return nil // an error only without the index
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
	if !ok || volume.Spec.ClaimRef != nil || !Unused(volume) {
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
	if !ok || volume.Spec.ClaimRef == nil || !Unused(volume) && !bound(volume) {
		return nil, nil
	}
	ref := volume.Spec.ClaimRef
	if bound(volume) && strings.HasSuffix(volume.Name, string(ref.UID)) {
		return nil, nil // provisioned for it, as nearly all are: whoever did that knows
	}
	return []string{cache.NewObjectName(ref.Namespace, ref.Name).String()}, nil
}
