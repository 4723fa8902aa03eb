package capacity

import (
	"math"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-csi/berth/csi"
)

const (
	// soon is how long a decrease waits that may make a volume not fit any more, so that those of a burst become one write.
	soon = 250 * time.Millisecond
	// later is how long any other decrease waits: while there is room for ten times what went, the scheduler hardly decides otherwise.
	later = 5 * time.Second
	// plenty is how many times what went has to be left, and more, for it to wait that long.
	plenty = 10
)

// limit is the size of the largest volume that fits, as the scheduler reads it: the largest volume where it is told, else the capacity
// (KEP-1472, CSIStorageCapacity.maximumVolumeSize).
func limit(value csi.Capacity) int64 {
	if value.Limited {
		return value.Largest
	}
	return value.Available
}

// patience is how long a difference between what is published and what there is may wait. More room is told at once: Pods may be waiting for
// it, and the scheduler looks at them again when it hears of it. That a volume like the last one does not fit any more is told at once, too: until then the
// scheduler goes on to place Pods there.
func patience(published, value csi.Capacity, next int64) time.Duration {
	if increases(published, value) {
		return 0
	}
	if next > 0 && limit(published) >= next && limit(value) < next {
		return 0
	}
	if scarce(limit(published), limit(value)) || scarce(published.Available, value.Available) {
		return soon
	}
	return later
}

func increases(published, value csi.Capacity) bool {
	return limit(value) > limit(published) || value.Available > published.Available
}

func scarce(before, after int64) bool {
	went := before - after
	return went > 0 && (went > math.MaxInt64/plenty || after <= went*plenty)
}

// valueOf reads an object. Where nothing is told there is no room.
func valueOf(object *storagev1.CSIStorageCapacity) csi.Capacity {
	var value csi.Capacity
	if object.Capacity != nil {
		value.Available = object.Capacity.Value()
	}
	if object.MaximumVolumeSize != nil {
		value.Largest, value.Limited = object.MaximumVolumeSize.Value(), true
	}
	return value
}

// says reports whether an object says exactly this. That nothing is told is not the same as that there is no room: people read it.
func says(object *storagev1.CSIStorageCapacity, value csi.Capacity) bool {
	return object.Capacity != nil && valueOf(object) == value
}

// tell writes a value into an object.
func tell(object *storagev1.CSIStorageCapacity, value csi.Capacity) {
	object.Capacity = resource.NewQuantity(value.Available, resource.BinarySI)
	object.MaximumVolumeSize = nil
	if value.Limited {
		object.MaximumVolumeSize = resource.NewQuantity(value.Largest, resource.BinarySI)
	}
}
