package webhook

import (
	"fmt"
	"slices"
	"strconv"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"

	"github.com/berth-csi/berth/datasource"
)

// ContentFacts is all that decides what ValidateContent says.
type ContentFacts struct {
	Driver  string // CSI name
	Old     *snapshotv1.VolumeSnapshotContent
	User    string   // who asks
	Groups  []string // that the user is in
	Trusted []string // users and groups who may say what an unset source volume mode is
}

// ValidateContent decides whether a snapshot's content may be created or changed. Who may update contents decides whose file systems a node
// mounts, so what would quietly open that is refused, and so is what could never work:
//
//   - A source volume mode that was not set stays so, unless a trusted user sets it. The CRD's own rules keep one that is set from being
//     changed or removed; the snapshot controllers before 8.0 came with a webhook that had this rule, too.
//   - The annotation that permits another volume mode has a boolean as its value. With anything else no restore in another mode ever works.
func ValidateContent(content *snapshotv1.VolumeSnapshotContent, facts ContentFacts) Result {
	switch {
	case content.DeletionTimestamp != nil:
		return Admit{Reason: ReasonDeleting} // nothing may keep it from going
	case content.Spec.Driver != facts.Driver:
		return Admit{Reason: ReasonOtherProvisioner}
	}
	if refusal := invalidAllowance(content, facts.Old); refusal != nil {
		return *refusal
	}
	mode := content.Spec.SourceVolumeMode
	if facts.Old == nil || facts.Old.Spec.SourceVolumeMode != nil || mode == nil || trusted(facts) {
		return Admit{Reason: ReasonContentValid}
	}
	return Refuse{Reason: ReasonModeSet, Message: fmt.Sprintf(
		"spec.sourceVolumeMode of VolumeSnapshotContent %q is not set, and only who is trusted with that may set it to %s: what the snapshot was "+
			"taken of is not known; to permit restoring it in any volume mode, set its annotation %s to \"true\"",
		content.Name, *mode, datasource.AnnotationAllowModeChange)}
}

// invalidAllowance refuses an annotation that is no boolean, if it was not like that before.
func invalidAllowance(content, old *snapshotv1.VolumeSnapshotContent) *Refuse {
	value, ok := content.Annotations[datasource.AnnotationAllowModeChange]
	if _, err := strconv.ParseBool(value); !ok || err == nil {
		return nil
	}
	if old != nil {
		if before, was := old.Annotations[datasource.AnnotationAllowModeChange]; was && before == value {
			return nil
		}
	}
	return &Refuse{Reason: ReasonInvalidAnnotation, Invalid: true, Message: fmt.Sprintf(
		"annotation %s of VolumeSnapshotContent %q is %s, which is not a boolean: set it to \"true\" to permit restoring in another volume mode, "+
			"or remove it",
		datasource.AnnotationAllowModeChange, content.Name, shortened(strconv.Quote(value), 64))}
}

func trusted(facts ContentFacts) bool {
	return slices.ContainsFunc(facts.Trusted, func(name string) bool {
		return name == facts.User || slices.Contains(facts.Groups, name)
	})
}
