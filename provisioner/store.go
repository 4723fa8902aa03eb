package provisioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/worker"
)

// store writes the volume's object. An object of that name that is there already is ours if it says so, not because of its name.
func (c *Controller) store(ctx context.Context, key ClaimKey, attempt *Attempt) worker.Result {
	c.storing.Add(1)
	defer c.storing.Add(-1)
	pv, err := newVolume(c.settings, attempt, attempt.Volume)
	if err != nil { // Conclude has made it once already
		attempt.Unwanted = err.Error()
		return worker.Backoff(err)
	}
	c.written.add(pv.Name, key.UID)
	writing, step := c.begin(ctx, stepStore)
	stored, err := c.write(writing, pv)
	step.end(err)
	if err != nil {
		c.written.seen(pv.Name, key.UID)
		attempt.maybeWritten = passing(err) && !errors.Is(err, errTaken)
		err = fmt.Errorf("volume %q exists in the driver, but PersistentVolume %q could not be written, will try again: %w",
			attempt.Volume.GetVolumeId(), pv.Name, err)
		if attempt.unwritten.IsZero() {
			attempt.unwritten = time.Now()
		}
		// An API server that restarts is nobody's concern, unless it takes long.
		if !attempt.maybeWritten || time.Since(attempt.unwritten) > patience {
			c.failed(attempt.Claim, attempt.labels(), err.Error())
		}
		return worker.Backoff(err)
	}
	c.settle(ctx, key, attempt)
	c.bindSoon(key, stored)
	return worker.After(cacheLag + time.Second) // a cache that misses all of a short life brings nobody back
}

// settle closes an attempt whose volume is stored.
func (c *Controller) settle(ctx context.Context, key ClaimKey, attempt *Attempt) {
	c.attempts.drop(key.UID)
	c.attempts.settled(key.UID)
	labels := attempt.labels()
	c.metrics.provisioned.WithLabelValues(labels.class, labels.source).Inc()
	c.metrics.provisionDuration.WithLabelValues(labels.class, labels.source).Observe(time.Since(attempt.began).Seconds())
	if claim, err := c.claimLister.PersistentVolumeClaims(key.Namespace).Get(key.Name); err == nil && claim.UID == key.UID {
		c.metrics.waited.WithLabelValues(labels.class).Observe(max(0, time.Since(claim.CreationTimestamp.Time)).Seconds())
	}
	c.event(attempt.Claim, corev1.EventTypeNormal, ReasonProvisioningSucceeded, "Successfully provisioned volume "+attempt.Template.Name)
	klog.FromContext(ctx).Info("Volume provisioned", "claim", key, "volume", attempt.Template.Name, "handle", attempt.Volume.GetVolumeId())
}

// errTaken is a definite answer: nothing of ours was written.
var errTaken = errors.New("an object of this name exists that is for another claim or volume")

// errLeaving: the object was written some time. The volume may have been used, so it is not ours to clean up any more.
var errLeaving = errors.New("its object exists already and is being deleted")

// write returns the object as it is stored.
func (c *Controller) write(ctx context.Context, pv *corev1.PersistentVolume) (*corev1.PersistentVolume, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stored, err := c.client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return stored, err
	}
	stored, err = c.client.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return nil, fmt.Errorf("an object of this name exists and could not be read: %w", err)
	case sameVolume(c.settings, stored, pv):
		return stored, nil
	case stored.DeletionTimestamp != nil && isFor(stored, pv.Spec.ClaimRef.UID):
		return nil, errLeaving
	}
	return nil, errTaken
}

// cleanUp deletes a volume that nobody wants and closes the attempt. This is rare, so it asks the API server itself first: a cache may
// not have seen the object that refers to the volume.
func (c *Controller) cleanUp(ctx context.Context, key ClaimKey, attempt *Attempt, why string) worker.Result {
	handle := attempt.Volume.GetVolumeId()
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stored, err := absent(c.client.CoreV1().PersistentVolumes().Get(call, attempt.Template.Name, metav1.GetOptions{}))
	if err != nil {
		return c.unknowing(attempt, fmt.Errorf("find out whether volume %q, which is to be deleted (%s), is stored: %w", handle, why, err))
	}
	if refersTo(c.settings, stored, handle) && isFor(stored, key.UID) {
		c.settle(ctx, key, attempt) // somebody stored it, and the cache has not seen it yet
		return worker.Done()
	}
	if refersTo(c.settings, stored, handle) {
		c.attempts.drop(key.UID)
		return worker.Backoff(fmt.Errorf("volume %q was to be deleted (%s) and is kept, because PersistentVolume %q refers to it", handle, why, stored.Name))
	}
	secrets, err := c.readSecret(ctx, attempt.Secret)
	if err != nil && !apierrors.IsNotFound(err) { // the secret may be gone with the claim's namespace; the driver may do without
		return c.unknowing(attempt, fmt.Errorf("read the secret for deleting volume %q (%s): %w", handle, why, err))
	}
	attempt.unread = time.Time{}
	attempt.condemned = why
	err = c.deleteInDriver(ctx, attempt.MigratedFrom != "", &csipb.DeleteVolumeRequest{VolumeId: handle, Secrets: secrets})
	outcome := csi.Classify(csi.DeleteVolume, err)
	c.metrics.outcomes.WithLabelValues("DeleteVolume", outcome.Class.String()).Inc()
	if outcome.Class != csi.Done {
		message := fmt.Sprintf("volume %q is to be deleted (%s), which failed, will try again: %s", handle, why, outcome)
		c.failed(attempt.Claim, attempt.labels(), message)
		return worker.Backoff(errors.New(message))
	}
	c.room.Deleted(csi.Segments(attempt.Volume.GetAccessibleTopology()))
	c.attempts.drop(key.UID)
	klog.FromContext(ctx).Info("Volume deleted again", "claim", key, "handle", handle, "why", why)
	if attempt.Unwanted == "" {
		return worker.Done()
	}
	c.failed(attempt.Claim, attempt.labels(), why+"; the volume was deleted again")
	return worker.BackoffAtLeast(rejectedDelay, errors.New(why))
}
