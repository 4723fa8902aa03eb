//go:build e2e

package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestClassOfAnInTreeDriverGetsInTreeVolumes(t *testing.T) {
	t.Parallel()
	const inTree, driver, zone = "kubernetes.io/cinder", "cinder.csi.openstack.org", "nova"
	s := inOwnWorld(t, "cinder", func(options *harness.WorldOptions) {
		options.Driver.Config = harness.ZonesConfig(driver, zone)
	})
	must(t, harness.CreateNode(t.Context(), s.Client(), s.NodeIn(zone)))
	class := s.class(harness.Parameters(map[string]string{"fsType": "xfs", "type": "fast"}),
		func(class *storagev1.StorageClass) { class.Provisioner = inTree },
		harness.AllowedTopologies("topology.kubernetes.io/zone", zone))

	s.claim("data", class)
	claim, volume := s.bound("data")
	request := s.asked(claim)
	if diff := cmp.Diff(map[string]string{"type": "fast"}, request.Parameters); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	if got := request.VolumeCapabilities[0].Mount; got == nil || got.FSType != "xfs" {
		t.Errorf("the volume is to be mounted with %+v, want xfs", got)
	}
	made := s.volumesNamed(volumeName(claim))
	if len(made) != 1 {
		t.Fatalf("the driver has %v, want one volume", made)
	}
	want := corev1.PersistentVolumeSource{Cinder: &corev1.CinderPersistentVolumeSource{VolumeID: made[0].ID, FSType: "xfs"}}
	if diff := cmp.Diff(want, volume.Spec.PersistentVolumeSource); diff != "" {
		t.Errorf("source in the volume's object (-want +got):\n%s", diff)
	}
	if by := volume.Annotations[provisionedBy]; by != inTree {
		t.Errorf("the volume was provisioned by %q, want %q", by, inTree)
	}
	affinity := &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: "topology.kubernetes.io/zone", Operator: corev1.NodeSelectorOpIn, Values: []string{zone},
		}},
	}}}}
	if diff := cmp.Diff(affinity, volume.Spec.NodeAffinity, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("node affinity (-want +got):\n%s", diff)
	}

	s.leavesNothing(claim)
	if calls := s.calls(harness.DeleteVolume, made[0].ID); len(calls) != 1 {
		t.Errorf("DeleteVolume was called %d times, want once", len(calls))
	}
}
