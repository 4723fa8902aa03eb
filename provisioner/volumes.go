package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/worker"
)

// volumeKey is the name of a PersistentVolume.
type volumeKey string

// workVolume takes one volume one step on.
func (c *Controller) workVolume(ctx context.Context, key volumeKey) worker.Result {
	in, err := c.gatherVolume(key)
	if err != nil {
		return worker.Backoff(err)
	}
	switch action := DecideVolume(in).(type) {
	case LeaveVolume:
		klog.FromContext(ctx).V(5).Info("Volume left alone", "volume", key, "why", action.Why)
		return worker.Done()
	case AddFinalizer:
		return c.keepUp(ctx, in.Volume, addFinalizer)
	case DropFinalizer:
		if !c.forgotten(in.Volume) {
			return worker.After(forgottenPause)
		}
		return c.keepUp(ctx, in.Volume, dropFinalizer)
	case AwaitDetach:
		if c.deletion.say(in.Volume.UID, action.Message) {
			c.event(volumeReference(in.Volume), corev1.EventTypeNormal, ReasonVolumeStillAttached, action.Message)
		}
		return worker.Done() // the last VolumeAttachment's deletion wakes it
	case RefuseVolume:
		return c.deleteFailed(in.Volume, action.Message)
	case DeleteVolume:
		return c.deleteVolume(ctx, in.Volume, action)
	case DeleteObject:
		return c.deleteObject(ctx, in.Volume)
	}
	return worker.Done()
}

// gatherVolume reads caches.
func (c *Controller) gatherVolume(key volumeKey) (VolumeInput, error) {
	in := VolumeInput{Settings: c.settings}
	pv, err := c.volumeLister.Get(string(key))
	if apierrors.IsNotFound(err) {
		return in, nil
	}
	if err != nil {
		return in, fmt.Errorf("read volume %s: %w", key, err)
	}
	in.Volume = pv
	in.Progress = c.deletion.progress(pv.UID)
	_, named := pv.Annotations[AnnotationDeletionSecretName]
	_, spaced := pv.Annotations[AnnotationDeletionSecretNamespace]
	if (!named || !spaced) && pv.Spec.StorageClassName != "" {
		if in.Class, err = absent(c.classLister.Get(pv.Spec.StorageClassName)); err != nil {
			return in, fmt.Errorf("read storage class %q: %w", pv.Spec.StorageClassName, err)
		}
	}
	if c.attachments == nil {
		return in, nil
	}
	attachments, err := c.attachments.GetIndexer().ByIndex(indexAttachmentsByVolume, string(key))
	if err != nil {
		return in, fmt.Errorf("read attachments of volume %s: %w", key, err)
	}
	for _, attachment := range attachments {
		if attachment, ok := attachment.(*storagev1.VolumeAttachment); ok {
			in.AttachedTo = append(in.AttachedTo, attachment.Spec.NodeName)
		}
	}
	slices.Sort(in.AttachedTo)
	return in, nil
}

// deleteVolume calls the driver once; a failure to delete the object afterwards does not call it again.
func (c *Controller) deleteVolume(ctx context.Context, pv *corev1.PersistentVolume, action DeleteVolume) worker.Result {
	began := time.Now()
	if gone, err := c.goneMeanwhile(ctx, pv); err != nil {
		return worker.Backoff(err)
	} else if gone {
		return worker.Done()
	}
	secrets, err := c.readSecret(ctx, action.Secret)
	if apierrors.IsNotFound(err) { // the driver may need it or not
		klog.FromContext(ctx).Info("The secret for deleting a volume does not exist, trying without", "volume", pv.Name,
			"secret", klog.KRef(action.Secret.Namespace, action.Secret.Name))
	} else if err != nil {
		return c.deleteFailed(pv, fmt.Sprintf("secret %q in namespace %q, which the driver needs to delete volume %q, could not be read: %v",
			action.Secret.Name, action.Secret.Namespace, action.Handle, err))
	}
	err = c.deleteInDriver(ctx, action.Migrated, &csipb.DeleteVolumeRequest{VolumeId: action.Handle, Secrets: secrets})
	outcome := csi.Classify(csi.DeleteVolume, err)
	c.metrics.outcomes.WithLabelValues("DeleteVolume", outcome.Class.String()).Inc()
	if outcome.Class != csi.Done {
		return c.deleteFailed(pv, fmt.Sprintf("the driver could not delete volume %q, will try again: %s", action.Handle, outcome))
	}
	c.deletion.advance(pv.UID, VolumeDeleted)
	c.room.Deleted(c.accessible(ctx, pv))
	result := c.deleteObject(ctx, pv)
	c.metrics.deleted.WithLabelValues(pv.Spec.StorageClassName).Inc()
	c.metrics.deleteDuration.WithLabelValues(pv.Spec.StorageClassName).Observe(time.Since(began).Seconds())
	return result
}

