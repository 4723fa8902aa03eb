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
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/worker"
)

// workClaim takes one claim one step on: gather, decide, act. After a step whose result decides anew (a volume was created) it gathers
// again, because a call to a driver takes long enough for anything to have happened meanwhile.
func (c *Controller) workClaim(ctx context.Context, key ClaimKey) worker.Result {
	in, err := c.gatherClaim(key)
	if err != nil {
		return worker.Backoff(err)
	}
	switch action := Decide(in).(type) {
	case Leave:
		klog.FromContext(ctx).V(4).Info("Claim left alone", "claim", key, "why", action.Why)
		return worker.Done()
	case Refuse:
		c.failed(in.Claim, claimReference(in.Claim), action.Message)
		return worker.Backoff(errors.New(action.Message))
	case GiveBack:
		return c.giveBack(ctx, claimReference(in.Claim), selectedNode(in.Claim), in.Class.Name, action.Message)
	case Create:
		return c.create(ctx, key, in.Claim, action.Attempt)
	case Store:
		return c.store(ctx, key, action.Attempt)
	case CleanUp:
		return c.cleanUp(ctx, key, action.Attempt, action.Why)
	}
	return worker.Done()
}

// gatherClaim reads caches. Absence is a fact, a failed read an error.
func (c *Controller) gatherClaim(key ClaimKey) (Input, error) {
	in := Input{Settings: c.settings, Attempt: c.attempts.get(key.UID)}
	claim, err := c.claimLister.PersistentVolumeClaims(key.Namespace).Get(key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return in, fmt.Errorf("read claim %s: %w", key, err)
	}
	if err != nil || claim.UID != key.UID {
		return in, nil
	}
	in.Claim = claim
	if name := c.settings.VolumeName(claim.UID); c.written.is(name, claim.UID) {
		// Our own write, which the cache has not seen yet.
		in.Stored = &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
		in.Stored.Spec.ClaimRef = &corev1.ObjectReference{UID: claim.UID}
	} else if in.Stored, err = c.volumeLister.Get(name); apierrors.IsNotFound(err) {
		in.Stored = nil
	} else if err != nil {
		return in, fmt.Errorf("read volume %s: %w", name, err)
	}
	class := volumehelpers.GetPersistentVolumeClaimClass(claim)
	if in.Class, err = c.classLister.Get(class); apierrors.IsNotFound(err) {
		in.Class = nil
	} else if err != nil {
		return in, fmt.Errorf("read storage class %q: %w", class, err)
	}
	if c.settings.Driver.Topology && in.Attempt == nil {
		in.Place = c.gatherPlace(selectedNode(claim))
	}
	return in, nil
}

func (c *Controller) gatherPlace(node string) Place {
	if node == "" {
		return Place{Candidates: c.config.Topology.RegisteredSegments()}
	}
	selected, err := c.config.Topology.NodeSegment(node)
	if err != nil {
		return Place{SelectedErr: err}
	}
	return Place{Selected: selected, Candidates: c.config.Topology.LabelledSegments(selected)}
}

// create sends the attempt's request and acts on what follows.
func (c *Controller) create(ctx context.Context, key ClaimKey, claim *corev1.PersistentVolumeClaim, attempt *Attempt) worker.Result {
	if attempt.began.IsZero() {
		attempt.began = time.Now()
	}
	c.attempts.put(key.UID, attempt)
	notice := time.AfterFunc(slowCall, func() {
		c.event(attempt.Claim, corev1.EventTypeNormal, ReasonProvisioning,
			fmt.Sprintf("driver %s is creating volume %s; that is taking longer than %s", c.settings.Driver.Name, attempt.Request.GetName(), slowCall))
	})
	volume, err := c.driver.CreateVolume(ctx, attempt.Request)
	notice.Stop()
	result := Result{Outcome: csi.Classify(csi.CreateVolume, err), Volume: volume}
	c.metrics.outcomes.WithLabelValues("CreateVolume", result.Outcome.Class.String()).Inc()

	switch step := Conclude(c.settings, attempt, result).(type) {
	case Accept:
		attempt.Volume = step.Volume
		return c.workClaim(ctx, key)
	case Reject:
		attempt.Volume, attempt.Unwanted = step.Volume, step.Message
		return c.workClaim(ctx, key)
	case Repeat:
		c.failed(claim, attempt.Claim, step.Message)
		return worker.Backoff(errors.New(step.Message))
	case Reschedule:
		c.attempts.drop(key.UID)
		return c.giveBack(ctx, attempt.Claim, attempt.SelectedNode, attempt.Class, step.Message)
	case Fail:
		c.attempts.drop(key.UID)
		c.failed(claim, attempt.Claim, step.Message)
		if step.Infeasible {
			return worker.BackoffAtLeast(infeasibleDelay, errors.New(step.Message))
		}
		return worker.Backoff(errors.New(step.Message))
	}
	return worker.Done()
}

