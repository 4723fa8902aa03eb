package webhook

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/datasource"
)

// ValidateFacts is all that decides what Validate says of a claim. Objects may be an informer's: they are read, never changed.
type ValidateFacts struct {
	Driver                string // CSI name
	CrossNamespace        bool   // feature gate CrossNamespaceVolumeDataSource
	PreventModeConversion bool   // --prevent-volume-mode-conversion
	RequireSourceMode     bool   // a snapshot whose volume mode is not known cannot be restored

	Old   *corev1.PersistentVolumeClaim // before an update; nil: the claim is being created
	Class *storagev1.StorageClass       // the claim's class; nil: it has none, or that is not known
	// Source is what was found of the claim's data source, as datasource.Reader gathers it; nil: it could not be read.
	Source *datasource.Facts
}

// Validate decides whether a claim may be made from its data source, as far as its volume mode goes, by the rules of package datasource:
//
//	no source, or not ours to make        admit
//	not found, not ready, not bound       admit, and say so: it may have been created in any order
//	in another namespace, not permitted   admit, and say nothing about it
//	of another driver, larger, ...        admit, and say that provisioning will refuse it
//	same volume mode                      admit
//	another one, permitted by annotation  admit, say so, and leave a trace in the audit log
//	another one                           refuse
//	not known                             admit; with RequireSourceMode: refuse
//
// A claim is refused only for what nobody could mend later: claim and source keep their modes. On an update, which names the class of a
// claim that had none, a refusal is a warning: it is the controller-manager's update, and it would repeat it for ever.
func Validate(claim *corev1.PersistentVolumeClaim, facts ValidateFacts) Result {
	if reason := unjudged(claim, facts.Old, facts.Class, facts.Driver); reason != "" {
		return Admit{Reason: reason}
	}
	result := judge(claim, facts)
	if refusal, ok := result.(Refuse); ok && facts.Old != nil {
		return warning(refusal.Reason, "provisioning will refuse this claim: "+refusal.Message)
	}
	return result
}

// unjudged says why there is nothing to validate about a claim.
func unjudged(claim, old *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, driver string) string {
	reference, _ := datasource.Resolve(claim)
	switch {
	case claim.DeletionTimestamp != nil:
		return ReasonDeleting
	case reference == (datasource.Reference{}):
		return ReasonNoSource
	case class == nil:
		return ReasonClassUnknown
	case class.Provisioner != driver:
		return ReasonOtherProvisioner
	case !settlesClass(old, claim):
		return ReasonNothingNew
	}
	return ""
}

func judge(claim *corev1.PersistentVolumeClaim, facts ValidateFacts) Result {
	reference, verdict := datasource.Resolve(claim)
	switch {
	case verdict.Decision != datasource.Allow:
		return refusedLater(verdict)
	case reference.Kind == datasource.Populator:
		return Admit{Reason: ReasonNoSource}
	case facts.Source == nil:
		return unchecked(warning(ReasonSourceUnreadable, "the volume mode of "+reference.String()+" was not checked: it could not be read"))
	}
	source := *facts.Source
	source.Claim, source.Reference, source.Driver = claim, reference, facts.Driver
	source.CrossNamespace, source.PreventModeConversion = facts.CrossNamespace, facts.PreventModeConversion
	source.Capabilities = datasource.Capabilities{Snapshot: true, Clone: true} // for the provisioner, which knows the driver
	overall := datasource.Judge(source)
	if hidden(overall) { // before anything of the source is looked at
		return unchecked(refusedLater(overall))
	}
	var mode Result
	if reference.Kind == datasource.Snapshot {
		mode = judgeRestore(source, facts.RequireSourceMode)
	} else {
		mode = judgeClone(source, overall)
	}
	admitted, ok := mode.(Admit)
	if !ok || overall.Decision == datasource.Allow {
		return mode
	}
	later := refusedLater(overall)
	later.Audit = admitted.Audit
	later.Warnings = append(admitted.Warnings, later.Warnings...)
	return later
}

// hidden: the verdict is about the source's namespace, so the user may not learn anything of what is in it.
func hidden(verdict datasource.Verdict) bool {
	switch verdict.Reason {
	case datasource.ReasonCrossNamespaceDisabled, datasource.ReasonNotGranted, datasource.ReasonGrantsNotServed:
		return true
	}
	return false
}

// refusedLater admits what provisioning waits for, or will refuse, and says so. Where other namespaces' objects may be named in the
// verdict's message, or what is in them, the words are our own.
func refusedLater(verdict datasource.Verdict) Admit {
	const refused = "provisioning will refuse this claim: "
	switch {
	case verdict.Reason == datasource.ReasonCrossNamespaceDisabled:
		return warning(verdict.Reason, refused+verdict.Message)
	case hidden(verdict):
		return warning(verdict.Reason, "the data source is in another namespace, which has to permit that with a ReferenceGrant: "+
			"no volume is created before it does")
	case verdict.Reason == datasource.ReasonContentMismatch, verdict.Reason == datasource.ReasonSourceVolumeMismatch:
		return warning(verdict.Reason, refused+"its data source and what that is bound to do not refer to each other")
	case verdict.Decision == datasource.Unknown:
		return warning(verdict.Reason, verdict.Message)
	}
	return warning(verdict.Reason, refused+verdict.Message)
}

// unchecked has the audit log remember that a claim was let in whose volume mode nobody compared.
func unchecked(admitted Admit) Admit {
	admitted.Audit = map[string]string{auditUnchecked: admitted.Reason}
	return admitted
}
