package datasource

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// CheckVolumeMode is the rule that a volume made from a snapshot has the mode of the volume that the snapshot was taken of (KEP-3141), and
// no other. It is for early feedback: where there is nothing to compare yet the verdict is Unknown, and so it is where the
// snapshot's content is another's or another driver's, which is Judge's to deny.
func CheckVolumeMode(facts Facts) Verdict {
	if facts.Reference.Kind != Snapshot || !facts.PreventModeConversion {
		return allow()
	}
	verdict := first(facts, []Check{claimKnown, snapshotExists, snapshotBound, contentExists, contentMatches, contentOfDriver})
	if verdict.Decision != Allow {
		verdict.Decision = Unknown
		return verdict
	}
	return modeKept(facts)
}

// modeKept compares what is known: a claim or a content without a mode has no opinion. Some file system drivers cannot tell a damaged
// file system from a raw device, so only who may change contents, an administrator, may permit another mode.
func modeKept(facts Facts) Verdict {
	content, want := facts.Content, facts.Claim.Spec.VolumeMode
	if !facts.PreventModeConversion || content.Spec.SourceVolumeMode == nil || want == nil || *content.Spec.SourceVolumeMode == *want {
		return allow()
	}
	value, ok := content.Annotations[AnnotationAllowModeChange]
	permitted, err := strconv.ParseBool(value)
	problem := "is " + strconv.Quote(value)
	switch {
	case !ok:
		problem = "is missing"
	case err != nil:
		problem += ", which is not a boolean"
	case permitted:
		return allow()
	}
	return deny(ReasonVolumeModeDiffers, fmt.Sprintf(
		"the claim's volume mode is %s, %s was taken of a %s volume, and annotation %s of VolumeSnapshotContent %q %s: "+
			"make the claim again with volume mode %s, or have an administrator set the annotation to \"true\"",
		*want, facts.Reference, *content.Spec.SourceVolumeMode, AnnotationAllowModeChange, content.Name, problem,
		*content.Spec.SourceVolumeMode))
}

// modeSame: a clone has its source's mode, and nothing permits another. No mode is Filesystem.
func modeSame(facts Facts) Verdict {
	want, have := modeOf(facts.Claim.Spec.VolumeMode), modeOf(facts.SourceVolume.Spec.VolumeMode)
	if want == have {
		return allow()
	}
	return deny(ReasonVolumeModeDiffers, fmt.Sprintf(
		"the claim's volume mode is %s, that of PersistentVolume %q, the volume of %s, is %s: make the claim again with volume mode %s",
		want, facts.SourceVolume.Name, facts.Reference, have, have))
}

func modeOf(mode *corev1.PersistentVolumeMode) corev1.PersistentVolumeMode {
	if mode == nil {
		return corev1.PersistentVolumeFilesystem
	}
	return *mode
}
