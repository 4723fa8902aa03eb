package datasource

import (
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
)

// Names that are stored in objects. They are the established provisioner's, because objects outlive whoever marked them.
const (
	// FinalizerSnapshot keeps a snapshot while a volume is being made from it.
	FinalizerSnapshot = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection"
	// FinalizerClaim keeps a claim while it is being cloned.
	FinalizerClaim = "provisioner.storage.kubernetes.io/cloning-protection"
	// AnnotationAllowModeChange on a snapshot's content permits volumes of another mode than the one it was taken of.
	AnnotationAllowModeChange = "snapshot.storage.kubernetes.io/allow-volume-mode-change"
)

// The kinds that this package knows.
const (
	kindSnapshot = "VolumeSnapshot"
	kindClaim    = "PersistentVolumeClaim"
)

// Kind says what a claim is made from. References are stored, so the numbers stay as they are.
type Kind int

const (
	// None: nothing, the volume is to be empty. It is the zero Kind.
	None Kind = iota
	// Snapshot: a VolumeSnapshot.
	Snapshot
	// Clone: another claim.
	Clone
	// Populator: an object of some other kind. A volume populator makes the volume; it is not ours to fill.
	Populator
)

// String is the form people read.
func (k Kind) String() string {
	switch k {
	case None:
		return "no data source"
	case Snapshot:
		return kindSnapshot
	case Clone:
		return kindClaim
	case Populator:
		return "volume populator"
	}
	return "invalid"
}

// Reference is a claim's data source, resolved. The zero Reference is that of a claim without one. It is comparable; what identifies the
// source, whoever refers to it, is its Key.
type Reference struct {
	Kind         Kind
	Namespace    string // of the source, always given
	Name         string
	Group        string // API group; empty: core
	ResourceKind string // as the claim gives it
	// CrossNamespace: spec.dataSourceRef gives the namespace. That takes the feature gate and, if it is not the claim's own, a grant.
	CrossNamespace bool
}

// Key identifies a source. Claims that are made from the same one have equal keys.
type Key struct {
	Kind            Kind
	Namespace, Name string
}

// Key returns what identifies the source.
func (r Reference) Key() Key { return Key{r.Kind, r.Namespace, r.Name} }

// String is the form people read: "VolumeSnapshot ns/name".
func (r Reference) String() string {
	if r.Kind != Populator {
		return r.Key().String()
	}
	kind := r.ResourceKind
	if r.Group != "" {
		kind += "." + r.Group
	}
	return kind + " " + r.Namespace + "/" + r.Name
}

// String is the form people read: "VolumeSnapshot ns/name".
func (k Key) String() string {
	if k.Kind == None {
		return k.Kind.String()
	}
	return k.Kind.String() + " " + k.Namespace + "/" + k.Name
}

// Resolve reads a claim's data source: spec.dataSource, or else spec.dataSourceRef, which alone may give a namespace. The API server keeps
// both the same where both are set. Any kind but the two that we know is a volume populator's. The verdict is Allow, and then the
// reference is complete, or Deny for a reference that nobody could follow; what it refers to is Judge's matter.
func Resolve(claim *corev1.PersistentVolumeClaim) (Reference, Verdict) {
	if claim == nil {
		return Reference{}, noClaim()
	}
	source, ok := given(claim)
	if !ok {
		return Reference{}, allow()
	}
	if source.Name == "" {
		return source, deny(ReasonInvalidDataSource, fmt.Sprintf(
			"the claim's data source of kind %q has no name: delete the claim and make it again with the source's name", source.ResourceKind))
	}
	switch {
	case source.ResourceKind == kindSnapshot && source.Group != snapshotv1.GroupName:
		return source, deny(ReasonInvalidDataSource, fmt.Sprintf(
			"the claim's data source %s %q is of API group %q: delete the claim and make it again with apiGroup %q",
			source.ResourceKind, source.Name, source.Group, snapshotv1.GroupName))
	case source.ResourceKind == kindSnapshot:
		source.Kind = Snapshot
	case source.ResourceKind == kindClaim && source.Group == corev1.GroupName:
		source.Kind = Clone
	}
	return source, allow()
}

// given returns the data source as the claim gives it, for the moment as a populator's.
func given(claim *corev1.PersistentVolumeClaim) (Reference, bool) {
	reference := Reference{Kind: Populator, Namespace: claim.Namespace}
	var group *string
	switch source, ref := claim.Spec.DataSource, claim.Spec.DataSourceRef; {
	case source != nil:
		group, reference.ResourceKind, reference.Name = source.APIGroup, source.Kind, source.Name
	case ref != nil:
		group, reference.ResourceKind, reference.Name = ref.APIGroup, ref.Kind, ref.Name
		if ref.Namespace != nil && *ref.Namespace != "" {
			reference.Namespace, reference.CrossNamespace = *ref.Namespace, true
		}
	default:
		return Reference{}, false
	}
	if group != nil {
		reference.Group = *group
	}
	return reference, true
}
