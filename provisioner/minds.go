package provisioner

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/datasource"
)

// In distributed mode every instance hears of every source that is protected, and one is enough to take the protection off: that of the node where
// the source is. Where nobody can tell that, it is whoever protected it; and, in case that one is gone, whoever comes first at a sweep.

// minds reports whether this process takes the protection off a source.
func (c *Controller) minds(key datasource.Key) bool {
	return c.settings.Node.IsZero() || c.wanted.take(key) || c.sourceIs(key, here)
}

// sourceIs reports whether the volume of a source is known to be one of the driver's, and where.
func (c *Controller) sourceIs(key datasource.Key, where whereabouts) bool {
	pv := c.sourceVolume(key)
	return pv != nil && ownedBy(c.settings, pv) && c.settings.whereIs(pv) == where
}

// sourceVolume is the volume of a source, of whatever driver, as far as caches tell; nil: they do not.
func (c *Controller) sourceVolume(key datasource.Key) *corev1.PersistentVolume {
	name, taken := key.Name, metav1.Time{}
	if key.Kind == datasource.Snapshot {
		if c.snapshots == nil {
			return nil
		}
		snapshot, _, err := c.snapshots.Get(key.Namespace, key.Name)
		if err != nil || snapshot == nil || snapshot.Spec.Source.PersistentVolumeClaimName == nil {
			return nil
		}
		name, taken = *snapshot.Spec.Source.PersistentVolumeClaimName, snapshot.CreationTimestamp
	}
	claim, err := c.claimLister.PersistentVolumeClaims(key.Namespace).Get(name)
	if err != nil || claim.Spec.VolumeName == "" || !taken.IsZero() && taken.Before(&claim.CreationTimestamp) { // then it was of another claim of the name
		return nil
	}
	pv, err := c.volumeLister.Get(claim.Spec.VolumeName)
	if err != nil {
		return nil
	}
	return pv
}

// want has this process mind a source, wherever it is, when it is looked at next.
func (c *Controller) want(key datasource.Key) {
	if !c.settings.Node.IsZero() {
		c.wanted.add(key)
	}
}

// sweepSource has a source looked at that may have been left protected.
func (c *Controller) sweepSource(key datasource.Key) {
	if !c.settings.Node.IsZero() && c.sourceVolume(key) == nil {
		c.want(key)
	}
	c.sourceLoop.Enqueue(key)
}

// wantedSources are those that this process looks at once, wherever they are.
type wantedSources struct {
	mu   sync.Mutex
	keys map[datasource.Key]bool
}

func (w *wantedSources) add(key datasource.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[key] = true
}

// take reports whether a source is wanted, once.
func (w *wantedSources) take(key datasource.Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := w.keys[key]
	delete(w.keys, key)
	return wanted
}
