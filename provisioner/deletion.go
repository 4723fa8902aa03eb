package provisioner

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// VolumeInput is everything that decides what to do about a PersistentVolume.
type VolumeInput struct {
	Settings Settings
	Volume   *corev1.PersistentVolume // nil: it does not exist (any more)
	// Progress is what this process has done about it already.
	Progress Progress
	// SecretByClass: the volume does not say whether deleting it needs a secret, and its class names one.
	SecretByClass bool
	// AttachedTo are the nodes that VolumeAttachments name for it, sorted.
	AttachedTo []string
}

// VolumeAction is what to do about a PersistentVolume now: LeaveVolume, AddFinalizer, DropFinalizer, AwaitDetach, RefuseVolume,
// DeleteVolume or DeleteObject.
//
//sumtype:decl
type VolumeAction interface{ volumeAction() }

// LeaveVolume does nothing until an event brings the volume back.
type LeaveVolume struct{ Why string }

// AddFinalizer protects an object whose volume is to be deleted with it.
type AddFinalizer struct{}

// DropFinalizer takes the protection away, because the volume is to stay.
type DropFinalizer struct{}

// AwaitDetach waits until no node has the volume attached.
type AwaitDetach struct{ Message string }

// RefuseVolume tells people why the volume cannot be deleted as things are.
type RefuseVolume struct{ Message string }

// DeleteVolume asks the driver to delete the volume, then deletes the object.
type DeleteVolume struct{ Handle string }

// DeleteObject deletes the object of a volume that the driver has deleted.
type DeleteObject struct{}

func (LeaveVolume) volumeAction()   {}
func (AddFinalizer) volumeAction()  {}
func (DropFinalizer) volumeAction() {}
func (AwaitDetach) volumeAction()   {}
func (RefuseVolume) volumeAction()  {}
func (DeleteVolume) volumeAction()  {}
func (DeleteObject) volumeAction()  {}

// DecideVolume says what to do about a PersistentVolume. It is total.
func DecideVolume(in VolumeInput) VolumeAction {
	pv := in.Volume
	if pv == nil {
		return LeaveVolume{"it is gone"}
	}
	if migratedVolume(pv, in.Settings.Driver.Name) {
		if pv.Status.Phase == corev1.VolumeReleased && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
			return RefuseVolume{fmt.Sprintf("PersistentVolume %q is of an in-tree driver that was migrated to %s, which this version does not support: delete the volume by hand", pv.Name, in.Settings.Driver.Name)}
		}
		return LeaveVolume{"it was migrated, and is not to be deleted"}
	}
	if !ownedBy(pv, in.Settings.Driver.Name) {
		return LeaveVolume{"it belongs to another driver"}
	}
	switch in.Progress {
	case VolumeDeleted:
		return DeleteObject{}
	case ObjectDeleted:
		return LeaveVolume{"it is deleted, and its object goes as soon as nobody else holds it"}
	case NotDeleted:
	}
	protected := slices.Contains(pv.Finalizers, FinalizerVolume)
	if pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		if protected {
			return DropFinalizer{}
		}
		return LeaveVolume{"its reclaim policy keeps it"}
	}
	switch {
	case pv.Status.Phase == corev1.VolumeBound && !protected && pv.DeletionTimestamp == nil:
		return AddFinalizer{}
	case pv.Status.Phase != corev1.VolumeReleased:
		return LeaveVolume{"it is not released"}
	case !protected && pv.DeletionTimestamp != nil:
		return LeaveVolume{"somebody else is deleting its object"}
	}
	return decideReleased(in)
}

func decideReleased(in VolumeInput) VolumeAction {
	pv := in.Volume
	switch {
	case pv.Spec.CSI == nil || pv.Spec.CSI.VolumeHandle == "":
		return RefuseVolume{fmt.Sprintf("PersistentVolume %q has no CSI volume handle: delete the volume by hand", pv.Name)}
	case pv.Annotations[AnnotationDeletionSecretName] != "":
		return RefuseVolume{fmt.Sprintf("PersistentVolume %q needs a secret to be deleted (annotation %s), which this version does not support", pv.Name, AnnotationDeletionSecretName)}
	case in.SecretByClass:
		return RefuseVolume{fmt.Sprintf("PersistentVolume %q needs the secret that its class %q names to be deleted, which this version does not support", pv.Name, pv.Spec.StorageClassName)}
	case len(in.AttachedTo) > 0:
		return AwaitDetach{fmt.Sprintf("the volume is deleted as soon as it is detached from %s", strings.Join(in.AttachedTo, ", "))}
	}
	return DeleteVolume{pv.Spec.CSI.VolumeHandle}
}

// ownedBy reports whether a volume is for this driver to delete: one that it provisioned, or one that an administrator made for it by
// hand (no annotation, but the driver's name in its source).
func ownedBy(pv *corev1.PersistentVolume, driver string) bool {
	if by, ok := pv.Annotations[AnnotationProvisionedBy]; ok {
		return by == driver && pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver
	}
	return pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver
}

// migratedVolume reports whether a volume belongs to an in-tree driver that the named CSI driver has taken over.
func migratedVolume(pv *corev1.PersistentVolume, driver string) bool {
	return pv.Spec.CSI == nil && pv.Annotations[AnnotationMigratedTo] == driver
}
