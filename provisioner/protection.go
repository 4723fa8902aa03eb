package provisioner

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/datasource"
)

// A source must not be deleted while a volume is made from it, so it carries a finalizer of ours meanwhile. It is put on when everything
// else about the claim is in order, right before the driver is asked, and taken off when the last claim that is to be made from the
// source has its volume or is gone.

// ReleaseInput is everything that decides whether a source still needs our finalizer.
type ReleaseInput struct {
	Driver  string           // ours
	Facts   datasource.Facts // of the source, read from the API server itself
	Kind    datasource.Kind
	Waiting int // claims that are to be made from it and have no volume yet
}

// protectedBy is the object that carries the finalizer of a kind of source, and the finalizer.
func protectedBy(kind datasource.Kind, facts datasource.Facts) (metav1.Object, string) {
	switch kind {
	case datasource.Snapshot:
		if facts.Snapshot != nil {
			return facts.Snapshot, datasource.FinalizerSnapshot
		}
	case datasource.Clone:
		if facts.SourceClaim != nil {
			return facts.SourceClaim, datasource.FinalizerClaim
		}
	case datasource.None, datasource.Populator:
	}
	return nil, ""
}

// MayRelease says whether our finalizer is to come off a source; if not, why. Other drivers use a finalizer of the same name: what is on their
// sources is theirs. A source that nobody can be made from any more, because what is behind it is gone, is let go.
func MayRelease(in ReleaseInput) (bool, string) {
	object, finalizer := protectedBy(in.Kind, in.Facts)
	switch {
	case object == nil:
		return false, "it is gone"
	case !slices.Contains(object.GetFinalizers(), finalizer):
		return false, "it is not protected"
	case in.Waiting > 0:
		return false, "claims wait to be made from it"
	}
	owner, known := driverOf(in)
	switch {
	case !known && object.GetDeletionTimestamp() == nil:
		return false, "nobody knows whose it is"
	case known && owner != in.Driver:
		return false, "it is another driver's"
	}
	return true, ""
}

// driverOf is the driver of what is behind a source.
func driverOf(in ReleaseInput) (driver string, known bool) {
	if in.Kind == datasource.Snapshot {
		if content := in.Facts.Content; content != nil {
			return content.Spec.Driver, true
		}
		return "", false
	}
	if pv := in.Facts.SourceVolume; pv != nil && pv.Spec.CSI != nil {
		return pv.Spec.CSI.Driver, true
	}
	return "", false
}
