package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/controlplane/internal/audit"
	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
)

func statusIsComplete(t *testing.T, p *plane) {
	ready := p.awaitReady(t)
	for _, name := range component.All() {
		s := p.status(t)[name]
		if s.State != control.Running || s.Restarts != 0 || s.CPUSeconds <= 0 || s.ResidentBytes < 10<<20 || !alive(s.PID) {
			t.Errorf("%s: %+v", name, s)
		}
		if about := ready.Components[name]; about.PID != s.PID || about.Log != s.Log {
			t.Errorf("%s: the ready file says %+v, status %+v", name, about, s)
		}
		if _, err := os.Stat(s.Log); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(p.output.String(), "export KUBECONFIG="+filepath.Join(p.dir, "kubeconfig")+"\n") {
		t.Error("up has not printed where the kubeconfig is")
	}
}

func claimsAreHandedOver(t *testing.T, p *plane) {
	ctx, admin := testContext(t), p.admin(t, "test")
	class := newClass("handed-over")
	if _, err := admin.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	claims := admin.CoreV1().PersistentVolumeClaims("default")
	if _, err := claims.Create(ctx, newClaim("handed-over", class.Name), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "annotated by the binder", func() bool {
		claim, err := claims.Get(ctx, "handed-over", metav1.GetOptions{})
		return err == nil && claim.Annotations["volume.kubernetes.io/storage-provisioner"] == class.Provisioner
	})
}

func podsAreScheduled(t *testing.T, p *plane) {
	ctx, admin := testContext(t), p.admin(t, "test")
	node := newNode(0)
	if _, err := admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.StorageV1().CSINodes().Create(ctx, newCSINode(node), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	class := newClass("delayed")
	class.VolumeBindingMode = new(storagev1.VolumeBindingWaitForFirstConsumer)
	if _, err := admin.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	claims := admin.CoreV1().PersistentVolumeClaims("default")
	if _, err := claims.Create(ctx, newClaim("delayed", class.Name), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CoreV1().Pods("default").Create(ctx, newPod("delayed", "delayed"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "annotated by the scheduler", func() bool {
		claim, err := claims.Get(ctx, "delayed", metav1.GetOptions{})
		return err == nil && claim.Annotations["volume.kubernetes.io/selected-node"] == node.Name
	})
}

func garbageIsCollected(t *testing.T, p *plane) {
	ctx, admin := testContext(t), p.admin(t, "test")
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "garbage"}}
	if _, err := admin.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	objects := admin.CoreV1().ConfigMaps("garbage")
	owner, err := objects.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	reference := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}
	dependent := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "dependent", OwnerReferences: []metav1.OwnerReference{reference}}}
	if _, err := objects.Create(ctx, dependent, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := objects.Delete(ctx, "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "collected", func() bool {
		_, err := objects.Get(ctx, "dependent", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	t.Logf("dependent collected after %s", time.Since(begin))
	begin = time.Now()
	if err := admin.CoreV1().Namespaces().Delete(ctx, "garbage", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "deleted", func() bool {
		_, err := admin.CoreV1().Namespaces().Get(ctx, "garbage", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	t.Logf("namespace deleted after %s", time.Since(begin))
}

func snapshotsAreServed(t *testing.T, p *plane) {
	resources, err := p.admin(t, "test").Discovery().ServerResourcesForGroupVersion("snapshot.storage.k8s.io/v1")
	if err != nil {
		t.Fatal(err)
	}
	if len(resources.APIResources) == 0 {
		t.Error("the group has no resources")
	}
}

func serviceAccountsHaveRoles(t *testing.T, p *plane) {
	ctx, admin := testContext(t), p.admin(t, "test")
	path := filepath.Join(p.dir, "berth.kubeconfig")
	p.do(t, "kubeconfig", "--service-account", "storage/berth", "--out", path)
	account := client(t, path, "account")
	list := func() error {
		_, err := account.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		return err
	}
	if err := list(); !apierrors.IsForbidden(err) {
		t.Fatalf("an account without a role gets %v", err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "berth"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:persistent-volume-provisioner"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "storage", Name: "berth"}},
	}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "allowed by the role", func() bool { return list() == nil })
}

func usersHaveGroups(t *testing.T, p *plane) {
	path := filepath.Join(p.dir, "user.kubeconfig")
	if err := os.WriteFile(path, []byte(p.do(t, "kubeconfig", "--user", "jane", "--group", "system:masters")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, path, "user").CoreV1().Secrets("").List(testContext(t), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	p.do(t, "kubeconfig", "--user", "joe", "--out", path)
	if _, err := client(t, path, "user").CoreV1().Secrets("").List(testContext(t), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a user without groups gets %v", err)
	}
}

func requestsAreCounted(t *testing.T, p *plane) {
	const n = 25
	createConfigMaps(t, p, "counted/v1.2.3 (test) part", n)
	var counts []audit.Count
	if err := json.Unmarshal([]byte(p.do(t, "requests", "--json", "--user-agent", "^counted/.* part$")), &counts); err != nil {
		t.Fatal(err)
	}
	want := audit.Count{UserAgent: "counted", Verb: "create", Resource: "configmaps", Code: http.StatusCreated, Count: n}
	if len(counts) != 1 || counts[0] != want {
		t.Errorf("counts %v, want %v", counts, want)
	}
	everybody := p.do(t, "requests")
	for _, agent := range []string{"kube-controller-manager", "kube-scheduler", "kube-apiserver"} {
		if !strings.Contains(everybody, agent) {
			t.Errorf("%s has made no requests", agent)
		}
	}
}

func createConfigMaps(t *testing.T, p *plane, userAgent string, n int) {
	t.Helper()
	ctx, c := testContext(t), p.admin(t, userAgent)
	for i := range n {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("object-%d", i)}}
		if _, err := c.CoreV1().ConfigMaps("default").Create(ctx, object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}
