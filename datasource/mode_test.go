package datasource

import (
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
)

func claimMode(mode *corev1.PersistentVolumeMode) func(*Facts) {
	return claimIs(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeMode = mode })
}

func sourceMode(mode *corev1.PersistentVolumeMode) func(*Facts) {
	return contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.SourceVolumeMode = mode })
}

func permit(value string) func(*Facts) {
	return contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Annotations[AnnotationAllowModeChange] = value })
}

// The rule is the same for the webhook, alone, and for the provisioner, as the last of its chain.
func TestASnapshotKeepsItsVolumeMode(t *testing.T) {
	block := claimMode(new(corev1.PersistentVolumeBlock))
	denied := "deny VolumeModeDiffers: the claim's volume mode is Block, VolumeSnapshot ns/snap was taken of a Filesystem volume, " +
		`and annotation snapshot.storage.kubernetes.io/allow-volume-mode-change of VolumeSnapshotContent "content" `
	tests := map[string]judged{
		"the same mode":                    {fromSnapshot(), "allow", nil},
		"another mode":                     {fromSnapshot(block), denied + "is missing", []string{"volume mode Filesystem", `set the annotation to "true"`}},
		"another mode, no annotations":     {fromSnapshot(block, contentIs(func(c *snapshotv1.VolumeSnapshotContent) { c.Annotations = nil })), denied + "is missing", nil},
		"not permitted":                    {fromSnapshot(block, permit("false")), denied + `is "false": `, nil},
		"permitted in no known words":      {fromSnapshot(block, permit("yes")), denied + `is "yes", which is not a boolean`, nil},
		"an empty permission":              {fromSnapshot(block, permit("")), denied + `is "", which is not a boolean`, nil},
		"permitted":                        {fromSnapshot(block, permit("true")), "allow", nil},
		"permitted in other words":         {fromSnapshot(block, permit("1")), "allow", nil},
		"the other way round":              {fromSnapshot(sourceMode(new(corev1.PersistentVolumeBlock))), "deny VolumeModeDiffers: the claim's volume mode is Filesystem, VolumeSnapshot ns/snap was taken of a Block volume", nil},
		"a claim without an opinion":       {fromSnapshot(claimMode(nil), sourceMode(new(corev1.PersistentVolumeBlock))), "allow", nil},
		"a content without an opinion":     {fromSnapshot(block, sourceMode(nil)), "allow", nil},
		"conversion is nobody's concern":   {fromSnapshot(block, func(f *Facts) { f.PreventModeConversion = false }), "allow", nil},
		"a clone is another rule's matter": {fromClaim(), "allow", nil},
	}
	t.Run("alone", func(t *testing.T) { runJudged(t, CheckVolumeMode, tests) })
	t.Run("in the chain", func(t *testing.T) { runJudged(t, Judge, tests) })
}

func TestTheModeIsUnknownWhileThereIsNothingToCompare(t *testing.T) {
	block := claimMode(new(corev1.PersistentVolumeBlock))
	runJudged(t, CheckVolumeMode, map[string]judged{
		"no claim":         {fromSnapshot(func(f *Facts) { f.Claim = nil }), "unknown NoClaim", nil},
		"no such API":      {fromSnapshot(block, func(f *Facts) { f.SnapshotsServed = false }), "unknown VolumeSnapshotsNotServed", nil},
		"no snapshot":      {fromSnapshot(block, func(f *Facts) { f.Snapshot = nil }), "unknown SnapshotNotFound", nil},
		"not bound":        {fromSnapshot(block, func(f *Facts) { f.Snapshot.Status = nil }), "unknown SnapshotNotBound", nil},
		"no content":       {fromSnapshot(block, func(f *Facts) { f.Content = nil }), "unknown SnapshotContentNotFound", nil},
		"another's":        {fromSnapshot(block, func(f *Facts) { f.Content.Spec.VolumeSnapshotRef.UID = "x" }), "unknown SnapshotContentMismatch", nil},
		"another driver's": {fromSnapshot(block, func(f *Facts) { f.Content.Spec.Driver = "x" }), "unknown SourceOfOtherDriver", nil},
		"what else is wrong is Judge's matter": {fromSnapshot(func(f *Facts) {
			f.Capabilities = Capabilities{}
			f.Snapshot.Status.ReadyToUse = nil
			f.Content.Status = nil
			f.Snapshot.DeletionTimestamp = deletion()
		}, requests("1Mi")), "allow", nil},
		"no data source": {Facts{PreventModeConversion: true}, "allow", nil},
	})
}

func TestACloneHasTheModeOfItsSource(t *testing.T) {
	volumeMode := func(mode *corev1.PersistentVolumeMode) func(*Facts) {
		return func(facts *Facts) { facts.SourceVolume.Spec.VolumeMode = mode }
	}
	block, files := new(corev1.PersistentVolumeBlock), new(corev1.PersistentVolumeFilesystem)
	runJudged(t, Judge, map[string]judged{
		"both say nothing":                 {fromClaim(claimMode(nil), volumeMode(nil)), "allow", nil},
		"nothing is a file system":         {fromClaim(claimMode(files), volumeMode(nil)), "allow", nil},
		"nothing is a file system, either": {fromClaim(claimMode(nil), volumeMode(files)), "allow", nil},
		"block and block":                  {fromClaim(claimMode(block), volumeMode(block)), "allow", nil},
		"block of nothing": {fromClaim(claimMode(block), volumeMode(nil)),
			`deny VolumeModeDiffers: the claim's volume mode is Block, that of PersistentVolume "pv", the volume of PersistentVolumeClaim ns/source, is Filesystem`, nil},
		"nothing of block": {fromClaim(claimMode(nil), volumeMode(block)), "deny VolumeModeDiffers", nil},
		"even if conversion is nobody's concern": {
			fromClaim(claimMode(block), func(f *Facts) { f.PreventModeConversion = false }), "deny VolumeModeDiffers", nil},
	})
}
