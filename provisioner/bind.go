package provisioner

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// BindInput is everything that decides about binding a claim to the volume that was made for it. Objects are read, never changed.
type BindInput struct {
	Settings Settings
	Claim    *corev1.PersistentVolumeClaim // nil: it does not exist (any more)
	Volume   *corev1.PersistentVolume      // the object that was stored for it; nil: there is none
	// ClaimWhole and VolumeWhole: the object is as the API server has it. What is cached lacks most fields (package kube).
	ClaimWhole, VolumeWhole bool

	Delayed     bool  // the claim's class waits for the scheduler to select a node
	Unreachable error // why the volume cannot be reached from the selected node; nil: it can, or none is selected

	Age       time.Duration // of the volume's object
	HeadStart time.Duration // how long the binder is given before we do its work
	Behind    bool          // the binder has not caught up with what it has to do about volumes
}

// BindAction is one step: Finished, LeaveBinding, AwaitBinder, ReadBinding, BindVolume, BindClaim or CompleteClaim.
//
//sumtype:decl
type BindAction interface{ bindAction() }

// Finished: claim and volume are bound to each other, or there is nothing to bind.
type Finished struct{}

// LeaveBinding leaves what is to be done, if anything, to the controller-manager's binder.
type LeaveBinding struct {
	Reason string // a label of berth_claims_left_to_binder_total
	Why    string
}

// AwaitBinder looks again after a while: the binder may do it first, or cannot know of the volume yet.
type AwaitBinder struct {
	For    time.Duration
	Reason string
}

// ReadBinding reads what the cache does not have of claim and volume.
type ReadBinding struct{}

// BindVolume gives the volume the phase Bound. Nothing else of it changes: it was stored with its claim's name and UID.
type BindVolume struct{}

// BindClaim names the volume in the claim's spec, with the two annotations that say who did it and that it is done.
type BindClaim struct{}

// CompleteClaim gives the claim its status: the phase Bound, and what the volume has.
type CompleteClaim struct{}

func (Finished) bindAction()      {}
func (LeaveBinding) bindAction()  {}
func (AwaitBinder) bindAction()   {}
func (ReadBinding) bindAction()   {}
func (BindVolume) bindAction()    {}
func (BindClaim) bindAction()     {}
func (CompleteClaim) bindAction() {}

// behindPause is how long to wait for a binder that is behind before looking again.
const behindPause = time.Second

// DecideBind says what is next. It is total, and level-based: what was done before, by whom, and what was heard of it does not matter.
//
// The order of the writes is the binder's own (volume, claim, claim's status). It matters: a volume whose phase is right costs the binder no
// write when it meets it, so its one worker for volumes does not fall behind; and a claim says that it is bound only once there is nothing left
// to do about the volume.
func DecideBind(in BindInput) BindAction {
	claim, pv := in.Claim, in.Volume
	if action := unbindable(in); action != nil {
		return action
	}
	if claim.Spec.VolumeName == pv.Name && claim.Status.Phase == corev1.ClaimBound && pv.Status.Phase == corev1.VolumeBound {
		return Finished{}
	}
	if claim.Spec.VolumeName == "" { // from here on the binder may be as fast
		switch {
		case in.Age < in.HeadStart:
			return AwaitBinder{For: in.HeadStart - in.Age, Reason: LeftBinderFaster}
		case in.Behind:
			return AwaitBinder{For: behindPause, Reason: LeftBinderBehind}
		}
	}
	if !in.VolumeWhole || !in.ClaimWhole && claim.Spec.VolumeName != "" {
		return ReadBinding{}
	}
	if claim.Spec.VolumeName == "" {
		if action := mismatch(in); action != nil {
			return action
		}
	} else if claim.Annotations[volumehelpers.AnnBindCompleted] == "" {
		return LeaveBinding{LeftBoundElsewhere, "somebody else has named the volume in the claim"}
	}
	switch {
	case pv.Status.Phase != corev1.VolumeBound:
		return BindVolume{}
	case claim.Spec.VolumeName == "":
		return BindClaim{}
	}
	return CompleteClaim{}
}

// unbindable says why claim and volume are not to be bound to each other, from what every cache knows; nil: nothing speaks against it.
func unbindable(in BindInput) BindAction {
	claim, pv := in.Claim, in.Volume
	switch {
	case pv == nil:
		return Finished{}
	case claim == nil:
		return LeaveBinding{LeftClaimGone, "the claim is gone"}
	case pv.DeletionTimestamp != nil:
		return LeaveBinding{LeftVolumeUnfit, "the volume is being deleted"}
	case !volumehelpers.IsVolumeBoundToClaim(pv, claim) || pv.Spec.ClaimRef.UID != claim.UID || !ownedBy(in.Settings, pv) || pv.Annotations[AnnotationProvisionedBy] == "":
		return LeaveBinding{LeftVolumeUnfit, "the volume was not made for this claim"}
	case claim.Spec.VolumeName != "" && claim.Spec.VolumeName != pv.Name:
		return LeaveBinding{LeftBoundElsewhere, fmt.Sprintf("the claim is bound to volume %q", claim.Spec.VolumeName)}
	case claim.Status.Phase == corev1.ClaimLost:
		return LeaveBinding{LeftLost, "the binder takes the volume for lost: it has not heard of it yet"}
	case claim.DeletionTimestamp != nil:
		return LeaveBinding{LeftClaimGone, "the claim is being deleted"}
	case pv.Status.Phase != "" && pv.Status.Phase != corev1.VolumePending && pv.Status.Phase != corev1.VolumeBound:
		return LeaveBinding{LeftVolumeUnfit, fmt.Sprintf("the volume is %s", pv.Status.Phase)}
	case claim.Spec.VolumeName != "":
		return nil
	case !assignedTo(claim, in.Settings):
		return LeaveBinding{LeftVolumeUnfit, "the claim is not assigned to this driver any more"}
	case in.Delayed && selectedNode(claim) == "":
		return LeaveBinding{LeftRescheduled, "no node is selected any more"}
	case in.Unreachable != nil:
		return LeaveBinding{LeftRescheduled, in.Unreachable.Error()}
	}
	return nil
}

