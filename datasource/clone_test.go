package datasource

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func sourceIs(change func(*corev1.PersistentVolumeClaim)) func(*Facts) {
	return func(facts *Facts) { change(facts.SourceClaim) }
}

func volumeIs(change func(*corev1.PersistentVolume)) func(*Facts) {
	return func(facts *Facts) { change(facts.SourceVolume) }
}

func classIs(class *string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = class }
}

func betaClass(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.StorageClassName = nil
	claim.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: "fast"}
}

func phase(phase corev1.PersistentVolumeClaimPhase) func(*Facts) {
	return sourceIs(func(claim *corev1.PersistentVolumeClaim) { claim.Status.Phase = phase })
}

func TestClones(t *testing.T) {
	mismatch := `deny SourceVolumeMismatch: PersistentVolumeClaim ns/source (UID source-uid) is bound to PersistentVolume "pv", whose claim is `
	runJudged(t, Judge, map[string]judged{
		"a claim that can be cloned": {fromClaim(), "allow", nil},
		"a driver that cannot": {fromClaim(func(f *Facts) { f.Capabilities.Clone = false }),
			"deny ClonesNotSupported: driver driver.example cannot clone volumes", []string{"CLONE_VOLUME"}},
		"no such claim": {fromClaim(func(f *Facts) { f.SourceClaim = nil }),
			"unknown SourceClaimNotFound: waiting for PersistentVolumeClaim ns/source: it does not exist", nil},
		"it is pending": {fromClaim(phase(corev1.ClaimPending)),
			"unknown SourceClaimNotBound: waiting for PersistentVolumeClaim ns/source to be bound to a volume: it is Pending", nil},
		"it has no phase yet":    {fromClaim(phase("")), "unknown SourceClaimNotBound", []string{"it is Pending"}},
		"it has lost its volume": {fromClaim(phase(corev1.ClaimLost)), "unknown SourceClaimNotBound", []string{"it is Lost"}},
		"it names no volume": {fromClaim(sourceIs(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeName = "" })),
			"unknown SourceClaimNotBound", nil},
		"it is being deleted": {fromClaim(sourceIs(func(claim *corev1.PersistentVolumeClaim) { claim.DeletionTimestamp = deletion() })),
			"deny SourceClaimDeleting: PersistentVolumeClaim ns/source is being deleted", nil},
		"it is being deleted, and our finalizer keeps it for others": {fromClaim(sourceIs(func(claim *corev1.PersistentVolumeClaim) {
			claim.DeletionTimestamp, claim.Finalizers = deletion(), []string{FinalizerClaim}
		})), "deny SourceClaimDeleting", nil},
		"it has no class": {fromClaim(sourceIs(classIs(nil))), "deny NoStorageClass: PersistentVolumeClaim ns/source has no storage class", nil},
		"it has the class of no class, bound by hand": {fromClaim(sourceIs(classIs(new("")))), "allow", nil},
		"its class is in the annotation":              {fromClaim(sourceIs(betaClass)), "allow", nil},
		"the claim has no class":                      {fromClaim(claimIs(classIs(nil))), "deny NoStorageClass: the claim has no storage class", nil},
		"the claim's class is in the annotation":      {fromClaim(claimIs(betaClass)), "allow", nil},
		"as large as it must be":                      {fromClaim(requests("1Gi")), "allow", nil},
		"too small": {fromClaim(requests("1000Mi")),
			"deny RequestTooSmall: the claim requests 1000Mi, less than the request of PersistentVolumeClaim ns/source, which is 1Gi", nil},
		"no request": {fromClaim(noRequest), "deny RequestTooSmall: the claim requests no storage", nil},
		"the source's volume is larger than it requested": {fromClaim(requests("1Gi"), volumeIs(func(pv *corev1.PersistentVolume) { pv.Spec.Capacity = storage("5Gi").Requests })), "allow", nil},
		"no such volume": {fromClaim(func(f *Facts) { f.SourceVolume = nil }),
			`unknown SourceVolumeNotFound: waiting for PersistentVolume "pv", the volume of PersistentVolumeClaim ns/source: it does not exist`, nil},
		"not a CSI volume": {fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Spec.CSI = nil })),
			`deny SourceVolumeNotCSI: PersistentVolume "pv", the volume of PersistentVolumeClaim ns/source, is not a CSI driver's`, nil},
		"a CSI volume without a handle": {fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.VolumeHandle = "" })),
			"deny SourceVolumeNotCSI", nil},
		"another driver's": {fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "other" })),
			`deny SourceOfOtherDriver: PersistentVolume "pv"`, []string{`"other"`, `"driver.example"`}},
		"the volume names no claim": {fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil })), mismatch, nil},
		"the volume's claim was deleted and made again": {
			fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "old" })), mismatch + "ns/source (UID old)", nil},
		"the volume is another claim's": {
			fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.Name = "x" })), mismatch + "ns/x (UID source-uid)", nil},
		"the volume is another namespace's": {
			fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.Namespace = "x" })), mismatch + "x/source (UID source-uid)", nil},
		"the volume is released": {fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeReleased })),
			`unknown SourceVolumeNotBound: waiting for PersistentVolume "pv", the volume of PersistentVolumeClaim ns/source, to be Bound: it is Released`, nil},
		"the volume has no phase yet": {fromClaim(volumeIs(func(pv *corev1.PersistentVolume) { pv.Status.Phase = "" })),
			"unknown SourceVolumeNotBound", []string{"it is Pending"}},
	})
}
