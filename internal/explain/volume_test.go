package explain

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/provisioner"
)

func TestDiagnoseVolume(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"a volume that waits to be bound": {
			facts:   situation(unbound(10 * time.Second)),
			verdict: "Pending: its volume pvc-" + claimUID + " exists, and kube-controller-manager is about to bind the two.",
			found:   []string{"waiting volume"},
		},
		"a volume that nobody binds": {
			facts:   situation(unbound(10 * time.Minute)),
			verdict: "Pending: its volume pvc-" + claimUID + " exists, and kube-controller-manager has not bound the two.",
			found:   []string{"problem volume"},
		},
		"a volume that does not exist": {
			facts:   situation(func(f *Facts) { f.Claim.Spec.VolumeName = "by-hand" }),
			verdict: `Pending: it asks for PersistentVolume "by-hand", which does not exist.`,
			found:   []string{"problem volume"},
		},
		"a volume that was lost": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Claim.Status.Phase, f.Volume = corev1.ClaimLost, Look[*corev1.PersistentVolume]{Sight: Absent}
			}),
			verdict: `Lost: PersistentVolume "pvc-` + claimUID + `", which it was bound to, was deleted.`,
			found:   []string{"problem volume"},
		},
		"a volume that may not be read": {
			facts:   situation(boundClaim, func(f *Facts) { f.Volume = Look[*corev1.PersistentVolume]{Sight: Hidden} }),
			verdict: "Bound: its volume is pvc-" + claimUID + ".",
		},
		"a volume of another claim": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Claim.Status.Phase = corev1.ClaimPending
				f.Volume.Value.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "other", Name: "logs"}
			}),
			verdict: `Pending: PersistentVolume "pvc-` + claimUID + `" is for claim other/logs.`,
			found:   []string{"problem volume"},
		},
		"a volume of an earlier claim": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Claim.Status.Phase = corev1.ClaimLost
				f.Volume.Value.Spec.ClaimRef.UID = "another"
			}),
			verdict: `Lost: PersistentVolume "pvc-` + claimUID + `" is for an earlier claim of the same name.`,
			found:   []string{"problem volume"},
		},
		"a volume of several places, made by hand": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Volume.Value.Spec.CSI = nil
				f.Volume.Value.Spec.NodeAffinity.Required.NodeSelectorTerms = []corev1.NodeSelectorTerm{
					{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"a", "b"}}}},
					{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "fast", Operator: corev1.NodeSelectorOpExists}}},
				}
			}),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in disk In a|b, fast Exists.",
		},
		"a bound claim whose class is gone": {
			facts:   situation(classGone, boundClaim),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"which does not exist any more"},
		},
		"a bound claim without a class": {
			facts:   situation(classGone, boundClaim, func(f *Facts) { f.Claim.Spec.StorageClassName = nil }),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"It names no storage class"},
		},
		"a bound claim of volumes made by hand": {
			facts:   situation(boundClaim, func(f *Facts) { f.Class.Value.Provisioner, f.Driver = noProvisioner, "" }),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
		},
		"a bound claim that is being changed": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Claim.Status.Conditions = []corev1.PersistentVolumeClaimCondition{
					{Type: corev1.PersistentVolumeClaimResizing, Status: corev1.ConditionTrue, Message: "still at it"},
					{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionFalse},
				}
				f.Claim.Status.ModifyVolumeStatus = &corev1.ModifyVolumeStatus{
					TargetVolumeAttributesClassName: "gold", Status: corev1.PersistentVolumeClaimModifyVolumeInfeasible,
				}
			}),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			found:   []string{"warning condition"},
			tells:   []string{"Resizing: still at it."},
		},
	})
}

func TestDiagnoseDeletion(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"a claim that is deleted and used": {
			facts:   situation(boundClaim, deleting, usedBy(pod())),
			verdict: "Bound: Pod web-0 still uses it.",
			found:   []string{"problem deletion"},
		},
		"a claim that is deleted and not used": {
			facts:   situation(boundClaim, deleting, usedBy()),
			verdict: "Bound: it waits for finalizer kubernetes.io/pvc-protection to come off.",
			found:   []string{"waiting deletion"},
			tells:   []string{"No Pod that was found uses it"},
		},
		"a claim that is deleted while its Pods cannot be looked at": {
			facts:   situation(boundClaim, deleting),
			verdict: "Bound: it waits for finalizer kubernetes.io/pvc-protection to come off.",
			found:   []string{"waiting deletion"},
		},
		"a claim that is deleted while it is cloned": {
			facts:   situation(boundClaim, deleting, func(f *Facts) { f.Claim.Finalizers = []string{datasource.FinalizerClaim} }),
			verdict: "Bound: another claim is being cloned from it.",
			found:   []string{"waiting deletion"},
		},
		"a claim that somebody else holds": {
			facts:   situation(boundClaim, deleting, func(f *Facts) { f.Claim.Finalizers = []string{"example.com/backup"} }),
			verdict: "Bound: finalizer example.com/backup holds it.",
			found:   []string{"problem deletion"},
		},
		"a claim that nothing holds any more": {
			facts: situation(boundClaim, deleting, func(f *Facts) {
				f.Claim.Finalizers = nil
				f.Volume = Look[*corev1.PersistentVolume]{Sight: Absent}
			}),
			verdict: "Bound: it is being deleted.",
			tells:   []string{"does not exist any more"},
		},
		"a volume that is deleted, and held": {
			facts: situation(boundClaim, deleting, usedBy(), func(f *Facts) {
				since := at(time.Minute)
				f.Volume.Value.DeletionTimestamp = &since
				f.Volume.Value.Finalizers = []string{finalizerVolume, provisioner.FinalizerVolume, "external-attacher/pool", "example.com/x"}
				f.Attachments = seen([]storagev1.VolumeAttachment{attachment("n2"), attachment("n1"), {}})
				f.Attachments.Partial = true
				f.VolumeEvents = seen([]corev1.Event{
					event("Normal", "Something", "else", time.Second, 1),
					event("Normal", "VolumeStillAttached", "the volume is deleted as soon as it is detached from n1", 2*time.Second, 1),
				})
			}),
			found: []string{"waiting deletion", "warning deletion", "unknown not seen", "warning deletion"},
			tells: []string{"until the claim is gone", "until the driver has deleted the volume", "until the volume is detached", "somebody else's",
				"attached to n1, n2", "VolumeStillAttached"},
		},
	})
}
