package provisioner

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/topology"
)

// Input is everything that decides what to do about a claim. Objects are an informer's: they are read, never changed.
type Input struct {
	Settings Settings
	Claim    *corev1.PersistentVolumeClaim // nil: it does not exist (any more)
	Attempt  *Attempt                      // open attempt, nil if there is none
	Stored   *corev1.PersistentVolume      // the object of that name, whoever's it is; nil: none
	Class    *storagev1.StorageClass       // the claim's class; nil: it does not exist
	Place    Place
}

// Place is what is known about where the claim's volume may be; the zero value if the driver has no topology.
type Place struct {
	Selected    topology.Segment   // of the node that the scheduler selected
	SelectedErr error              // why there is no such segment; topology.ErrNodeGone: the node went away
	Candidates  []topology.Segment // where the volume could be, sorted and distinct
}

// Action is what to do about a claim now: Leave, Refuse, GiveBack, Create, Store, CleanUp or Settle.
//
//sumtype:decl
type Action interface{ action() }

// Leave does nothing until an event brings the claim back.
type Leave struct{ Why string }

// Refuse tells people why the claim cannot be provisioned as things are, and looks again later.
type Refuse struct {
	Message string
	Place   bool // for want of a place: a node that comes or changes may help
}

// GiveBack takes the selected node, which is gone, from the claim, so that the scheduler chooses again.
type GiveBack struct{ Message string }

// Create sends the attempt's request to the driver: for the first time, or again because its outcome is unknown.
type Create struct{ Attempt *Attempt }

// Store writes the object of a volume that exists.
type Store struct{ Attempt *Attempt }

// CleanUp deletes a volume that exists and that nobody wants.
type CleanUp struct {
	Attempt *Attempt
	Why     string
}

// Settle closes an attempt whose volume turns out to be stored.
type Settle struct{ Attempt *Attempt }

func (Leave) action()    {}
func (Refuse) action()   {}
func (GiveBack) action() {}
func (Create) action()   {}
func (Store) action()    {}
func (CleanUp) action()  {}
func (Settle) action()   {}

// Decide says what to do about a claim. It is total: every input has an answer.
func Decide(in Input) Action {
	if in.Attempt != nil {
		return decideOpen(in)
	}
	if in.Claim == nil {
		return Leave{"the claim is gone"}
	}
	if migrated(in.Claim, in.Settings.Driver.Name) {
		return Refuse{Message: "the claim's class is of an in-tree driver that was migrated to " + in.Settings.Driver.Name + ", which this version does not support: use a class of the CSI driver"}
	}
	if why := notOurs(in); why != "" {
		return Leave{why}
	}
	if in.Stored != nil {
		if !isFor(in.Stored, in.Claim.UID) {
			return Refuse{Message: fmt.Sprintf("PersistentVolume %q exists and is not for this claim: delete or rename it, or choose another --volume-name-prefix or a longer --volume-name-uuid-length", in.Stored.Name)}
		}
		return Leave{"its volume is stored already"}
	}
	return decideNew(in)
}

// decideOpen goes on with an attempt. Until its outcome is known nothing else happens to the claim, even if it is deleted: only the same
// request again can tell whether there is a volume. A volume that an object refers to, or may refer to, is never cleaned up: from
// then on the object's reclaim policy decides about it.
func decideOpen(in Input) Action {
	attempt, claim := in.Attempt, in.Claim
	if attempt.Volume == nil {
		return Create{attempt}
	}
	switch {
	case refersTo(in.Stored, in.Settings.Driver.Name, attempt.Volume.GetVolumeId()) && isFor(in.Stored, attempt.Claim.UID):
		return Settle{attempt}
	case attempt.Unwanted != "":
		return CleanUp{attempt, attempt.Unwanted}
	case claim != nil && claim.Spec.VolumeName == attempt.Template.Name:
		return Settle{attempt} // bound to the object that we wrote without hearing of it
	case attempt.maybeWritten:
		return Store{attempt}
	case claim == nil:
		return CleanUp{attempt, "the claim was deleted before its volume was stored"}
	case claim.DeletionTimestamp != nil:
		return CleanUp{attempt, "the claim is being deleted and its volume was not stored yet"}
	case claim.Spec.VolumeName != "":
		return CleanUp{attempt, fmt.Sprintf("the claim was bound to volume %q meanwhile", claim.Spec.VolumeName)}
	}
	return Store{attempt}
}

