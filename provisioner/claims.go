package provisioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/worker"
)

// workClaim takes one claim one step on: gather, decide, act. After a step whose result decides anew (a volume was created) it gathers
// again, because a call to a driver takes long enough for anything to have happened meanwhile.
func (c *Controller) workClaim(ctx context.Context, key ClaimKey) worker.Result {
	in, err := c.gatherClaim(ctx, key)
	if err != nil {
		return c.unread(in.Claim, err)
	}
	result := c.act(ctx, key, in)
	if c.attempts.get(key.UID) == nil {
		c.letGo(key.UID)
		c.room.Released(key.UID)
	}
	return result
}

// unread tries again when something could not be read. A missing permission does not mend itself, so the claim is told.
func (c *Controller) unread(claim *corev1.PersistentVolumeClaim, err error) worker.Result {
	if claim != nil && apierrors.IsForbidden(err) {
		c.failed(claimReference(claim), metricLabels(claim), fmt.Sprintf("not allowed to find out about the claim, have it granted to the provisioner's service account: %v", err))
	}
	return worker.Backoff(err)
}

// act decides and does it.
func (c *Controller) act(ctx context.Context, key ClaimKey, in Input) worker.Result {
	decided := c.decide(ctx, in)
	refused, _ := decided.(Refuse)
	c.placeless.set(key, refused.Place)
	c.noteLeft(key, in, decided)
	c.noteTurn(key, in)
	switch action := decided.(type) {
	case Leave:
		klog.FromContext(ctx).V(4).Info("Claim left alone", "claim", key, "why", action.Why)
		return worker.Done()
	case LeaveToPopulator:
		if c.announced.first(key.UID, "populator") {
			c.event(claimReference(in.Claim), corev1.EventTypeNormal, ReasonProvisioning, action.Message)
		}
		return worker.Done()
	case LeaveToBinder:
		klog.FromContext(ctx).V(2).Info("Claim left to the controller-manager, which may bind it to a volume that exists", "claim", key, "volume", action.Volume, "for", action.For)
		return c.leaveToBinder(key, in, action)
	case Refuse:
		c.failed(claimReference(in.Claim), metricLabels(in.Claim), action.Message)
		return worker.Backoff(errors.New(action.Message))
	case Postpone:
		return worker.After(action.For)
	case GiveBack:
		return c.giveBackGone(ctx, in, action.Message)
	case TurnDown:
		c.turned.note(key.UID, in.Place.Selected)
		if !c.settings.Node.IsZero() {
			c.turns.next(key.UID) // the others first
		}
		c.room.Tell(ctx, in.Class.Name, in.Place.Selected)
		return c.giveBack(ctx, claimReference(in.Claim), selectedNode(in.Claim), in.Class.Name, action.Message)
	case AwaitTurn:
		return worker.After(action.For)
	case AskRoom:
		return c.askRoom(ctx, key, in)
	case TakeClaim:
		return c.take(ctx, key, in.Claim)
	case PassOn:
		return c.passOn(ctx, key, action.Why)
	case LookForDriver:
		return c.lookForDriver(ctx, key, in, action.Node)
	case LookUp:
		return c.lookUp(ctx, key, action.Reference)
	case Create:
		c.passOver(in)
		c.hintIgnored(in)
		return c.create(ctx, key, action.Attempt, in.Source)
	case Settle:
		c.settle(ctx, key, action.Attempt)
		return worker.Done()
	case Store:
		return c.store(ctx, key, action.Attempt)
	case CleanUp:
		return c.cleanUp(ctx, key, action.Attempt, action.Why)
	}
	return worker.Done()
}

// noteRoom remembers whether the driver had room where the scheduler placed the Pod, and tells the scheduler if not. Which segment that was, the
// node tells today.
func (c *Controller) noteRoom(ctx context.Context, attempt *Attempt, room bool) {
	if attempt.SelectedNode == "" || c.config.Topology == nil {
		return
	}
	segment, err := c.config.Topology.NodeSegment(attempt.SelectedNode)
	switch {
	case err != nil: // the node is gone, so nobody will ask for it
	case room:
		c.full.clear(attempt.Class, segment)
	default:
		bytes := attempt.Request.GetCapacityRange().GetRequiredBytes()
		c.full.note(attempt.Class, segment, bytes)
		c.room.Exhausted(ctx, attempt.Class, segment, bytes)
	}
}

