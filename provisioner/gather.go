package provisioner

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/topology"
)

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
	if in.Claim != nil && in.Stored == nil && c.attempts.isBereft(key.UID) && !untaken(c.settings, in.Claim) && !notThisNode(c.settings, in.Claim) {
		in.Claim, err = c.liveClaim(ctx, key)
	}
	if err != nil || in.Claim == nil {
		return in, err
	}
	if err := c.gatherClass(ctx, &in); err != nil {
		return in, err
	}
	in.Static = c.gatherStatic(in)
	in.Turn, in.Unattended = c.gatherTurn(in), c.gatherUnattended(in)
	if c.settings.Driver.Topology && !untaken(c.settings, in.Claim) && !notThisNode(c.settings, in.Claim) {
		in.Place = c.gatherPlace(in.Claim)
		in.Round = c.attempts.round(key.UID)
	}
	if attributes := attributesName(c.settings, in.Claim); attributes != "" && notOurs(in) == "" && in.Stored == nil && !untaken(c.settings, in.Claim) {
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
	if err == nil && class == nil && name != "" && notOurs(*in) == "" && !untaken(c.settings, in.Claim) { // which all nodes would ask for
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
	size, class := claim.Spec.Resources.Requests[corev1.ResourceStorage], volumehelpers.GetPersistentVolumeClaimClass(claim)
	return Place{
		Selected:   selected,
		Candidates: c.config.Topology.LabelledSegments(selected),
		NoRoom:     c.turned.may(claim.UID, selected) && !c.room.Fits(class, selected, size.Value()),
		Full:       c.full.wait(class, selected, size.Value()),
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