// notOurs says why a claim is none of our business, or not yet.
func notOurs(in Input) string {
	claim := in.Claim
	switch {
	case claim.Spec.VolumeName != "":
		return "it has a volume"
	case !assignedTo(claim, in.Settings.Driver.Name):
		return "it is not assigned to this driver"
	case claim.DeletionTimestamp != nil:
		return "it is being deleted"
	case in.Class != nil && in.Class.Provisioner != in.Settings.Driver.Name:
		return "its class belongs to another driver"
	case in.Class != nil && delayed(in.Class) && selectedNode(claim) == "":
		return "it waits for the scheduler to select a node"
	}
	return ""
}

// assignedTo reads the annotation by which the controller-manager, or our webhook, gives a claim to a driver. The key that
// came with Kubernetes 1.23 wins over the older one, even if they differ.
func assignedTo(claim *corev1.PersistentVolumeClaim, driver string) bool {
	provisioner, ok := claim.Annotations[volumehelpers.AnnStorageProvisioner]
	if !ok {
		provisioner = claim.Annotations[volumehelpers.AnnBetaStorageProvisioner]
	}
	return provisioner == driver
}

// migrated reports whether a claim belongs to an in-tree driver that the named CSI driver has taken over.
func migrated(claim *corev1.PersistentVolumeClaim, driver string) bool {
	return claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil &&
		claim.Annotations[AnnotationMigratedTo] == driver && !assignedTo(claim, driver)
}

// selectedNode is the node that the scheduler chose for the first Pod that uses the claim.
func selectedNode(claim *corev1.PersistentVolumeClaim) string {
	return claim.Annotations[volumehelpers.AnnSelectedNode]
}

func delayed(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// decideNew begins an attempt for a claim that is ours and has no volume.
func decideNew(in Input) Action {
	claim, class := in.Claim, in.Class
	if class == nil {
		return Refuse{Message: fmt.Sprintf("storage class %q does not exist: create it, or delete the claim and make it again with another class", volumehelpers.GetPersistentVolumeClaimClass(claim))}
	}
	switch {
	case claim.Spec.Selector != nil:
		return Refuse{Message: "the claim has a selector, which only fits volumes that exist already: remove spec.selector to have a volume created"}
	case claim.Spec.DataSource != nil, claim.Spec.DataSourceRef != nil:
		return Refuse{Message: "the claim has a data source, which this version cannot provision from"}
	case claim.Spec.VolumeAttributesClassName != nil && *claim.Spec.VolumeAttributesClassName != "":
		return Refuse{Message: fmt.Sprintf("the claim has volume attributes class %q, which this version does not support", *claim.Spec.VolumeAttributesClassName)}
	}
	node := selectedNode(claim)
	need, verdict := place(in, node)
	if verdict != nil {
		return verdict
	}
	attempt, err := seal(in.Settings, claim, class, node, need)
	if err != nil {
		return Refuse{Message: err.Error()}
	}
	return Create{attempt}
}

// place decides where the volume may be; the Action is nil if that could be decided.
func place(in Input, node string) (*topology.Requirement, Action) {
	if !in.Settings.Driver.Topology {
		return nil, nil
	}
	if node != "" && in.Place.SelectedErr != nil {
		if errors.Is(in.Place.SelectedErr, topology.ErrNodeGone) {
			return nil, GiveBack{fmt.Sprintf("selected node cannot be used: %v", in.Place.SelectedErr)}
		}
		return nil, Refuse{Message: fmt.Sprintf("selected node cannot be used: %v", in.Place.SelectedErr), Place: true}
	}
	need, err := topology.Require(topology.Need{
		ClaimName:  in.Claim.Name,
		Selected:   in.Place.Selected,
		Allowed:    topology.Allowed(in.Class.AllowedTopologies),
		Candidates: in.Place.Candidates,
		Strict:     in.Settings.StrictTopology,
		Immediate:  in.Settings.ImmediateTopology,
	})
	if err != nil {
		return nil, Refuse{Message: fmt.Sprintf("no place for the volume: %v", err), Place: true}
	}
	return need, nil
}