// create sends the attempt's request and acts on what follows. source is what was found of the claim's source when a new attempt was
// decided.
func (c *Controller) create(ctx context.Context, key ClaimKey, attempt *Attempt, source *datasource.Facts) worker.Result {
	if !c.attempts.put(key.UID, attempt) {
		message := fmt.Sprintf("volume %q is being created for another claim; give --volume-name-uuid-length more digits", attempt.Request.GetName())
		c.failed(attempt.Claim, attempt.labels(), message)
		return worker.Backoff(errors.New(message))
	}
	if !c.reserve(key, attempt) {
		c.attempts.drop(key.UID)
		return c.turnDown(ctx, key, attempt)
	}
	secrets, err := c.createSecrets(ctx, attempt)
	if err == nil && attempt.began.IsZero() {
		err = c.protect(ctx, attempt.Source, source)
	}
	if err == nil && attempt.began.IsZero() {
		err = c.record(ctx, attempt)
	}
	if err != nil {
		if attempt.began.IsZero() { // the driver knows nothing of it: to be decided anew
			c.attempts.drop(key.UID)
		}
		if apierrors.IsConflict(err) { // somebody else changed the source since it was read: another claim, most likely
			return worker.After(releasePause)
		}
		c.failed(attempt.Claim, attempt.labels(), err.Error())
		return worker.Backoff(err)
	}
	if attempt.began.IsZero() && c.overtaken(key, attempt) {
		c.attempts.drop(key.UID)
		return c.workClaim(ctx, key)
	}
	if attempt.began.IsZero() {
		attempt.began = time.Now()
	}
	volume, err := c.call(ctx, attempt, secrets)
	result := Result{Outcome: csi.Classify(csi.CreateVolume, err), Volume: volume}
	c.metrics.outcomes.WithLabelValues("CreateVolume", result.Outcome.Class.String()).Inc()

	switch step := Conclude(c.settings, attempt, result).(type) {
	case Accept:
		c.noteRoom(ctx, attempt, true)
		attempt.Volume = step.Volume
		c.created(key, step.Volume)
		return c.workClaim(ctx, key)
	case Reject:
		c.created(key, step.Volume)
		attempt.Volume, attempt.Unwanted = step.Volume, step.Message
		return c.workClaim(ctx, key)
	case Repeat:
		attempt.unsure = true
		c.failed(attempt.Claim, attempt.labels(), step.Message)
		return worker.BackoffRegardless(errors.New(step.Message))
	case Reschedule:
		c.noteRoom(ctx, attempt, false)
		c.attempts.drop(key.UID)
		if !c.settings.Node.IsZero() {
			c.turns.next(key.UID) // the others first
		}
		return c.giveBack(ctx, attempt.Claim, attempt.SelectedNode, attempt.Class, step.Message)
	case Fail:
		c.attempts.drop(key.UID)
		if step.NoRoom {
			c.attempts.nextRound(key.UID)
		}
		c.failed(attempt.Claim, attempt.labels(), step.Message)
		if step.Infeasible {
			return worker.BackoffAtLeast(min(infeasibleDelay, c.config.BackoffMax), errors.New(step.Message))
		}
		return worker.Backoff(errors.New(step.Message))
	}
	return worker.Done()
}

// call sends the attempt's request. People are told when the driver takes its time over it, which begins when the call's turn has come: while it waits
// for that (csi.Limit) the driver knows nothing of it.
func (c *Controller) call(ctx context.Context, attempt *Attempt, secrets map[string]string) (*csipb.Volume, error) {
	var notice *time.Timer
	defer func() {
		if notice != nil {
			notice.Stop()
		}
	}()
	ctx, step := c.begin(ctx, stepCreate)
	worker.Pause(ctx) // for its turn
	defer worker.Resume(ctx)
	sent := csi.WhenSent(csi.Migrated(ctx, attempt.MigratedFrom != ""), func() {
		worker.Resume(ctx)
		notice = time.AfterFunc(slowCall, func() {
			c.event(attempt.Claim, corev1.EventTypeNormal, ReasonProvisioning,
				fmt.Sprintf("driver %s is creating volume %s; that is taking longer than %s", c.settings.Driver.Name, attempt.Request.GetName(), slowCall))
		})
	})
	volume, err := c.driver.CreateVolume(sent, csi.WithSecrets(attempt.Request, secrets))
	step.end(err)
	return volume, err
}

// deleteInDriver calls the driver when its turn has come.
func (c *Controller) deleteInDriver(ctx context.Context, migrated bool, request *csipb.DeleteVolumeRequest) error {
	worker.Pause(ctx) // for its turn
	defer worker.Resume(ctx)
	return c.driver.DeleteVolume(csi.WhenSent(csi.Migrated(ctx, migrated), func() { worker.Resume(ctx) }), request)
}

// unknowing tries a clean-up again for which something could not be read. An API server that restarts is nobody's concern; if it takes long people are
// told of a volume that is left over meanwhile.
func (c *Controller) unknowing(attempt *Attempt, err error) worker.Result {
	if attempt.unread.IsZero() {
		attempt.unread = time.Now()
	}
	if time.Since(attempt.unread) > patience {
		c.failed(attempt.Claim, attempt.labels(), "cannot delete a volume that nobody wants, will try again: "+err.Error())
	}
	return worker.Backoff(err)
}

// failed tells people and metrics that a claim got no volume this time.
func (c *Controller) failed(about *corev1.ObjectReference, labels claimLabels, message string) {
	c.metrics.provisionFailed.WithLabelValues(labels.class, labels.source).Inc()
	c.event(about, corev1.EventTypeWarning, ReasonProvisioningFailed, message)
}
