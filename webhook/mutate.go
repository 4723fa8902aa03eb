package webhook

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/topology"
)

// MutateFacts is all that decides what Mutate does with a claim. Objects may be an informer's: they are read, never changed.
type MutateFacts struct {
	Driver         string // CSI name
	InTree         string // in-tree driver that it took over; empty: none
	Topology       bool   // the driver has topology: hints make sense
	CrossNamespace bool   // feature gate CrossNamespaceVolumeDataSource

	Old      *corev1.PersistentVolumeClaim // before an update; nil: the claim is being created
	SpreadBy string                        // tells claims apart: the name, or while there is none anything else of its own
	Class    *storagev1.StorageClass       // the claim's class; nil: it has none, or that is not known
	// Volumes are those that might be in play: of the class without a claim, or reserved for the claim's name.
	Volumes []*corev1.PersistentVolume
	Rooms   []topology.Room    // published for the class, distinct, in order of segments; none: nothing is known
	Source  []topology.Segment // where the claim's data source is; none: it has none, or that is not known
}

// Mutate decides what to write to a claim: when it is created, and when an update gives it its class.
//
// Both keys of the provisioner's annotation are written if the class is this driver's and no volume that exists is in play, because then
// the controller-manager would write the same a little later (setClaimProvisioner, which leaves alone what it finds written). Wherever it
// might come to another conclusion the claim is left to it. The selected node is the scheduler's to write.
//
// A topology hint that somebody wrote is kept if it can be read, and refused otherwise. That is done here and not in Validate: it concerns
// every claim of the driver, whereas a validating webhook for restores and clones alone can be made mandatory at little risk. A hint is a
// preference, so what another webhook makes of it afterwards needs no check.
func Mutate(claim *corev1.PersistentVolumeClaim, facts MutateFacts) Result {
	switch {
	case claim.DeletionTimestamp != nil:
		return Admit{Reason: ReasonDeleting}
	case facts.Class == nil && volumehelpers.GetPersistentVolumeClaimClass(claim) == "":
		return Admit{Reason: ReasonNoClass}
	case facts.Class == nil:
		return Admit{Reason: ReasonClassUnknown}
	case facts.Class.Provisioner != facts.Driver:
		return leaveToOther(claim, facts)
	}
	if refusal := invalidHint(claim, facts); refusal != nil {
		return *refusal
	}
	if !settlesClass(facts.Old, claim) {
		return Admit{Reason: ReasonNothingNew}
	}
	warnings := append(sourceDropped(claim, facts), hintIgnored(claim, facts)...)
	if reason := notDynamic(claim, facts); reason != "" {
		return Admit{Reason: reason, Warnings: warnings}
	}
	result := annotate(claim, facts)
	result.Warnings = append(result.Warnings, warnings...)
	return result
}

// leaveToOther: the class is not ours. Another webhook may have changed the class after we had annotated the claim, which calls us again;
// then what we wrote is taken back. The controller-manager writes our name for a class of the in-tree driver that we took over.
func leaveToOther(claim *corev1.PersistentVolumeClaim, facts MutateFacts) Result {
	if facts.InTree != "" && facts.Class.Provisioner == facts.InTree {
		return Admit{Reason: ReasonInTree}
	}
	var changes []Change
	for _, key := range provisionerKeys() {
		if facts.Old == nil && claim.Annotations[key] == facts.Driver {
			changes = append(changes, Change{Key: key, Remove: true})
		}
	}
	if changes == nil {
		return Admit{Reason: ReasonOtherProvisioner}
	}
	return Admit{Reason: ReasonAnnotationRemoved, Changes: changes}
}

// provisionerKeys are the annotations that give a claim to a driver. Some tools read the older one only.
func provisionerKeys() [2]string {
	return [2]string{volumehelpers.AnnStorageProvisioner, volumehelpers.AnnBetaStorageProvisioner}
}

// settlesClass reports whether a claim gets its class now: it is being created, or the update names one where there was none, as the
// controller-manager does once there is a default class.
func settlesClass(old, claim *corev1.PersistentVolumeClaim) bool {
	return old == nil || volumehelpers.GetPersistentVolumeClaimClass(old) == "" && volumehelpers.GetPersistentVolumeClaimClass(claim) != ""
}

// notDynamic says why the claim's volume may be one that exists, or will be somebody else's work.
func notDynamic(claim *corev1.PersistentVolumeClaim, facts MutateFacts) string {
	reference, verdict := datasource.Resolve(claim)
	switch {
	case claim.Spec.VolumeName != "":
		return ReasonVolumeNamed
	case claim.Spec.Selector != nil:
		return ReasonSelector
	case verdict.Decision != datasource.Allow:
		return verdict.Reason
	case reference.Kind == datasource.Populator:
		return datasource.ReasonVolumePopulator
	case inPlay(claim, facts.Volumes):
		return ReasonStaticVolume
	}
	return ""
}

// annotate writes what is not there yet.
func annotate(claim *corev1.PersistentVolumeClaim, facts MutateFacts) Admit {
	result := Admit{Reason: ReasonAnnotated}
	for _, key := range provisionerKeys() {
		if claim.Annotations[key] != facts.Driver {
			result.Changes = append(result.Changes, Change{Key: key, Value: facts.Driver})
		}
	}
	if !fit(claim.Annotations, result.Changes) {
		return Admit{Reason: ReasonAnnotationsFull}
	}
	hint, full := chooseHint(claim, facts)
	if full {
		result.Warnings = append(result.Warnings, fmt.Sprintf(
			"no place of storage class %q is known to have room for this claim: provisioning may have to wait", facts.Class.Name))
	}
	if hinted := append(result.Changes, Change{Key: topology.HintKey(facts.Driver), Value: hint}); hint != "" && fit(claim.Annotations, hinted) {
		result.Reason, result.Changes = ReasonAnnotatedWithHint, hinted
	}
	if len(result.Changes) == 0 {
		result.Reason = ReasonAlreadyAnnotated
	}
	return result
}

// maxAnnotations is how many bytes all annotations of an object may have (apimachinery, TotalAnnotationSizeLimitB). Beyond it the API server
// refuses the object, and the user would be told off for what we added.
const maxAnnotations = 256 << 10

// fit reports whether the API server accepts the annotations once they are changed.
func fit(have map[string]string, changes []Change) bool {
	size := 0
	for key, value := range have {
		size += len(key) + len(value)
	}
	for _, change := range changes {
		size += len(change.Key) + len(change.Value) // no less than what is added, as one that is there may be replaced
	}
	return size <= maxAnnotations
}

// sourceDropped warns of what the user could not know: the API server drops a data source with a namespace after this review and before any
// other, if its feature gate is off, so nobody else can tell.
func sourceDropped(claim *corev1.PersistentVolumeClaim, facts MutateFacts) []string {
	ref := claim.Spec.DataSourceRef
	if facts.CrossNamespace || ref == nil || ref.Namespace == nil || *ref.Namespace == "" {
		return nil
	}
	return []string{"spec.dataSourceRef.namespace takes the feature gate CrossNamespaceVolumeDataSource: " +
		"an API server that has it off drops spec.dataSourceRef, and the volume will be empty"}
}
