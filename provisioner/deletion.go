package provisioner

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// VolumeInput is everything that decides what to do about a PersistentVolume.
type VolumeInput struct {
	Settings Settings
	Volume   *corev1.PersistentVolume // nil: it does not exist (any more)
	// Progress is what this process has done about it already.
	Progress Progress
	// Class is the volume's class, which only matters for a volume that does not say whether deleting it needs a secret; nil: it does not
	// exist.
	Class *storagev1.StorageClass
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
type DeleteVolume struct {
	Handle   string
	Secret   *corev1.SecretReference // for the driver; nil: none
	Migrated bool                    // the object is an in-tree one
}

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
	if !ownedBy(in.Settings, pv) {
		return LeaveVolume{"it belongs to another driver"}
	}
	switch in.Settings.whereIs(pv) {
	case here:
	case elsewhere:
		return LeaveVolume{"it is on another node, whose instance looks after it"}
	case nowhere:
		return LeaveVolume{"it does not say which node it is on (spec.nodeAffinity), so no node's instance deletes it"}
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
	source := sourceOf(in.Settings, pv)
	if source == nil || source.Driver != in.Settings.Driver.Name || source.VolumeHandle == "" {
		return RefuseVolume{fmt.Sprintf("PersistentVolume %q has no volume handle of driver %s: delete the volume by hand, then remove finalizer %s", pv.Name, in.Settings.Driver.Name, FinalizerVolume)}
	}
	secret, err := deletionSecret(pv, in.Class)
	switch {
	case err != nil:
		return RefuseVolume{fmt.Sprintf("PersistentVolume %q needs a secret to be deleted that its class %q does not name properly: %v; set annotations %s and %s on the volume",
			pv.Name, pv.Spec.StorageClassName, err, AnnotationDeletionSecretName, AnnotationDeletionSecretNamespace)}
	case len(in.AttachedTo) > 0:
		return AwaitDetach{fmt.Sprintf("the volume is deleted as soon as it is detached from %s", strings.Join(in.AttachedTo, ", "))}
	}
	return DeleteVolume{Handle: source.VolumeHandle, Secret: secret, Migrated: pv.Spec.CSI == nil}
}

// deletionSecret is the secret for deleting a volume: the one that its annotations name, where empty means none; without the annotations,
// as on volumes of long ago or made by hand, the one that its class names today.
func deletionSecret(pv *corev1.PersistentVolume, class *storagev1.StorageClass) (*corev1.SecretReference, error) {
	name, named := pv.Annotations[AnnotationDeletionSecretName]
	namespace, spaced := pv.Annotations[AnnotationDeletionSecretNamespace]
	if named && spaced {
		if name == "" || namespace == "" {
			return nil, nil
		}
		return &corev1.SecretReference{Name: name, Namespace: namespace}, nil
	}
	if class == nil || pv.Spec.ClaimRef == nil {
		return nil, nil
	}
	return resolveSecret(secretProvisioner, class.Parameters, secretTokens{
		volume: pv.Name, namespace: pv.Spec.ClaimRef.Namespace, claim: pv.Spec.ClaimRef.Name,
	})
}

// ownedBy reports whether a volume is for this driver to delete: one that it provisioned, one that an administrator made for it by hand
// (no annotation, but the driver's name in its source), or one of the in-tree driver that it took over.
func ownedBy(s Settings, pv *corev1.PersistentVolume) bool {
	if pv.Spec.CSI != nil {
		by, ok := pv.Annotations[AnnotationProvisionedBy]
		return pv.Spec.CSI.Driver == s.Driver.Name && (!ok || by == s.Driver.Name)
	}
	return s.InTree != "" &&
		(pv.Annotations[AnnotationProvisionedBy] == s.InTree || pv.Annotations[AnnotationMigratedTo] == s.Driver.Name)
}
