package provisioner

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/topology"
)

// Input is everything that decides what to do about a claim. Objects are an informer's: they are read, never changed.
type Input struct {
	Settings Settings
	Claim    *corev1.PersistentVolumeClaim // nil: it does not exist (any more)
	Attempt  *Attempt                      // open attempt, nil if there is none
	Stored   *corev1.PersistentVolume      // the object of that name, whoever's it is; nil: none
	// Referring is an object of any name, for whatever claim, that refers to the volume of a restored attempt whose claim has no use for it; nil:
	// none, or nobody looked because it does not matter.
	Referring *corev1.PersistentVolume
	Class     *storagev1.StorageClass // the claim's class, in CSI's terms; nil: it does not exist
	Place     Place

	// MigratedFrom is the in-tree driver of the class, which Class is a translation of; empty: it is the CSI driver's own.
	MigratedFrom string
	// ClassProblem says why the class could not be translated.
	ClassProblem string
	// AttributesClass is the claim's volume attributes class; nil: it does not exist, or the claim names none.
	AttributesClass *storagev1.VolumeAttributesClass
	// Source is what was found of the claim's data source; nil: nobody has looked yet.
	Source *datasource.Facts
	// Round is how many times the driver had no room in the segments that it was offered, or offered first.
	Round int
	// Static is a volume that exists for a claim with Immediate binding.
	Static StaticVolume
	// Turn is what decides about taking a claim that no node has taken, in distributed mode. Unattended is how long it is until this node looks after a
	// claim that is for another one.
	Turn       Turn
	Unattended time.Duration
}

// Place is what is known about where the claim's volume may be; the zero value if the driver has no topology.
type Place struct {
	Selected    topology.Segment   // of the node that the scheduler selected
	SelectedErr error              // why there is no such segment; topology.ErrNodeGone: the node went away
	Candidates  []topology.Segment // where the volume could be, sorted and distinct
	// Hint is where a claim with Immediate binding had better be, by its annotation. HintProblem says why that cannot be read; empty: it can, or there
	// is none.
	Hint        []topology.Segment
	HintProblem string
	// Rooms are what is known of the room for volumes of the claim's class; only for Immediate binding.
	Rooms []topology.Room
	// NoRoom: by all that is known there is no room in the selected segment, and the claim was not turned down there before.
	NoRoom bool
	// Full is how long the selected segment is to be left alone, because the driver has just said that it has no room there.
	Full time.Duration
}

// Action is what to do about a claim now: Leave, LeaveToPopulator, LeaveToBinder, Refuse, Postpone, GiveBack, TurnDown, LookUp, Create, Store, CleanUp or Settle;
// and in distributed mode, about a claim that no node has taken: AwaitTurn, AskRoom, TakeClaim or PassOn; about one that is for another node: AwaitTurn or LookForDriver.
//
//sumtype:decl
type Action interface{ action() }

// Leave does nothing until an event brings the claim back.
type Leave struct{ Why string }

// LeaveToPopulator leaves a claim to the volume populator that fills volumes from its kind of source, and says so.
type LeaveToPopulator struct{ Message string }

// LeaveToBinder leaves a claim, for a while, to the controller-manager's binder: there is a volume that it may bind the claim to.
type LeaveToBinder struct {
	Volume string
	For    time.Duration
}

// LookUp finds out about the claim's data source, for which everything else is in order; then it is decided again.
type LookUp struct{ Reference datasource.Reference }

// Refuse tells people why the claim cannot be provisioned as things are, and looks again later.
type Refuse struct {
	Message string
	Place   bool // for want of a place: a node that comes or changes may help
}

// Postpone looks again after a while, without a word: it was said already.
type Postpone struct{ For time.Duration }

// GiveBack takes the selected node, which is gone, from the claim, so that the scheduler chooses again.
type GiveBack struct{ Message string }

// TurnDown takes the selected node, where there is no room, from the claim, once the scheduler can know of that.
type TurnDown struct{ Message string }

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

