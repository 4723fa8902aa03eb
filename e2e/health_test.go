//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// wantAnswer checks what Berth's HTTP server answers to somebody.
func wantAnswer(s *story, token, path string, code int, words ...string) {
	s.t.Helper()
	got, body, err := s.Berth.GetAs(s.t.Context(), token, path)
	must(s.t, err)
	for _, word := range words {
		if !strings.Contains(body, word) {
			s.t.Errorf("%s: the answer does not hold %q:\n%s", path, word, body)
		}
	}
	if got != code {
		s.t.Errorf("%s: got %d, want %d:\n%s", path, got, code, body)
	}
}

func TestHealthNamesItsChecksAndSurvivesADriverThatIsAway(t *testing.T) {
	s := inOwnWorld(t, "health", withLeaderElection)
	s.claim("data", s.class())
	s.bound("data") // so it leads, with caches filled
	wantAnswer(s, "", "/livez?verbose", http.StatusOK, "[+]ping ok", "[+]workers ok", "[+]leader-election ok", "livez check passed")
	wantAnswer(s, "", "/readyz?verbose", http.StatusOK, "[+]caches ok", "readyz check passed")
	wantAnswer(s, "", "/readyz?verbose&exclude=caches", http.StatusOK, "[+]caches excluded: ok")
	wantAnswer(s, "", "/healthz", http.StatusOK, "ok")
	wantAnswer(s, "", "/healthz/leader-election", http.StatusOK, "ok")
	wantAnswer(s, "", "/livez/workers", http.StatusOK, "ok")
	wantAnswer(s, "", "/statusz", http.StatusOK, "berth statusz", "/metrics")
	wantAnswer(s, "", "/flagz", http.StatusOK, "berth flagz", "leader-election", s.Driver.Socket)
	wantAnswer(s, "", "/debug/pprof/", http.StatusNotFound)
	wantAnswer(s, "", "/metrics", http.StatusOK,
		`berth_claim_provisioning_duration_seconds_count{class="`, `berth_provision_step_duration_seconds_count{step="record"} 1`,
		`berth_provision_step_duration_seconds_count{step="create_volume"} 1`, `berth_queue_oldest_seconds{name="claims"} 0`)

	s.Driver.Kill()
	s.claim("waits", s.class())
	must(t, harness.Eventually(t.Context(), "the driver is missed", func(ctx context.Context) error {
		_, body, err := s.Berth.Get(ctx, "/metrics")
		if err == nil && !strings.Contains(body, `berth_driver_outcomes_total{operation="CreateVolume",outcome="unknown"}`) {
			err = fmt.Errorf("no call has failed yet")
		}
		return err
	}))
	wantAnswer(s, "", "/livez", http.StatusOK)
	wantAnswer(s, "", "/readyz", http.StatusOK)
	must(t, s.Driver.Start(t.Context()))
	s.bound("waits")
}

func TestMetricsAreForThoseWhoMayReadThem(t *testing.T) {
	s := inOwnWorld(t, "guarded", berthFlags("--http-authorization"))
	account := s.User()[strings.LastIndexByte(s.User(), ':')+1:]
	s.bind("delegator", "system:auth-delegator", harness.BerthNamespace, account)
	must(t, harness.Eventually(t.Context(), "the API server knows that Berth may ask it", func(ctx context.Context) error {
		review, err := s.Client().AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: s.User(), ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: "authentication.k8s.io", Resource: "tokenreviews", Verb: "create",
			}},
		}, metav1.CreateOptions{})
		if err == nil && !review.Status.Allowed {
			err = fmt.Errorf("it may not")
		}
		return err
	}))
	_, err := s.Client().RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: s.World.Name + "-metrics"},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	scraper, stranger := s.token("scraper"), s.token("stranger")
	s.bind("scraper", s.World.Name+"-metrics", s.namespace, "scraper")

	must(t, harness.Eventually(t.Context(), "the scraper may read metrics", func(ctx context.Context) error {
		code, body, err := s.Berth.GetAs(ctx, scraper, "/metrics")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("got %d: %s", code, body)
		}
		return err
	}))
	wantAnswer(s, scraper, "/metrics", http.StatusOK, "workqueue_depth")
	wantAnswer(s, scraper, "/flagz", http.StatusForbidden, "scraper", "may not get /flagz")
	wantAnswer(s, stranger, "/metrics", http.StatusForbidden, "stranger", "may not get /metrics")
	wantAnswer(s, "", "/metrics", http.StatusUnauthorized)
	wantAnswer(s, "made-up", "/metrics", http.StatusUnauthorized)
	for _, path := range []string{"/livez", "/livez/workers", "/healthz"} {
		wantAnswer(s, "", path, http.StatusOK)
	}
}

// token makes a service account in the story's namespace, and a token of it.
func (s *story) token(account string) string {
	s.t.Helper()
	accounts := s.Client().CoreV1().ServiceAccounts(s.namespace)
	_, err := accounts.Create(s.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
	must(s.t, err)
	request, err := accounts.CreateToken(s.t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(s.t, err)
	return request.Status.Token
}

// bind gives a ClusterRole to a service account until the story ends.
func (s *story) bind(name, role, namespace, account string) {
	s.t.Helper()
	bindings := s.Client().RbacV1().ClusterRoleBindings()
	name = s.World.Name + "-" + name
	_, err := bindings.Create(s.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	}, metav1.CreateOptions{})
	must(s.t, err)
	s.t.Cleanup(func() { check(s.t, bindings.Delete(context.Background(), name, metav1.DeleteOptions{})) })
}
