package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTrimForNode(t *testing.T) {
	volume := func(changes ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
		pv := &corev1.PersistentVolume{ObjectMeta: meta("x"), Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "fast", PersistentVolumeReclaimPolicy: "Delete", NodeAffinity: affinity("a"),
			Capacity: corev1.ResourceList{"storage": resource.MustParse("1Gi")},
			ClaimRef: &corev1.ObjectReference{Namespace: "ns", Name: "claim", UID: "claim-uid"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: "d", VolumeHandle: "h", VolumeAttributes: map[string]string{provisionerIdentity: "1-2-d-n", "more": "x"},
			}},
		}}
		pv.Finalizers = []string{"f"}
		for _, change := range changes {
			change(pv)
		}
		return pv
	}
	nowhere := func(pv *corev1.PersistentVolume) { pv.Spec.NodeAffinity = nil }
	slim := metav1.ObjectMeta{Namespace: "ns", Name: "x", UID: "uid", ResourceVersion: "7"}
	whole := slim
	whole.Annotations, whole.Finalizers = map[string]string{"volume.kubernetes.io/selected-node": "n"}, []string{"f"}
	claim := &corev1.ObjectReference{Namespace: "ns", Name: "claim", UID: "claim-uid"}
	here := corev1.PersistentVolumeSpec{
		StorageClassName: "fast", PersistentVolumeReclaimPolicy: "Delete", NodeAffinity: affinity("a"), ClaimRef: claim,
		Capacity:               corev1.ResourceList{"storage": resource.MustParse("1Gi")},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: "h"}},
	}
	untold := here
	untold.NodeAffinity = nil
	untold.CSI = &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: "h", VolumeAttributes: map[string]string{provisionerIdentity: "1-2-d-n"}}
	source := corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d"}}
	tests := map[string]struct {
		in        *corev1.PersistentVolume
		elsewhere bool
		want      *corev1.PersistentVolume
	}{
		"of this node":                   {volume(), false, &corev1.PersistentVolume{ObjectMeta: whole, Spec: here}},
		"of another node":                {volume(), true, &corev1.PersistentVolume{ObjectMeta: slim, Spec: corev1.PersistentVolumeSpec{NodeAffinity: affinity("a"), ClaimRef: claim, PersistentVolumeSource: source}}},
		"that does not say where it is":  {volume(nowhere), false, &corev1.PersistentVolume{ObjectMeta: whole, Spec: untold}},
		"of another driver":              {volume(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "other" }), true, &corev1.PersistentVolume{ObjectMeta: slim, Spec: corev1.PersistentVolumeSpec{ClaimRef: claim}}},
		"that another node says it made": {volume(nowhere), true, &corev1.PersistentVolume{ObjectMeta: slim, Spec: corev1.PersistentVolumeSpec{ClaimRef: claim, PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeAttributes: map[string]string{provisionerIdentity: "1-2-d-n"}}}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := trimmed(t, TrimForNode("d", "", func(*corev1.PersistentVolume) bool { return tt.elsewhere }), tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
