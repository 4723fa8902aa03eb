package datasource

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

func clonesSupported(facts Facts) Verdict {
	if facts.Capabilities.Clone {
		return allow()
	}
	return deny(ReasonClonesNotSupported, fmt.Sprintf(
		"driver %s cannot clone volumes (it lacks the capability CLONE_VOLUME): make the claim again without a data source, "+
			"or with a class of another driver", facts.Driver))
}

func sourceExists(facts Facts) Verdict {
	if facts.SourceClaim != nil {
		return allow()
	}
	return unknown(ReasonSourceClaimNotFound, fmt.Sprintf("waiting for %s: it does not exist", facts.Reference))
}

func sourceBound(facts Facts) Verdict {
	source := facts.SourceClaim
	if source.Status.Phase == corev1.ClaimBound && source.Spec.VolumeName != "" {
		return allow()
	}
	return unknown(ReasonSourceClaimNotBound, fmt.Sprintf(
		"waiting for %s to be bound to a volume: it is %s", facts.Reference, cmp.Or(source.Status.Phase, corev1.ClaimPending)))
}

// sourceStays: other than a snapshot, a claim that is being deleted is not cloned any more even if our finalizer keeps it: that is there
// for the clones that were begun.
func sourceStays(facts Facts) Verdict {
	if facts.SourceClaim.DeletionTimestamp == nil {
		return allow()
	}
	return deny(ReasonSourceClaimDeleting, fmt.Sprintf("%s is being deleted: make the claim again from another one", facts.Reference))
}

// classesNamed: each has a class; they may differ. An empty name is one: a source that was bound by hand.
func classesNamed(facts Facts) Verdict {
	switch {
	case !volumehelpers.PersistentVolumeClaimHasClass(facts.SourceClaim):
		return deny(ReasonNoStorageClass, fmt.Sprintf(
			"%s has no storage class, and only claims with one can be cloned: make the claim again from another one", facts.Reference))
	case !volumehelpers.PersistentVolumeClaimHasClass(facts.Claim):
		return deny(ReasonNoStorageClass, fmt.Sprintf(
			"the claim has no storage class: set spec.storageClassName to a class of driver %s", facts.Driver))
	}
	return allow()
}

// sourceFits compares with what the source requested. Its volume may be larger; whether a clone may be smaller than that is up to the
// driver.
func sourceFits(facts Facts) Verdict {
	need, _ := storageRequest(facts.SourceClaim)
	return fits(facts, need, "request")
}

func volumeExists(facts Facts) Verdict {
	if facts.SourceVolume != nil {
		return allow()
	}
	return unknown(ReasonSourceVolumeNotFound, fmt.Sprintf("waiting for PersistentVolume %q, the volume of %s: it does not exist",
		facts.SourceClaim.Spec.VolumeName, facts.Reference))
}

func volumeOfDriver(facts Facts) Verdict {
	volume := facts.SourceVolume
	switch source := csiOf(volume); {
	case source == nil, source.VolumeHandle == "":
		return deny(ReasonSourceVolumeNotCSI, fmt.Sprintf(
			"PersistentVolume %q, the volume of %s, is not a CSI driver's, so it cannot be cloned: make the claim again from another one",
			volume.Name, facts.Reference))
	case source.Driver != facts.Driver:
		return deny(ReasonOtherDriver, fmt.Sprintf(
			"PersistentVolume %q, the volume of %s, is of driver %q, the claim's class of driver %q: "+
				"make the claim again with a class of the source's driver",
			volume.Name, facts.Reference, source.Driver, facts.Driver))
	}
	return allow()
}

// volumeMatches: both must name each other, or anyone who may write a claim's volume name could have another namespace's volume cloned.
func volumeMatches(facts Facts) Verdict {
	source, volume := facts.SourceClaim, facts.SourceVolume
	ref := volume.Spec.ClaimRef
	if ref != nil && ref.UID == source.UID && ref.Namespace == source.Namespace && ref.Name == source.Name {
		return allow()
	}
	if ref == nil {
		ref = &corev1.ObjectReference{}
	}
	return deny(ReasonSourceVolumeMismatch, fmt.Sprintf(
		"%s (UID %s) is bound to PersistentVolume %q, whose claim is %s/%s (UID %s): make the claim again from another one",
		facts.Reference, source.UID, volume.Name, ref.Namespace, ref.Name, ref.UID))
}

func volumeBound(facts Facts) Verdict {
	volume := facts.SourceVolume
	if volume.Status.Phase == corev1.VolumeBound {
		return allow()
	}
	return unknown(ReasonSourceVolumeNotBound, fmt.Sprintf("waiting for PersistentVolume %q, the volume of %s, to be Bound: it is %s",
		volume.Name, facts.Reference, cmp.Or(volume.Status.Phase, corev1.VolumePending)))
}

func csiOf(volume *corev1.PersistentVolume) *corev1.CSIPersistentVolumeSource {
	if volume == nil {
		return nil
	}
	return volume.Spec.CSI
}