func (Leave) action()            {}
func (LeaveToPopulator) action() {}
func (LeaveToBinder) action()    {}
func (Refuse) action()           {}
func (Postpone) action()         {}
func (GiveBack) action()         {}
func (TurnDown) action()         {}
func (LookUp) action()           {}
func (Create) action()           {}
func (Store) action()            {}
func (CleanUp) action()          {}
func (Settle) action()           {}

// Decide says what to do about a claim. It is total: every input has an answer.
func Decide(in Input) Action {
	if in.Attempt != nil {
		return decideOpen(in)
	}
	if in.Claim == nil {
		return Leave{"the claim is gone"}
	}
	if why := notForDriver(in); why != "" {
		return Leave{why}
	}
	if notThisNode(in.Settings, in.Claim) {
		return decideForeign(in)
	}
	if in.Stored != nil {
		if !isFor(in.Stored, in.Claim.UID) {
			return Refuse{Message: fmt.Sprintf("PersistentVolume %q exists and is not for this claim: delete or rename it, or choose another --volume-name-prefix or a longer --volume-name-uuid-length", in.Stored.Name)}
		}
		return Leave{"its volume is stored already"}
	}
	if untaken(in.Settings, in.Claim) {
		return decideUntaken(in)
	}
	return decideNew(in)
}

// decideOpen goes on with an attempt. Until its outcome is known nothing else happens to the claim, even if it is deleted: only the same
// request again can tell whether there is a volume. A volume that an object refers to, or may refer to, is never cleaned up: from
// then on the object's reclaim policy decides about it. That the claim names the object proves nothing: caches of claims and of volumes are not of
// the same age, and it may have been an object before, which is gone. Storing and cleaning up both find out.
func decideOpen(in Input) Action {
	attempt, claim := in.Attempt, in.Claim
	switch {
	case attempt.Volume == nil && storedHere(in.Settings, in.Stored, attempt.Claim.UID):
		return Settle{attempt} // by the leader before, whose attempt it is
	case attempt.Volume == nil:
		return Create{attempt}

	case refersTo(in.Settings, in.Stored, attempt.Volume.GetVolumeId()) && isFor(in.Stored, attempt.Claim.UID):
		return Settle{attempt}
	case in.Referring != nil:
		return Settle{attempt}
	case attempt.condemned != "":
		return CleanUp{attempt, attempt.condemned}
	case attempt.Unwanted != "":
		return CleanUp{attempt, attempt.Unwanted}
	case attempt.maybeWritten:
		return Store{attempt}
	case in.Stored != nil && isFor(in.Stored, attempt.Claim.UID) && in.Settings.whereIs(in.Stored) == elsewhere:
		return CleanUp{attempt, "the claim was given a volume on another node meanwhile"}
	case attempt.restored && keeps(attempt): // it may have been stored and used: then it is for people to delete
		return Store{attempt}
	case claim == nil:
		return CleanUp{attempt, "the claim was deleted before its volume was stored"}
	case claim.DeletionTimestamp != nil:
		return CleanUp{attempt, "the claim is being deleted and its volume was not stored yet"}
	case claim.Spec.VolumeName != "":
		return CleanUp{attempt, fmt.Sprintf("the claim was bound to volume %q meanwhile", claim.Spec.VolumeName)}
	case notThisNode(in.Settings, claim):
		return CleanUp{attempt, fmt.Sprintf("node %q was selected meanwhile, and its instance of the driver makes the volume", selectedNode(claim))}
	}
	return Store{attempt}
}

// keeps reports whether the volume's object is to keep the volume when its claim is gone.
func keeps(attempt *Attempt) bool {
	return attempt.Template.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete
}

// notOurs says why a claim is none of our business, or not yet.
func notOurs(in Input) string {
	if why := notForDriver(in); why != "" {
		return why
	}
	if notThisNode(in.Settings, in.Claim) {
		return fmt.Sprintf("it is for the driver's instance on node %q", selectedNode(in.Claim))
	}
	return ""
}

