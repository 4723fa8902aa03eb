package webhook

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/berth-csi/berth/datasource"
)

// judgeRestore compares a claim with the snapshot's content. Whatever else is wrong with the snapshot has no say in that.
func judgeRestore(source datasource.Facts, requireMode bool) Result {
	if !source.PreventModeConversion {
		return Admit{Reason: ReasonModeKept}
	}
	verdict := datasource.CheckVolumeMode(source)
	switch verdict.Decision {
	case datasource.Unknown:
		return unchecked(Admit{Reason: verdict.Reason})
	case datasource.Deny:
		return Refuse{Reason: verdict.Reason, Message: verdict.Message + "; that takes the permission to update VolumeSnapshotContents"}
	case datasource.Allow:
	}
	content, want := source.Content, source.Claim.Spec.VolumeMode
	switch have := content.Spec.SourceVolumeMode; {
	case have == nil && requireMode && !anyMode(content.Annotations):
		return Refuse{Reason: ReasonModeUnknown, Message: fmt.Sprintf(
			"it is not known which volume mode %s was taken of, so the claim's, %s, cannot be compared with it: have whoever may update "+
				"VolumeSnapshotContents set spec.sourceVolumeMode of VolumeSnapshotContent %q, or its annotation %s to \"true\"",
			source.Reference, modeOf(source.Claim), content.Name, datasource.AnnotationAllowModeChange)}
	case have == nil:
		return unchecked(Admit{Reason: ReasonModeUnknown})
	case want == nil || *want == *have:
		return Admit{Reason: ReasonModeKept}
	default: // and permitted
		return Admit{
			Reason: ReasonModeConverted,
			Audit:  map[string]string{auditConverted: fmt.Sprintf("%s to %s, VolumeSnapshotContent %s", *have, *want, content.Name)},
			Warnings: []string{fmt.Sprintf("the volume mode is changed from %s to %s, as annotation %s of VolumeSnapshotContent %q permits",
				*have, *want, datasource.AnnotationAllowModeChange, content.Name)},
		}
	}
}

// anyMode reports whether a content permits volumes of another mode than its own.
func anyMode(annotations map[string]string) bool {
	permitted, err := strconv.ParseBool(annotations[datasource.AnnotationAllowModeChange])
	return err == nil && permitted
}

// judgeClone compares two claims: one that has no volume yet has its mode already, and gets none of another mode. Judge compares with the
// source's volume, as the provisioner does; that is the same for whoever got its volume in an honest way.
func judgeClone(source datasource.Facts, overall datasource.Verdict) Result {
	if overall.Decision == datasource.Deny && overall.Reason == datasource.ReasonVolumeModeDiffers {
		return Refuse{Reason: overall.Reason, Message: overall.Message}
	}
	if source.SourceClaim == nil {
		return unchecked(Admit{Reason: overall.Reason})
	}
	want, have := modeOf(source.Claim), modeOf(source.SourceClaim)
	if want == have {
		return Admit{Reason: ReasonModeKept}
	}
	return Refuse{Reason: datasource.ReasonVolumeModeDiffers, Message: fmt.Sprintf(
		"the claim's volume mode is %s, that of %s, which it is to be cloned from, is %s: make the claim with volume mode %s; "+
			"an annotation that permits another one exists for snapshots only", want, source.Reference, have, have)}
}

// modeOf: no mode is Filesystem. The API server fills it in.
func modeOf(claim *corev1.PersistentVolumeClaim) corev1.PersistentVolumeMode {
	return ptr.Deref(claim.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
}