// freshTerm is how long after the start of a term caches are not trusted alone: a standby whose watch had broken may not have
// seen what the leader before it finished.
const freshTerm = 30 * time.Second

// goneMeanwhile asks the API server itself, in a fresh term, whether a released volume still is there.
func (c *Controller) goneMeanwhile(ctx context.Context, pv *corev1.PersistentVolume) (bool, error) {
	if time.Since(c.began) > freshTerm {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	live, err := absent(c.client.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{}))
	if err != nil {
		return false, fmt.Errorf("find out whether PersistentVolume %s still is there: %w", pv.Name, err)
	}
	return live == nil || live.UID != pv.UID, nil
}

// deleteObject deletes a volume's object and takes our finalizer off. Somebody else having done either is as good.
func (c *Controller) deleteObject(ctx context.Context, pv *corev1.PersistentVolume) worker.Result {
	if pv.DeletionTimestamp == nil {
		call, cancel := context.WithTimeout(ctx, apiTimeout)
		defer cancel()
		err := c.client.CoreV1().PersistentVolumes().Delete(call, pv.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pv.UID}})
		switch {
		case apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or another object of the same name
			c.objectDeleted(pv)
			return worker.Done()
		case err != nil:
			return worker.Backoff(fmt.Errorf("delete PersistentVolume %s, whose volume is deleted: %w", pv.Name, err))
		}
	}
	// Whether the cache shows the finalizer or not: we may just have added it.
	if result := c.patchFinalizer(ctx, pv, dropFinalizer); result.Retries() {
		return result
	}
	c.objectDeleted(pv)
	klog.FromContext(ctx).Info("Volume deleted", "volume", pv.Name, "uid", pv.UID)
	return worker.Done()
}

// objectDeleted remembers that our part is done, unless the object has left the cache already: then nothing would forget it.
func (c *Controller) objectDeleted(pv *corev1.PersistentVolume) {
	c.deletion.advance(pv.UID, ObjectDeleted)
	if cached, err := c.volumeLister.Get(pv.Name); err != nil || cached.UID != pv.UID {
		c.deletion.forget(pv.UID)
	}
}

// Strategic merge patches of one finalizer. The API server adds or removes this entry and no other, so a patch never conflicts
// with what another controller does to the list at the same time; the UID makes it a patch of this object only.
const (
	addFinalizer  = `{"metadata":{"uid":%q,"finalizers":[%q]}}`
	dropFinalizer = `{"metadata":{"uid":%q,"$deleteFromPrimitiveList/finalizers":[%q]}}`
)

// keepUp puts right the finalizer of a volume that stays, when its turn has come.
func (c *Controller) keepUp(ctx context.Context, pv *corev1.PersistentVolume, patch string) worker.Result {
	if wait := c.upkeep.wait(pv.UID); wait > 0 {
		return worker.After(wait)
	}
	return c.patchFinalizer(ctx, pv, patch)
}

func (c *Controller) patchFinalizer(ctx context.Context, pv *corev1.PersistentVolume, patch string) worker.Result {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	_, err := c.client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.StrategicMergePatchType,
		fmt.Appendf(nil, patch, pv.UID, FinalizerVolume), metav1.PatchOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		return worker.Done()
	}
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) { // another object of the same name, whose UID a patch cannot change?
		live, readErr := absent(c.client.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{}))
		if readErr == nil && (live == nil || live.UID != pv.UID) {
			return worker.Done()
		}
	}
	return worker.Backoff(fmt.Errorf("change the finalizer of PersistentVolume %s: %w", pv.Name, err))
}

func (c *Controller) deleteFailed(pv *corev1.PersistentVolume, message string) worker.Result {
	c.metrics.deleteFailed.WithLabelValues(pv.Spec.StorageClassName).Inc()
	c.event(volumeReference(pv), corev1.EventTypeWarning, ReasonVolumeFailedDelete, message)
	return worker.Backoff(errors.New(message))
}

func volumeReference(pv *corev1.PersistentVolume) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		Kind: "PersistentVolume", APIVersion: corev1.SchemeGroupVersion.String(),
		Name: pv.Name, UID: pv.UID, ResourceVersion: pv.ResourceVersion,
	}
}