// notForDriver says why a claim is none of the driver's business, or not yet, on whatever node.
func notForDriver(in Input) string {
	claim := in.Claim
	switch {
	case claim.Spec.VolumeName != "":
		return "it has a volume"
	case !assignedTo(claim, in.Settings):
		return "it is not assigned to this driver"
	case claim.DeletionTimestamp != nil:
		return "it is being deleted"
	case in.Class != nil && in.Class.Provisioner != in.Settings.Driver.Name && in.MigratedFrom == "":
		return "its class belongs to another driver"
	case in.Class != nil && delayed(in.Class) && selectedNode(claim) == "":
		return "it waits for the scheduler to select a node"
	}
	return ""
}

// assignedTo reads the annotations by which the controller-manager, or our webhook, gives a claim to a driver. The key that came with
// Kubernetes 1.23 wins over the older one, even if they differ. A claim whose class is of an in-tree driver is assigned to that one, and
// is ours only if it says in a second annotation that it was migrated to us.
func assignedTo(claim *corev1.PersistentVolumeClaim, s Settings) bool {
	provisioner, ok := claim.Annotations[volumehelpers.AnnStorageProvisioner]
	if !ok {
		provisioner = claim.Annotations[volumehelpers.AnnBetaStorageProvisioner]
	}
	if s.InTree != "" && provisioner == s.InTree {
		return claim.Annotations[AnnotationMigratedTo] == s.Driver.Name
	}
	return provisioner == s.Driver.Name
}

// selectedNode is the node that the scheduler chose for the first Pod that uses the claim.
func selectedNode(claim *corev1.PersistentVolumeClaim) string {
	return claim.Annotations[volumehelpers.AnnSelectedNode]
}

