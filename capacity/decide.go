package capacity

import (
	"cmp"
	"slices"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/csi"
)

// Labels of all objects. The values are those of the established provisioner: whoever replaces the other finds its objects by them.
const (
	LabelDriver    = "csi.storage.k8s.io/drivername"
	LabelManagedBy = "csi.storage.k8s.io/managed-by"
	ManagedBy      = "external-provisioner"
)

// grace is how long the objects of a segment stay after its last node or registration went. A driver that is rolled out registers anew on each node, and
// an object of a segment without nodes misleads nobody.
const grace = 30 * time.Second

// Facts are all that decides about the objects of a key. Objects are an informer's: they are read, never changed.
type Facts struct {
	Key     Key
	Now     time.Time
	Driver  string
	Manager string                          // value of LabelManagedBy
	Objects []*storagev1.CSIStorageCapacity // that are about the key, in any order
	// Desired: there is such a class, it wants objects and allows the segment, and the segment is there.
	Desired bool
	// Lost is since when the segment has not been there, all else being as desired; the zero time otherwise.
	Lost  time.Time
	Value csi.Capacity
	Known bool      // Value is; not before the first report
	Until time.Time // when Value changes by itself; the zero time: it does not
	// Exhausted: there is no room for a claim that was placed here, by the driver's word or by the ledger.
	Exhausted bool
	// Next is the size of the volume that came last; the next one is likely to be as large. 0: nobody knows.
	Next int64
	// Lower is since when less is to be published than is; the zero time: it is not.
	Lower time.Time
	Owner *metav1.OwnerReference // nil: objects get none
}

// Action is what to do about the objects of a key: Leave, Create, Update or Delete.
//
//sumtype:decl
type Action interface{ action() }

// Leave does nothing for so long; 0: until something changes.
type Leave struct{ For time.Duration }

// Create makes an object.
type Create struct{ Object *storagev1.CSIStorageCapacity }

// Update changes an object.
type Update struct {
	Object *storagev1.CSIStorageCapacity
	Reason string
}

// Delete deletes objects; then it is decided again.
type Delete struct {
	Objects []*storagev1.CSIStorageCapacity
}

func (Leave) action()  {}
func (Create) action() {}
func (Update) action() {}
func (Delete) action() {}

// Why something was written, as a label of berth_capacity_publishes_total.
const (
	ReasonCreated   = "created"
	ReasonIncreased = "increased"
	ReasonDecreased = "decreased"
	ReasonExhausted = "exhausted" // there was no room for a claim that was placed here, and the scheduler is to know before it has the claim back
	ReasonRepaired  = "repaired"  // the owner or the labels
	ReasonDeleted   = "deleted"
)

// Decide says what to do about the objects of a key. It is total.
func Decide(f Facts) Action {
	if !f.Desired {
		return decideUndesired(f)
	}
	if len(f.Objects) == 0 {
		if !f.Known {
			return Leave{} // the first report brings it back
		}
		return Create{f.object()}
	}
	kept := oldest(f.Objects)
	if len(f.Objects) > 1 {
		return Delete{slices.DeleteFunc(slices.Clone(f.Objects), func(o *storagev1.CSIStorageCapacity) bool { return o == kept })}
	}
	return decideKept(f, kept)
}

func decideUndesired(f Facts) Action {
	if len(f.Objects) == 0 {
		return Leave{}
	}
	if left := f.Lost.Add(grace).Sub(f.Now); !f.Lost.IsZero() && left > 0 {
		return Leave{left}
	}
	return Delete{f.Objects}
}

// decideKept compares an object with what there is to say. Without a report what it says stands: it is the leader's before, most likely, and
// older than anything else but better than nothing.
func decideKept(f Facts, object *storagev1.CSIStorageCapacity) Action {
	owners, owned := withOwner(object.OwnerReferences, f.Owner)
	differs := f.Known && !says(object, f.Value)
	if owned && !differs {
		return Leave{f.untilChange()}
	}
	reason := ReasonRepaired
	if differs {
		published := valueOf(object)
		switch {
		case object.Capacity == nil || increases(published, f.Value):
			reason = ReasonIncreased
		case f.Exhausted:
			reason = ReasonExhausted
		default:
			reason = ReasonDecreased
			if left := f.Lower.Add(patience(published, f.Value, f.Next)).Sub(f.Now); owned && left > 0 {
				return Leave{left}
			}
		}
	}
	changed := object.DeepCopy()
	changed.OwnerReferences = owners
	if differs {
		tell(changed, f.Value)
	}
	return Update{changed, reason}
}

// untilChange is how long what is published holds by itself.
func (f Facts) untilChange() time.Duration {
	if f.Until.IsZero() {
		return 0
	}
	return max(time.Millisecond, f.Until.Sub(f.Now))
}

// oldest is the object to keep of several: Pods have been placed by it, and it does not depend on who is asked.
func oldest(objects []*storagev1.CSIStorageCapacity) *storagev1.CSIStorageCapacity {
	return slices.MinFunc(objects, func(a, b *storagev1.CSIStorageCapacity) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}

// withOwner returns the owners that an object should have, and whether those are the ones it has. An object has one controller at most (API
// conventions, ownerReferences): the one that made it before us gives way, or the object would go when that one does.
func withOwner(have []metav1.OwnerReference, owner *metav1.OwnerReference) ([]metav1.OwnerReference, bool) {
	if owner == nil {
		return have, true
	}
	var others []metav1.OwnerReference
	for _, one := range have {
		switch {
		case one.UID == owner.UID && one.Controller != nil && *one.Controller:
			return have, true
		case one.UID == owner.UID, one.Controller != nil && *one.Controller:
		default:
			others = append(others, one)
		}
	}
	return append(others, *owner), false
}

// object is a new one.
func (f Facts) object() *storagev1.CSIStorageCapacity {
	object := &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{
			Name:   f.Key.name(f.Driver, f.Manager),
			Labels: map[string]string{LabelDriver: f.Driver, LabelManagedBy: f.Manager},
		},
		NodeTopology:     &metav1.LabelSelector{MatchLabels: f.Key.Segment.Map()},
		StorageClassName: f.Key.Class,
	}
	if f.Owner != nil {
		object.OwnerReferences = []metav1.OwnerReference{*f.Owner}
	}
	tell(object, f.Value)
	return object
}
