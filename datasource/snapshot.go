package datasource

import (
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func snapshotsSupported(facts Facts) Verdict {
	if facts.Capabilities.Snapshot {
		return allow()
	}
	return deny(ReasonSnapshotsNotSupported, fmt.Sprintf(
		"driver %s cannot restore snapshots (it lacks the capability CREATE_DELETE_SNAPSHOT): make the claim again without a data source, "+
			"or with a class of another driver", facts.Driver))
}

func snapshotExists(facts Facts) Verdict {
	switch {
	case !facts.SnapshotsServed:
		return unknown(ReasonSnapshotsNotServed, fmt.Sprintf(
			"waiting for %s: the cluster has no such API: install the snapshot CRDs (%s)", facts.Reference, snapshotv1.SchemeGroupVersion))
	case facts.Snapshot == nil:
		return unknown(ReasonSnapshotNotFound, fmt.Sprintf("waiting for %s: it does not exist", facts.Reference))
	}
	return allow()
}

// snapshotStays: a snapshot that is being deleted is still good while our finalizer keeps it, which it got for this claim or another.
func snapshotStays(facts Facts) Verdict {
	snapshot := facts.Snapshot
	if snapshot.DeletionTimestamp == nil || slices.Contains(snapshot.Finalizers, FinalizerSnapshot) {
		return allow()
	}
	return deny(ReasonSnapshotDeleting, fmt.Sprintf("%s is being deleted: make the claim again from another snapshot", facts.Reference))
}

func snapshotBound(facts Facts) Verdict {
	if boundContent(facts.Snapshot) != "" {
		return allow()
	}
	return unknown(ReasonSnapshotNotBound, fmt.Sprintf(
		"waiting for %s to be bound to a VolumeSnapshotContent%s", facts.Reference, snapshotTrouble(facts.Snapshot)))
}

func contentExists(facts Facts) Verdict {
	if facts.Content != nil {
		return allow()
	}
	return unknown(ReasonContentNotFound, fmt.Sprintf("waiting for VolumeSnapshotContent %q, which %s is bound to: it does not exist%s",
		boundContent(facts.Snapshot), facts.Reference, snapshotTrouble(facts.Snapshot)))
}

// contentMatches: both must name each other, or anyone who may create a snapshot could have a content of another namespace restored.
func contentMatches(facts Facts) Verdict {
	snapshot, ref := facts.Snapshot, facts.Content.Spec.VolumeSnapshotRef
	if ref.UID == snapshot.UID && ref.Namespace == snapshot.Namespace && ref.Name == snapshot.Name {
		return allow()
	}
	return deny(ReasonContentMismatch, fmt.Sprintf(
		"%s (UID %s) is bound to VolumeSnapshotContent %q, which is bound to %s/%s (UID %s): make the claim again from another snapshot",
		facts.Reference, snapshot.UID, facts.Content.Name, ref.Namespace, ref.Name, ref.UID))
}

func contentOfDriver(facts Facts) Verdict {
	if facts.Content.Spec.Driver == facts.Driver {
		return allow()
	}
	return deny(ReasonOtherDriver, fmt.Sprintf(
		"%s (VolumeSnapshotContent %q) is of driver %q, the claim's class of driver %q: make the claim again with a class of the snapshot's driver",
		facts.Reference, facts.Content.Name, facts.Content.Spec.Driver, facts.Driver))
}

func snapshotReady(facts Facts) Verdict {
	if status := facts.Snapshot.Status; status != nil && status.ReadyToUse != nil && *status.ReadyToUse {
		return allow()
	}
	return unknown(ReasonSnapshotNotReady, fmt.Sprintf(
		"waiting for %s to be ready to use%s", facts.Reference, snapshotTrouble(facts.Snapshot)))
}

// snapshotNamed: the driver knows a snapshot by its handle (CSI spec, Snapshot.snapshot_id).
func snapshotNamed(facts Facts) Verdict {
	if handleOf(facts.Content) != "" {
		return allow()
	}
	return unknown(ReasonSnapshotHandleMissing, fmt.Sprintf("waiting for the snapshot handle of VolumeSnapshotContent %q, of %s%s",
		facts.Content.Name, facts.Reference, snapshotTrouble(facts.Snapshot)))
}

// snapshotFits: a volume is at least as large as the restore size. A snapshot that does not know it is left to the driver.
func snapshotFits(facts Facts) Verdict {
	status := facts.Snapshot.Status
	if status == nil || status.RestoreSize == nil {
		return allow()
	}
	return fits(facts, *status.RestoreSize, "restore size")
}

// fits compares what the claim asks for with what the source needs, in whole bytes, as the driver is asked for them.
func fits(facts Facts, need resource.Quantity, what string) Verdict {
	request, ok := storageRequest(facts.Claim)
	switch {
	case !ok:
		return deny(ReasonRequestTooSmall, fmt.Sprintf(
			"the claim requests no storage, the %s of %s is %s: make the claim again with at least that", what, facts.Reference, need.String()))
	case request.Value() < need.Value():
		return deny(ReasonRequestTooSmall, fmt.Sprintf(
			"the claim requests %s, less than the %s of %s, which is %s: make the claim again with at least that",
			request.String(), what, facts.Reference, need.String()))
	}
	return allow()
}

func storageRequest(claim *corev1.PersistentVolumeClaim) (resource.Quantity, bool) {
	request, ok := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	return request, ok
}

// boundContent is the name of a snapshot's content; empty: not bound.
func boundContent(snapshot *snapshotv1.VolumeSnapshot) string {
	if snapshot == nil || snapshot.Status == nil || snapshot.Status.BoundVolumeSnapshotContentName == nil {
		return ""
	}
	return *snapshot.Status.BoundVolumeSnapshotContentName
}

func handleOf(content *snapshotv1.VolumeSnapshotContent) string {
	if content == nil || content.Status == nil || content.Status.SnapshotHandle == nil {
		return ""
	}
	return *content.Status.SnapshotHandle
}

// snapshotTrouble is what a snapshot says of itself went wrong, to end a sentence with. Often that is what really has to be mended.
func snapshotTrouble(snapshot *snapshotv1.VolumeSnapshot) string {
	if snapshot.Status == nil || snapshot.Status.Error == nil || snapshot.Status.Error.Message == nil {
		return ""
	}
	return "; it reports: " + *snapshot.Status.Error.Message
}
