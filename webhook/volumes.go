package webhook

import (
	"k8s.io/client-go/tools/cache"

	"github.com/berth-csi/berth/internal/static"
)

// VolumeIndex finds volumes in an informer's cache, in particular those that a claim might be bound to. It is a Volumes.
type VolumeIndex = static.Index

// NewVolumeIndex adds what it needs to the informer, unless that is there already. Beside what static.NewIndex needs, the cache must keep of this
// driver's volumes the node affinity, for hints, and the volume mode, or else clones cost live reads.
func NewVolumeIndex(volumes cache.SharedIndexInformer) (*VolumeIndex, error) {
	return static.NewIndex(volumes)
}
