package explain

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/provisioner/journal"
)

// Sight tells what came of looking for something. "It is not there" and "nobody knows" are different answers.
type Sight int

// The zero Sight is NotLooked: whether it is there does not matter to this claim.
const (
	NotLooked Sight = iota
	Seen
	Absent
	Hidden // looking failed; Facts.Unseen says how
)

// Look is what came of one read. Value is set if and only if it was seen.
type Look[T any] struct {
	Sight Sight
	Value T
	// Partial: of a list only the beginning was read, because there is too much of it.
	Partial bool
}

// Unseen is something that could not be looked at.
type Unseen struct {
	What      string
	Why       string
	Forbidden bool // for want of a permission
}

// Facts is everything that is said about a claim. Diagnose only reads it.
type Facts struct {
	Now             time.Time
	Namespace, Name string // of the claim that was asked for

	Claim   *corev1.PersistentVolumeClaim // nil: it does not exist
	Missing Missing                       // only then

	Class   Look[*storagev1.StorageClass] // the one that the claim names
	Classes []storagev1.StorageClass      // all, if the claim's is not there or it names none
	// Driver is the CSI name of the class's driver; empty: none is known, or volumes of the class are made by hand.
	Driver string
	// InTree is the name of the in-tree driver that the class is of, and that Driver took over; empty: none.
	InTree          string
	CSIDriver       Look[*storagev1.CSIDriver]
	AttributesClass Look[*storagev1.VolumeAttributesClass]
	// Source is what was found of the claim's data source. Without a claim's data source nobody looks.
	Source Look[datasource.Facts]
	// ContentHidden: the snapshot was read and its content could not be.
	ContentHidden bool

	Leases  Look[[]coordinationv1.Lease] // of the driver's name
	Journal Look[JournalFacts]

	Node    Look[map[string]string]              // labels of the selected node
	CSINode Look[*storagev1.CSINode]             // of the selected node
	Nodes   Look[[]NodeFacts]                    // all, for a claim without a selected node
	Rooms   Look[[]storagev1.CSIStorageCapacity] // published for the class

	Pods         Look[[]corev1.Pod]   // that use the claim
	Events       Look[[]corev1.Event] // on the claim
	VolumeEvents Look[[]corev1.Event] // on the volume
	// VolumeName is that of the claim's volume, or of the one that its provisioner would make.
	VolumeName  string
	Volume      Look[*corev1.PersistentVolume]
	Attachments Look[[]storagev1.VolumeAttachment] // of the volume, if it is to go

	Unseen []Unseen
}

// Missing helps with a claim that is not there.
type Missing struct {
	Namespace Look[*metav1.PartialObjectMetadata]
	Others    Look[[]string] // names of claims in that namespace
	Elsewhere Look[[]string] // namespaces that have a claim of that name
}

// NodeFacts is what places are made of.
type NodeFacts struct {
	Name       string
	Labels     map[string]string
	Registered bool // the driver is, in the CSINode
	Keys       []string
}

// JournalFacts is what the driver's journal says.
type JournalFacts struct {
	Where  string         // NAMESPACE/NAME of its first page; empty: there is none
	Entry  *journal.Entry // the claim's; nil: it has none
	Unread int            // entries that nobody can read
	Nodes  []string       // that have a journal of their own, in distributed mode
}
