//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

// TestAdmissionOnAStockControlPlane tells what the control plane that the other stories share is not fit for: a default class and a
// controller-manager that is away are everybody's affair, and its API server has a feature gate on.
func TestAdmissionOnAStockControlPlane(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "stock", func(options *harness.WorldOptions) {
		options.Shared, options.WithoutBerth = nil, true
		// How often it looks whether there is a default class now.
		options.ControlPlane.Set = []string{harness.ControllerManager + ":pvclaimbinder-sync-period=2s"}
	})
	secret := strings.ReplaceAll(s.Driver.Name, ".", "-") + "-admission"
	grantSecret(s, secret)
	var err error
	s.Berth, err = s.StartBerth(t.Context(), harness.BerthOptions{
		Admission: &harness.AdmissionOptions{UnnamedSecret: true}, Flags: []string{"--express-binding=off"},
	})
	must(t, err)
	hooks := s.webhooks(s.Berth, harness.Everywhere)
	s.admitted(s.class())
	for name, missing := range map[string]bool{secret: false, "berth-" + s.World.Name + "-admission": true} {
		_, err := s.Client().CoreV1().Secrets(harness.BerthNamespace).Get(t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) != missing {
			t.Errorf("reading Secret %s: got %v, want it missing: %t", name, err, missing)
		}
	}
	for _, next := range []struct {
		name string
		tell func(*admissionStory)
	}{
		{"a source in another namespace is dropped", (*admissionStory).sourceIsDropped},
		{"a snapshot of nobody knows what is let in", (*admissionStory).unknownModeIsLetIn},
		{"the default class comes late", (*admissionStory).defaultClassComesLate},
		{"the controller-manager is away", (*admissionStory).controllerManagerIsAway},
	} {
		t.Run(next.name, func(t *testing.T) { next.tell(&admissionStory{newStory(t, s.World), hooks}) })
	}
}

// grantSecret lets the world's Berth keep its authority in a Secret of another name than its role knows.
func grantSecret(s *story, name string) {
	s.t.Helper()
	account := "berth-" + s.World.Name
	_, err := harness.BerthAccount(s.t.Context(), s.ControlPlane, account)
	must(s.t, err)
	rbac, meta := s.Client().RbacV1(), metav1.ObjectMeta{Name: name, Namespace: harness.BerthNamespace}
	_, err = rbac.Roles(harness.BerthNamespace).Create(s.t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get", "list", "watch", "update"},
	}}}, metav1.CreateOptions{})
	must(s.t, err)
	_, err = rbac.RoleBindings(harness.BerthNamespace).Create(s.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: harness.BerthNamespace, Name: account}},
	}, metav1.CreateOptions{})
	must(s.t, err)
}

// An API server without the feature gate drops the source, and nobody but the webhook says so. The claim is what is left of it.
func (s *admissionStory) sourceIsDropped() {
	class := s.class()
	s.admitted(class)
	claim := s.warned("data", class, []string{"spec.dataSourceRef.namespace takes the feature gate CrossNamespaceVolumeDataSource: " +
		"an API server that has it off drops spec.dataSourceRef, and the volume will be empty"}, harness.From(harness.ClaimSource("elsewhere", "original")))
	if claim.Spec.DataSourceRef != nil {
		s.t.Errorf("the source is %v, want that the API server has dropped it", claim.Spec.DataSourceRef)
	}
	s.wantOurs("it is a claim for an empty volume", claim, 2)
	s.bound("data")
}

// Without --admission-require-source-volume-mode what nobody recorded keeps nobody from restoring, and the audit log tells of it.
func (s *admissionStory) unknownModeIsLetIn() {
	class := s.original()
	s.take("snap", "original", harness.SnapshotMode(""))
	s.warned("data", class, nil, harness.FromSnapshot("snap"), harness.Block)
	s.wantAudited("data", "volume-mode-unchecked", "SourceVolumeModeUnknown")
	s.bound("data")
}

// A claim without a class gets one when there is a default, by an update of the controller-manager's. The webhook annotates it then, so that
// what follows is the binding.
func (s *admissionStory) defaultClassComesLate() {
	claim := s.claim("data", "", func(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = nil })
	s.wantOurs("it has no class", claim, 0)
	class := s.class()
	s.admitted(class)
	for _, value := range []string{"true", "false"} {
		_, err := s.Client().StorageV1().StorageClasses().Patch(s.t.Context(), class, types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":%q}}}`, value), metav1.PatchOptions{})
		must(s.t, err)
		if value == "true" {
			claim, _ = s.bound("data")
		}
	}
	s.wantOurs("bound", claim, 2)
	writes := s.writes(binder, "data")
	if len(writes) != 2 || !wrote(writes[0].Annotations, s.hooks.MutateClaims.Name) {
		s.t.Errorf("the binder wrote %+v, want the class, with our annotations, and the binding", writes)
	}
}

// While nobody annotates claims the webhook does, and so volumes are made; only nobody binds them, as Berth was told not to.
func (s *admissionStory) controllerManagerIsAway() {
	class := s.class()
	s.admitted(class)
	must(s.t, s.ControlPlane.Kill(s.t.Context(), harness.ControllerManager))
	claim := s.claim("data", class)
	must(s.t, harness.Eventually(s.t.Context(), "its volume exists", func(ctx context.Context) error {
		_, err := s.Client().CoreV1().PersistentVolumes().Get(ctx, volumeName(claim), metav1.GetOptions{})
		return err
	}))
	if phase := s.phase("data"); phase != corev1.ClaimPending {
		s.t.Errorf("the claim is %s, want Pending", phase)
	}
	must(s.t, s.ControlPlane.Start(s.t.Context(), harness.ControllerManager))
	claim, volume := s.bound("data")
	wantStored(s.story, claim, volume)
	if writes := s.writes(binder, "data"); len(writes) != 1 {
		s.t.Errorf("the binder wrote %+v, want the binding", writes)
	}
}
