//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// The log is at the level at which every request to the API server is in it, and the driver fails once, so that errors are too.
func TestSecretsGoToTheDriverAndNowhereElse(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "secrets", impatient, berthFlags("-v=6"), driverFaults(harness.Fault{
		Method: harness.CreateVolume, Action: "error", Code: "Internal", Times: 1,
	}))
	class := s.class(harness.Parameters(map[string]string{
		"csi.storage.k8s.io/provisioner-secret-name":            "${pvc.annotations['team']}-${pvc.name}",
		"csi.storage.k8s.io/provisioner-secret-namespace":       "${pvc.namespace}",
		"csi.storage.k8s.io/node-stage-secret-name":             "stage-${pv.name}",
		"csi.storage.k8s.io/node-stage-secret-namespace":        "${pvc.namespace}",
		"csi.storage.k8s.io/controller-modify-secret-name":      "modify",
		"csi.storage.k8s.io/controller-modify-secret-namespace": "vault",
		"tier": "gold",
	}))
	claim := s.claim("data", class, harness.Annotation("team", "blue"))
	s.told("data", "ProvisioningFailed", "blue-data", s.namespace)
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Errorf("CreateVolume was called %d times without the secret", len(calls))
	}
	values := map[string]string{"user": "somebody-quite-unlikely", "password": "swordfish-in-aspic"}
	_, err := s.Client().CoreV1().Secrets(s.namespace).
		Create(t.Context(), harness.Secret(s.namespace, "blue-data", values), metav1.CreateOptions{})
	must(t, err)
	_, volume := s.bound("data")

	keys := slices.Sorted(maps.Keys(values))
	calls := s.calls(harness.CreateVolume, volumeName(claim))
	if len(calls) != 2 {
		t.Errorf("calls are %v, want one that failed and one that did not", calls)
	}
	for _, call := range calls {
		request, err := call.CreateVolume()
		must(t, err)
		if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(request.Secrets))); diff != "" {
			t.Errorf("secrets for CreateVolume (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"tier": "gold"}, request.Parameters); diff != "" {
			t.Errorf("parameters (-want +got):\n%s", diff)
		}
	}
	wantStored(s, claim, volume)
	wantSecretReferences(s, volume)

	s.leavesNothing(claim)
	deletions := s.calls(harness.DeleteVolume, volume.Spec.CSI.VolumeHandle)
	if len(deletions) != 1 {
		t.Fatalf("DeleteVolume was called %d times, want once", len(deletions))
	}
	deletion, err := deletions[0].DeleteVolume()
	must(t, err)
	if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(deletion.Secrets))); diff != "" {
		t.Errorf("secrets for DeleteVolume (-want +got):\n%s", diff)
	}

	log := s.Berth.Log()
	if !strings.Contains(log, "secrets/blue-data") {
		t.Error("the log does not show the request for the secret, so it proves nothing")
	}
	for key, value := range values {
		if strings.Contains(log, value) {
			t.Errorf("the log holds the secret's %s", key)
		}
	}
}

func wantSecretReferences(s *story, volume *corev1.PersistentVolume) {
	s.t.Helper()
	stage := &corev1.SecretReference{Namespace: s.namespace, Name: "stage-" + volume.Name}
	if diff := cmp.Diff(stage, volume.Spec.CSI.NodeStageSecretRef); diff != "" {
		s.t.Errorf("secret for staging (-want +got):\n%s", diff)
	}
	if other := volume.Spec.CSI.NodePublishSecretRef; other != nil {
		s.t.Errorf("secret for publishing is %v, want none", other)
	}
	annotations := map[string]string{
		provisionedBy:           s.Driver.Name,
		deletionSecretName:      "blue-data",
		deletionSecretNamespace: s.namespace,
		"volume.kubernetes.io/controller-modify-secret-name":      "modify",
		"volume.kubernetes.io/controller-modify-secret-namespace": "vault",
	}
	got := maps.Clone(volume.Annotations)
	delete(got, "pv.kubernetes.io/bound-by-controller")
	if diff := cmp.Diff(annotations, got); diff != "" {
		s.t.Errorf("annotations of the volume (-want +got):\n%s", diff)
	}
}
