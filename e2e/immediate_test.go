//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

const (
	provisionedBy           = "pv.kubernetes.io/provisioned-by"
	deletionSecretName      = "volume.kubernetes.io/provisioner-deletion-secret-name"
	deletionSecretNamespace = "volume.kubernetes.io/provisioner-deletion-secret-namespace"
	berthFinalizer          = "external-provisioner.volume.kubernetes.io/finalizer"
	protectionFinalizer     = "kubernetes.io/pv-protection"
	identityAttribute       = "storage.kubernetes.io/csiProvisionerIdentity"
)

func TestImmediateClaimGetsAVolume(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class(func(class *storagev1.StorageClass) {
		class.Parameters = map[string]string{"csi.storage.k8s.io/fstype": "xfs", "tier": "gold"}
		class.MountOptions = []string{"noatime", "nodiratime"}
	})
	s.claim("data", class, harness.Size("3Gi"))
	claim, volume := s.bound("data")

	calls := s.calls(harness.CreateVolume, volumeName(claim))
	if len(calls) != 1 {
		t.Fatalf("CreateVolume was called %d times, want once", len(calls))
	}
	wantCreateVolumeRequest(s, calls[0], volumeName(claim))
	wantPersistentVolume(s, claim, volume, calls[0])
}

func wantCreateVolumeRequest(s *story, call harness.Call, name string) {
	s.t.Helper()
	got, err := call.CreateVolume()
	must(s.t, err)

	zones := make([]harness.Segments, 0, len(s.Zones))
	for _, zone := range s.Zones {
		zones = append(zones, harness.Segments{Segments: map[string]string{s.ZoneKey(): zone}})
	}
	want := &harness.CreateVolumeRequest{
		Name:          name,
		CapacityRange: harness.CapacityRange{RequiredBytes: 3 << 30},
		VolumeCapabilities: []harness.VolumeCapability{{
			Mount: &harness.MountCapability{FSType: "xfs", MountFlags: []string{"noatime", "nodiratime"}},
			// ReadWriteOnce, for a driver that tells one writer from several on a node.
			AccessMode: harness.AccessMode{Mode: "SINGLE_NODE_MULTI_WRITER"},
		}},
		// Without the keys that are meant for the provisioner.
		Parameters: map[string]string{"tier": "gold"},
		// Any zone will do; which one is preferred depends on the claim.
		AccessibilityRequirements: &harness.TopologyRequirement{Requisite: zones, Preferred: zones},
	}
	anyOrder := cmpopts.SortSlices(func(a, b harness.Segments) bool {
		return a.Segments[s.ZoneKey()] < b.Segments[s.ZoneKey()]
	})
	if diff := cmp.Diff(want, got, anyOrder); diff != "" {
		s.t.Errorf("CreateVolumeRequest (-want +got):\n%s", diff)
	}
}

func wantPersistentVolume(s *story, claim *corev1.PersistentVolumeClaim, got *corev1.PersistentVolume, call harness.Call) {
	s.t.Helper()
	answer, err := call.CreatedVolume()
	must(s.t, err)

	identity := got.Spec.CSI.VolumeAttributes[identityAttribute]
	if identity == "" {
		s.t.Errorf("volume attribute %s is missing or empty", identityAttribute)
	}
	attributes := map[string]string{identityAttribute: identity}
	maps.Copy(attributes, answer.Volume.VolumeContext)
	var terms []corev1.NodeSelectorTerm
	for _, topology := range answer.Volume.AccessibleTopology {
		terms = append(terms, corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: s.ZoneKey(), Operator: corev1.NodeSelectorOpIn, Values: []string{topology.Segments[s.ZoneKey()]},
		}}})
	}
	if len(terms) != 1 {
		s.t.Fatalf("the driver answered with %d segments, want one", len(terms))
	}

	want := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: volumeName(claim),
			Annotations: map[string]string{
				provisionedBy:           s.Driver.Name,
				deletionSecretName:      "",
				deletionSecretNamespace: "",
			},
			Finalizers: []string{berthFinalizer, protectionFinalizer},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{
				corev1.ResourceStorage: *resource.NewQuantity(answer.Volume.CapacityBytes, resource.BinarySI),
			},
			AccessModes: claim.Spec.AccessModes,
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              *claim.Spec.StorageClassName,
			MountOptions:                  []string{"noatime", "nodiratime"},
			VolumeMode:                    new(corev1.PersistentVolumeFilesystem),
			NodeAffinity:                  &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: s.Driver.Name, VolumeHandle: answer.Volume.VolumeID, FSType: "xfs", VolumeAttributes: attributes,
			}},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
	}
	got = got.DeepCopy()
	slices.Sort(got.Finalizers)
	if diff := cmp.Diff(want, got,
		cmpopts.IgnoreFields(metav1.ObjectMeta{}, "UID", "ResourceVersion", "CreationTimestamp", "ManagedFields"),
		cmpopts.IgnoreFields(corev1.ObjectReference{}, "ResourceVersion"),
		cmpopts.IgnoreFields(corev1.PersistentVolumeStatus{}, "LastPhaseTransitionTime"),
	); diff != "" {
		s.t.Errorf("PersistentVolume (-want +got):\n%s", diff)
	}
}