func delayed(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// decideNew begins an attempt for a claim that is ours and has no volume. What can be decided from caches comes first; a claim's source,
// which costs reads of the API server, comes last.
func decideNew(in Input) Action {
	claim := in.Claim
	switch {
	case in.Class == nil:
		return Refuse{Message: fmt.Sprintf("storage class %q does not exist: create it, or delete the claim and make it again with another class", volumehelpers.GetPersistentVolumeClaimClass(claim))}
	case in.ClassProblem != "":
		return Refuse{Message: in.ClassProblem}
	case claim.Spec.Selector != nil:
		return Refuse{Message: "the claim has a selector, which only fits volumes that exist already: make the claim again without spec.selector to have a volume created"}
	}
	reference, verdict := datasource.Resolve(claim)
	if verdict.Decision == datasource.Deny {
		return Refuse{Message: verdict.Message}
	}
	if reference.Kind == datasource.Populator {
		return LeaveToPopulator{fmt.Sprintf("the claim is to be filled from %s: a volume populator for that kind is expected to provision its volume", reference)}
	}
	if left := in.Static.Left; in.Static.Name != "" && left < binderPatience {
		return LeaveToBinder{in.Static.Name, binderPatience - left}
	}
	if problem := attributesProblem(in); problem != "" {
		return Refuse{Message: problem}
	}
	need, action := place(in)
	if action != nil {
		return action
	}
	attempt, err := seal(in, need)
	if err != nil {
		return Refuse{Message: err.Error()}
	}
	if reference.Kind == datasource.None {
		return Create{attempt}
	}
	return decideSource(in, reference, attempt)
}

// decideSource judges the claim's source, once it was looked up. What no look could change is refused without.
func decideSource(in Input, reference datasource.Reference, attempt *Attempt) Action {
	var facts datasource.Facts
	if in.Source != nil {
		facts = *in.Source
	}
	facts.Claim, facts.Reference, facts.Driver = in.Claim, reference, in.Settings.Driver.Name
	facts.Capabilities = datasource.Capabilities{Snapshot: in.Settings.Driver.Snapshots, Clone: in.Settings.Driver.Clones}
	facts.CrossNamespace, facts.PreventModeConversion = in.Settings.CrossNamespace, in.Settings.PreventModeConversion
	verdict := datasource.Judge(facts)
	switch {
	case verdict.Decision == datasource.Deny:
		return Refuse{Message: verdict.Message}
	case in.Source == nil:
		return LookUp{reference}
	case verdict.Decision != datasource.Allow:
		return Refuse{Message: verdict.Message}
	}
	if pv := facts.SourceVolume; pv != nil && in.Settings.whereIs(pv) == elsewhere {
		return Refuse{Message: fmt.Sprintf("the claim is to be cloned from volume %q, which is on another node than %q, where this claim is to be: have its first Pod placed where that volume is, or make the claim again", pv.Name, in.Settings.Node.Name)}
	}
	source := datasource.SourceOf(facts)
	attempt.Source = reference
	attempt.Request.VolumeContentSource = csi.ContentSource(source.SnapshotHandle, source.VolumeHandle)
	return Create{attempt}
}

// attributesName is the name of the claim's volume attributes class; empty: none, or the gate is off.
func attributesName(s Settings, claim *corev1.PersistentVolumeClaim) string {
	if !s.AttributesClasses || claim.Spec.VolumeAttributesClassName == nil {
		return ""
	}
	return *claim.Spec.VolumeAttributesClassName
}

// attributesProblem says why the claim's volume attributes class will not do (KEP-3751).
func attributesProblem(in Input) string {
	name := attributesName(in.Settings, in.Claim)
	driver := in.Settings.Driver
	switch class := in.AttributesClass; {
	case name == "":
		return ""
	case !driver.Modify:
		return fmt.Sprintf("the claim has volume attributes class %q, but driver %s has no mutable parameters (capability MODIFY_VOLUME): make the claim again without spec.volumeAttributesClassName", name, driver.Name)
	case class == nil:
		return fmt.Sprintf("volume attributes class %q does not exist: create it, or make the claim again with another one in spec.volumeAttributesClassName", name)
	case class.DriverName != driver.Name:
		return fmt.Sprintf("volume attributes class %q is of driver %s, not of %s: make the claim again with one of this driver in spec.volumeAttributesClassName", name, class.DriverName, driver.Name)
	}
	return ""
}

// order is the order in which segments are tried for Immediate binding, by the room they have; nil: nothing is known.
func order(in Input, allowed []topology.Segment) []topology.Segment {
	if selectedNode(in.Claim) != "" || len(in.Place.Rooms) == 0 {
		return nil
	}
	wish := topology.Wish{ClaimName: in.Claim.Name, Segments: in.Place.Candidates, Hint: in.Place.Hint, Rooms: in.Place.Rooms}
	if allowed != nil {
		wish.Segments = allowed
	}
	size := in.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	wish.Bytes = size.Value()
	return topology.Order(wish)
}

// place decides where the volume may be; the Action is nil if that could be decided.
func place(in Input) (*topology.Requirement, Action) {
	if !in.Settings.Driver.Topology {
		return nil, nil
	}
	if selectedNode(in.Claim) != "" && in.Place.SelectedErr != nil {
		message := fmt.Sprintf("selected node cannot be used: %v", in.Place.SelectedErr)
		if errors.Is(in.Place.SelectedErr, topology.ErrNodeGone) {
			return nil, GiveBack{message}
		}
		return nil, Refuse{Message: message, Place: true}
	}
	if in.Place.NoRoom {
		return nil, TurnDown{noRoomLeft(selectedNode(in.Claim))}
	}
	if in.Place.Full > 0 {
		return nil, Postpone{in.Place.Full}
	}
	allowed := topology.Allowed(in.Class.AllowedTopologies)
	need, err := topology.Require(topology.Need{
		ClaimName:  in.Claim.Name,
		Selected:   in.Place.Selected,
		Allowed:    allowed,
		Candidates: in.Place.Candidates,
		Order:      order(in, allowed),
		Strict:     in.Settings.StrictTopology || !in.Settings.Node.IsZero(), // a driver's instance on a node makes volumes nowhere else
		Immediate:  in.Settings.ImmediateTopology,
		Limit:      in.Settings.TopologyLimit,
		Round:      in.Round,
		Hint:       in.Place.Hint,
	})
	if err != nil {
		return nil, Refuse{Message: fmt.Sprintf("no place for the volume: %v", err), Place: true}
	}
	return need, nil
}