// store writes the volume's object. An object of that name that is there already is ours if it says so, not because of its name.
func (c *Controller) store(ctx context.Context, key ClaimKey, attempt *Attempt) worker.Result {
	pv := newVolume(c.settings, attempt, attempt.Volume)
	c.written.add(pv.Name, key.UID)
	if err := c.write(ctx, pv); err != nil {
		c.written.seen(pv.Name)
		err = fmt.Errorf("volume %q exists in the driver, but PersistentVolume %q could not be written, will try again: %w",
			attempt.Volume.GetVolumeId(), pv.Name, err)
		if attempt.unwritten.IsZero() {
			attempt.unwritten = time.Now()
		}
		// An API server that restarts is nobody's concern, unless it takes long.
		if !passing(err) || time.Since(attempt.unwritten) > patience {
			c.failed(nil, attempt.Claim, err.Error())
		}
		return worker.Backoff(err)
	}
	c.attempts.drop(key.UID)
	c.metrics.provisioned.WithLabelValues(attempt.Class, "").Inc()
	c.metrics.provisionDuration.WithLabelValues(attempt.Class, "").Observe(time.Since(attempt.began).Seconds())
	c.event(attempt.Claim, corev1.EventTypeNormal, ReasonProvisioningSucceeded, "Successfully provisioned volume "+pv.Name)
	klog.FromContext(ctx).Info("Volume provisioned", "claim", key, "volume", pv.Name, "handle", attempt.Volume.GetVolumeId())
	return worker.Done()
}

func (c *Controller) write(ctx context.Context, pv *corev1.PersistentVolume) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	_, err := c.client.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	stored, err := c.client.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("an object of this name exists and could not be read: %w", err)
	case !sameVolume(stored, pv):
		return errors.New("an object of this name exists that is for another claim or volume, or is being deleted")
	}
	return nil
}

// cleanUp deletes a volume that nobody wants and closes the attempt.
func (c *Controller) cleanUp(ctx context.Context, key ClaimKey, attempt *Attempt, why string) worker.Result {
	handle := attempt.Volume.GetVolumeId()
	err := c.driver.DeleteVolume(ctx, &csipb.DeleteVolumeRequest{VolumeId: handle})
	outcome := csi.Classify(csi.DeleteVolume, err)
	c.metrics.outcomes.WithLabelValues("DeleteVolume", outcome.Class.String()).Inc()
	if outcome.Class != csi.Done {
		message := fmt.Sprintf("volume %q is to be deleted (%s), which failed, will try again: %s", handle, why, outcome)
		c.failed(nil, attempt.Claim, message)
		return worker.Backoff(errors.New(message))
	}
	c.attempts.drop(key.UID)
	klog.FromContext(ctx).Info("Volume deleted again", "claim", key, "handle", handle, "why", why)
	if attempt.Unwanted == "" {
		return worker.Done()
	}
	c.failed(nil, attempt.Claim, why+"; the volume was deleted again")
	return worker.Backoff(errors.New(why))
}

// failed tells people and metrics that a claim got no volume this time. claim is nil if only the reference is known.
func (c *Controller) failed(claim *corev1.PersistentVolumeClaim, about *corev1.ObjectReference, message string) {
	class := ""
	if claim != nil {
		class = volumehelpers.GetPersistentVolumeClaimClass(claim)
	} else if attempt := c.attempts.get(about.UID); attempt != nil {
		class = attempt.Class
	}
	c.metrics.provisionFailed.WithLabelValues(class, "").Inc()
	c.event(about, corev1.EventTypeWarning, ReasonProvisioningFailed, message)
}
