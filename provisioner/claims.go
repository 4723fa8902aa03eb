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
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/topology"
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

// gatherClaim reads caches, and the API server for a volume attributes class that they lack. Absence is a fact, a failed read an error.
func (c *Controller) gatherClaim(ctx context.Context, key ClaimKey) (Input, error) {
	in := Input{Settings: c.settings, Attempt: c.attempts.get(key.UID)}
	name := c.settings.VolumeName(key.UID)
	if in.Attempt != nil { // it may be of a leader with another --volume-name-prefix
		name = in.Attempt.Template.Name
	}
	var err error
	if claim, ok := c.written.by(name); ok && in.Attempt == nil {
		// Our own write, which the cache has not seen yet. It may be for another claim: names can be short.
		in.Stored = &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
		in.Stored.Spec.ClaimRef = &corev1.ObjectReference{UID: claim}
	} else if in.Stored, err = absent(c.volumeLister.Get(name)); err != nil {
		return in, fmt.Errorf("read volume %s: %w", name, err)
	}
	claim, err := absent(c.claimLister.PersistentVolumeClaims(key.Namespace).Get(key.Name))
	if err != nil {
		return in, fmt.Errorf("read claim %s: %w", key, err)
	}
	if claim != nil && claim.UID == key.UID {
		in.Claim = claim
	}
	if in.Attempt != nil { // settled: nothing else decides about it
		in.Referring, err = c.referring(in)
		return in, err
	}
	if in.Claim != nil && in.Stored == nil && c.attempts.isBereft(key.UID) {
		in.Claim, err = c.liveClaim(ctx, key)
	}
	if err != nil || in.Claim == nil {
		return in, err
	}
	if err := c.gatherClass(ctx, &in); err != nil {
		return in, err
	}
	in.Static = c.gatherStatic(in)
	if c.settings.Driver.Topology {
		in.Place = c.gatherPlace(in.Claim)
		in.Round = c.attempts.round(key.UID)
	}
	if attributes := attributesName(c.settings, in.Claim); attributes != "" && notOurs(in) == "" && in.Stored == nil {
		in.AttributesClass, err = c.attributesClass(ctx, attributes)
	}
	return in, err
}

// liveClaim reads a claim that had a volume whose object is gone. To the cache it waits for another one; but caches are not of the same age, and
// it may have been bound and deleted since. A volume of its name would be the one that it had, which people may keep.
func (c *Controller) liveClaim(ctx context.Context, key ClaimKey) (*corev1.PersistentVolumeClaim, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	claim, err := absent(c.client.CoreV1().PersistentVolumeClaims(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{}))
	switch {
	case err != nil:
		return nil, fmt.Errorf("find out whether claim %s still is there: %w", key, err)
	case claim == nil || claim.UID != key.UID:
		return nil, nil
	}
	return claim, nil
}

// gatherClass finds the claim's class. A cache that lacks it is not believed: when a class and its first claim are made together, the
// claim's event may come first.
func (c *Controller) gatherClass(ctx context.Context, in *Input) error {
	name := volumehelpers.GetPersistentVolumeClaimClass(in.Claim)
	class, err := absent(c.classLister.Get(name))
	if err == nil && class == nil && name != "" && notOurs(*in) == "" {
		ctx, cancel := context.WithTimeout(ctx, apiTimeout)
		defer cancel()
		class, err = absent(c.client.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{}))
	}
	if err != nil {
		return fmt.Errorf("read storage class %q: %w", name, err)
	}
	if in.Class, in.MigratedFrom, err = translateClass(c.settings, class); err != nil {
		in.ClassProblem = err.Error()
	}
	return nil
}

// absent makes nil of an object that is not found.
func absent[T any](object *T, err error) (*T, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

func (c *Controller) gatherPlace(claim *corev1.PersistentVolumeClaim) Place {
	node := selectedNode(claim)
	if node == "" {
		place := Place{Candidates: c.config.Topology.RegisteredSegments()}
		place.Rooms = c.room.Rooms(volumehelpers.GetPersistentVolumeClaimClass(claim))
		place.Hint, place.HintProblem = hintOf(claim, c.settings.Driver.Name)
		return place
	}
	selected, err := c.config.Topology.NodeSegment(node)
	if err != nil {
		return Place{SelectedErr: err}
	}
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	return Place{
		Selected:   selected,
		Candidates: c.config.Topology.LabelledSegments(selected),
		Full:       c.full.wait(volumehelpers.GetPersistentVolumeClaimClass(claim), selected, size.Value()),
	}
}

// hintOf reads a claim's topology hint. One that cannot be read does not keep the claim from its volume: admission refuses such hints, so this one came
// past it.
func hintOf(claim *corev1.PersistentVolumeClaim, driver string) (hint []topology.Segment, problem string) {
	text, ok := claim.Annotations[topology.HintKey(driver)]
	if !ok {
		return nil, ""
	}
	hint, err := topology.ParseHint(text)
	if err != nil {
		return nil, fmt.Sprintf("annotation %s is no topology hint and is ignored: %v", topology.HintKey(driver), err)
	}
	return hint, ""
}

// hintIgnored tells people, once, of a hint that cannot be read.
func (c *Controller) hintIgnored(in Input) {
	if in.Attempt == nil && in.Place.HintProblem != "" && c.announced.first(in.Claim.UID, "hint") {
		c.event(claimReference(in.Claim), corev1.EventTypeWarning, ReasonHintIgnored, in.Place.HintProblem)
	}
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
	c.reserve(key, attempt)
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
