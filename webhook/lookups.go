package webhook

import (
	"context"
	"errors"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	corev1listers "k8s.io/client-go/listers/core/v1"
	storagev1listers "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/static"
	"github.com/berth-csi/berth/topology"
)

// Lookups is what reviews read. All but Sources are caches, and a review costs a few look-ups by key in them, however large they are. What
// may be nil is marked; a nil pointer in an interface is not nil.
type Lookups struct {
	Classes storagev1listers.StorageClassLister
	Claims  corev1listers.PersistentVolumeClaimLister
	Volumes Volumes
	Sources Sources
	// Rooms: nil: no topology hints by room.
	Rooms Rooms
	// Snapshots and Contents: without either of them restores are judged by a live read; without Snapshots they get no topology hint.
	Snapshots Snapshots
	Contents  Contents
	// Grants: nil: the feature gate CrossNamespaceVolumeDataSource is off.
	Grants Grants
}

// Volumes finds volumes: a VolumeIndex.
type Volumes interface {
	Get(name string) *corev1.PersistentVolume // nil: none is known
	Unclaimed(class string) []*corev1.PersistentVolume
	ReservedFor(claim cache.ObjectName) []*corev1.PersistentVolume
}

// Rooms knows what was published about segments: a RoomIndex.
type Rooms interface {
	Rooms(class string) []topology.Room
}

// Sources reads everything about a data source live: a datasource.Reader.
type Sources interface {
	Gather(ctx context.Context, reference datasource.Reference) (datasource.Facts, error)
}

// Snapshots knows all snapshots, or says that it does not: a datasource.SnapshotWatch.
type Snapshots interface {
	Get(namespace, name string) (snapshot *snapshotv1.VolumeSnapshot, watched bool, err error)
}

// Contents knows all snapshots' contents, or says that it does not. They need their annotations, and of the spec the reference to the
// snapshot, the driver and the source volume mode.
type Contents interface {
	Get(name string) (content *snapshotv1.VolumeSnapshotContent, watched bool, err error)
}

// Grants knows all reference grants, or says that it does not: a datasource.GrantWatch.
type Grants interface {
	Synced() bool
	List(ctx context.Context, namespace string) (grants []*gatewayv1beta1.ReferenceGrant, served bool, err error)
}

// validate says what is missing.
func (l Lookups) validate() error {
	if l.Classes == nil || l.Claims == nil || l.Volumes == nil || l.Sources == nil {
		return errors.New("classes, claims, volumes and sources cannot be looked up")
	}
	return nil
}

// class returns a claim's class; nil: it has none, or none is known.
func (l Lookups) class(claim *corev1.PersistentVolumeClaim) (*storagev1.StorageClass, error) {
	name := volumehelpers.GetPersistentVolumeClaimClass(claim)
	if name == "" {
		return nil, nil
	}
	class, err := l.Classes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read storage class %q: %w", name, err)
	}
	return class, nil
}

// place adds to the facts what decides about a place, if the claim's class is the driver's.
func (l Lookups) place(claim *corev1.PersistentVolumeClaim, facts *MutateFacts) {
	if facts.Class == nil || facts.Class.Provisioner != facts.Driver {
		return
	}
	facts.Volumes = l.Volumes.Unclaimed(facts.Class.Name)
	if claim.Name != "" {
		reserved := l.Volumes.ReservedFor(cache.NewObjectName(claim.Namespace, claim.Name))
		facts.Volumes = append(reserved, facts.Volumes...)
	}
	if !facts.Topology || delayed(facts.Class) {
		return
	}
	reference, _ := datasource.Resolve(claim)
	switch reference.Kind {
	case datasource.None:
		if l.Rooms != nil {
			facts.Rooms = l.Rooms.Rooms(facts.Class.Name)
		}
	case datasource.Snapshot, datasource.Clone:
		facts.Source = l.whereIs(reference, claim.Namespace, facts.Driver)
	case datasource.Populator:
	}
}

// whereIs returns the segments of a source's volume, as far as caches tell. That of another namespace is not for this one to know, and so
// only a volume counts that belongs to the source, whatever a claim says of it.
func (l Lookups) whereIs(reference datasource.Reference, namespace, driver string) []topology.Segment {
	name := reference.Name
	if reference.Namespace != namespace {
		return nil
	}
	if reference.Kind == datasource.Snapshot {
		if l.Snapshots == nil {
			return nil
		}
		snapshot, _, err := l.Snapshots.Get(namespace, name)
		if err != nil || snapshot == nil || snapshot.Spec.Source.PersistentVolumeClaimName == nil {
			return nil
		}
		name = *snapshot.Spec.Source.PersistentVolumeClaimName
	}
	claim, err := l.Claims.PersistentVolumeClaims(namespace).Get(name)
	if err != nil || claim.Spec.VolumeName == "" {
		return nil
	}
	volume := l.Volumes.Get(claim.Spec.VolumeName)
	if volume == nil || volume.Spec.CSI == nil || volume.Spec.CSI.Driver != driver || !static.ReservedFor(volume, claim) {
		return nil
	}
	return segmentsOf(volume.Spec.NodeAffinity)
}

// cached finds out about a source from caches; nil: they do not tell all that the rules of its kind need.
func (l Lookups) cached(ctx context.Context, reference datasource.Reference) *datasource.Facts {
	var facts datasource.Facts
	complete := l.cachedGrants(ctx, reference, &facts)
	if complete {
		switch reference.Kind {
		case datasource.Snapshot:
			complete = l.cachedSnapshot(reference, &facts)
		case datasource.Clone:
			complete = l.cachedClaim(reference, &facts)
		case datasource.None, datasource.Populator:
		}
	}
	if !complete {
		return nil
	}
	return &facts
}

func (l Lookups) cachedGrants(ctx context.Context, reference datasource.Reference, facts *datasource.Facts) bool {
	if !reference.CrossNamespace || l.Grants == nil {
		return true
	}
	if !l.Grants.Synced() {
		return false // to list them would be a live read
	}
	var err error
	facts.Grants, facts.GrantsServed, err = l.Grants.List(ctx, reference.Namespace)
	return err == nil
}

func (l Lookups) cachedSnapshot(reference datasource.Reference, facts *datasource.Facts) bool {
	if l.Snapshots == nil || l.Contents == nil {
		return false
	}
	var err error
	facts.Snapshot, facts.SnapshotsServed, err = l.Snapshots.Get(reference.Namespace, reference.Name)
	if err != nil || !facts.SnapshotsServed {
		return false
	}
	if facts.Snapshot == nil || facts.Snapshot.Status == nil || facts.Snapshot.Status.BoundVolumeSnapshotContentName == nil {
		return true
	}
	var watched bool
	facts.Content, watched, err = l.Contents.Get(*facts.Snapshot.Status.BoundVolumeSnapshotContentName)
	return err == nil && watched
}

// cachedClaim: the API server gives every claim and volume a volume mode, so one without was trimmed and tells too little.
func (l Lookups) cachedClaim(reference datasource.Reference, facts *datasource.Facts) bool {
	claim, err := l.Claims.PersistentVolumeClaims(reference.Namespace).Get(reference.Name)
	if err != nil {
		return apierrors.IsNotFound(err)
	}
	facts.SourceClaim = claim
	if claim.Spec.VolumeName != "" {
		facts.SourceVolume = l.Volumes.Get(claim.Spec.VolumeName)
	}
	return claim.Spec.VolumeMode != nil && (facts.SourceVolume == nil || facts.SourceVolume.Spec.VolumeMode != nil)
}