// annotationPreResize on a volume says that the file system on it is smaller than the volume. The binder then takes the claim's capacity from
// there; volumes that were just made never have it.
const annotationPreResize = "volume.alpha.kubernetes.io/pre-resize-capacity"

// mismatch applies the conditions under which the binder finds a claim's own volume (FindMatchingVolume of component-helpers) and completes its
// status. A volume that the binder would not take is for it to complain about.
func mismatch(in BindInput) BindAction {
	claim, pv := in.Claim, in.Volume
	have, want := pv.Spec.Capacity[corev1.ResourceStorage], claim.Spec.Resources.Requests[corev1.ResourceStorage]
	var why string
	switch {
	case have.Cmp(want) < 0:
		why = "the volume is too small"
	case volumehelpers.CheckVolumeModeMismatches(&claim.Spec, &pv.Spec):
		why = "the volume has another mode"
	case deref(claim.Spec.VolumeAttributesClassName) != deref(pv.Spec.VolumeAttributesClassName):
		why = "the volume has another volume attributes class"
	case pv.Annotations[annotationPreResize] != "":
		why = "the volume's file system is being resized"
	default:
		return nil
	}
	return LeaveBinding{LeftVolumeUnfit, why}
}

func deref(name *string) string {
	if name == nil {
		return ""
	}
	return *name
}

// precondition is the part of a merge patch that makes it one of this version of this object: the API server answers Conflict if anything at
// all has happened to the object since. Everything that was decided on still holds where the patch succeeds.
type precondition struct {
	UID             string            `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Annotations     map[string]string `json:"annotations,omitempty"`
}

type bindVolumePatch struct {
	Metadata precondition `json:"metadata"`
	Status   struct {
		Phase corev1.PersistentVolumePhase `json:"phase"`
	} `json:"status"`
}

type bindClaimPatch struct {
	Metadata precondition `json:"metadata"`
	Spec     struct {
		VolumeName string `json:"volumeName"`
	} `json:"spec"`
}

type completeClaimPatch struct {
	Metadata precondition  `json:"metadata"`
	Status   completeClaim `json:"status"`
}

// completeClaim is what updateClaimStatus of the binder sets when a claim becomes Bound.
type completeClaim struct {
	Phase       corev1.PersistentVolumeClaimPhase   `json:"phase"`
	AccessModes []corev1.PersistentVolumeAccessMode `json:"accessModes"`
	Capacity    corev1.ResourceList                 `json:"capacity,omitempty"`
	// AttributesClass is left out where it is right already, which an API server without the field takes for granted.
	AttributesClass *string `json:"currentVolumeAttributesClassName,omitempty"`
}

func volumePatch(pv *corev1.PersistentVolume) bindVolumePatch {
	patch := bindVolumePatch{Metadata: precondition{UID: string(pv.UID), ResourceVersion: pv.ResourceVersion}}
	patch.Status.Phase = corev1.VolumeBound
	return patch
}

func claimPatch(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) bindClaimPatch {
	patch := bindClaimPatch{Metadata: precondition{UID: string(claim.UID), ResourceVersion: claim.ResourceVersion, Annotations: map[string]string{
		volumehelpers.AnnBindCompleted: "yes",
	}}}
	if _, ok := claim.Annotations[volumehelpers.AnnBoundByController]; !ok { // else it stays as it is
		patch.Metadata.Annotations[volumehelpers.AnnBoundByController] = "yes"
	}
	patch.Spec.VolumeName = pv.Name
	return patch
}

func statusPatch(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) completeClaimPatch {
	patch := completeClaimPatch{Metadata: precondition{UID: string(claim.UID), ResourceVersion: claim.ResourceVersion}}
	patch.Status = completeClaim{Phase: corev1.ClaimBound, AccessModes: pv.Spec.AccessModes}
	have, want := claim.Status.Capacity[corev1.ResourceStorage], pv.Spec.Capacity[corev1.ResourceStorage]
	if claim.Status.Capacity == nil || have.Cmp(want) != 0 {
		patch.Status.Capacity = pv.Spec.Capacity
	}
	if !equality.Semantic.DeepEqual(claim.Status.CurrentVolumeAttributesClassName, pv.Spec.VolumeAttributesClassName) {
		patch.Status.AttributesClass = pv.Spec.VolumeAttributesClassName
	}
	return patch
}
