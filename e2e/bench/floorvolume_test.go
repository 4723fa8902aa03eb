package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

const testDriver = "driver.example"

// waiting is a claim that the controller-manager has handed to the driver's provisioner.
func waiting(claim *corev1.PersistentVolumeClaim) {
	claim.UID = "uid"
	claim.ResourceVersion = "7"
	claim.Annotations = map[string]string{annProvisioner: testDriver}
}

func TestWantsVolume(t *testing.T) {
	immediate := harness.StorageClass("c", testDriver)
	delayed := harness.StorageClass("c", testDriver, harness.WaitForFirstConsumer)
	tests := map[string]struct {
		class *storagev1.StorageClass
		edit  func(*corev1.PersistentVolumeClaim)
		want  bool
	}{
		"a claim handed to the driver":         {class: immediate, want: true},
		"a claim nobody was named for":         {class: immediate, edit: func(c *corev1.PersistentVolumeClaim) { c.Annotations = nil }},
		"a claim that has its volume":          {class: immediate, edit: func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pv" }},
		"a claim of a class that is not there": {},
		"a delayed claim before the scheduler": {class: delayed},
		"a delayed claim with its node": {
			class: delayed, want: true,
			edit: func(c *corev1.PersistentVolumeClaim) { c.Annotations[annSelectedNode] = "node" },
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			claim := harness.Claim("ns", "name", "c", waiting)
			if tc.edit != nil {
				tc.edit(claim)
			}
			if got := wantsVolume(claim, tc.class, testDriver); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestWantsDeletion(t *testing.T) {
	tests := map[string]struct {
		edit func(*corev1.PersistentVolume)
		want bool
	}{
		"released":               {want: true},
		"still bound":            {edit: func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeBound }},
		"another driver's":       {edit: func(v *corev1.PersistentVolume) { v.Annotations[annProvisionedBy] = "other" }},
		"to be retained":         {edit: func(v *corev1.PersistentVolume) { v.Spec.PersistentVolumeReclaimPolicy = "Retain" }},
		"deleted by us just now": {edit: func(v *corev1.PersistentVolume) { v.DeletionTimestamp = &metav1.Time{} }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			volume := floorVolume(harness.Claim("ns", "name", "c", waiting), harness.StorageClass("c", testDriver), segment{})
			volume.Status.Phase = corev1.VolumeReleased
			if tc.edit != nil {
				tc.edit(volume)
			}
			if got := wantsDeletion(volume, testDriver); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestFloorVolumeHasWhatAProvisionerWrites(t *testing.T) {
	claim := harness.Claim("ns", "name", "c", waiting)
	got := floorVolume(claim, harness.StorageClass("c", testDriver), segment{"zone", "a"})
	want := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: "pvc-uid",
			Annotations: map[string]string{
				"pv.kubernetes.io/provisioned-by":                            testDriver,
				"volume.kubernetes.io/provisioner-deletion-secret-name":      "",
				"volume.kubernetes.io/provisioner-deletion-secret-namespace": "",
			},
			Finalizers: []string{"external-provisioner.volume.kubernetes.io/finalizer"},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{"storage": claim.Spec.Resources.Requests["storage"]},
			AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: "ns", Name: "name", UID: "uid", ResourceVersion: "7",
			},
			PersistentVolumeReclaimPolicy: "Delete",
			StorageClassName:              "c",
			VolumeMode:                    new(corev1.PersistentVolumeFilesystem),
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: testDriver, VolumeHandle: "floor-uid",
				VolumeAttributes: map[string]string{"storage.kubernetes.io/csiProvisionerIdentity": "1700000000000-1234-" + testDriver},
			}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
					{Key: "zone", Operator: "In", Values: []string{"a"}},
				}}},
			}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
