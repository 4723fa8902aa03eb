package diagnostics

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// reviewer is an API server that knows two people, of whom one may read metrics and nothing else.
type reviewer struct {
	reviews atomic.Int32
	denied  atomic.Bool // nobody may ask it
}

func (s *reviewer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.reviews.Add(1)
	w.Header().Set("Content-Type", "application/json")
	if s.denied.Load() {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	var answer any
	if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
		var review authenticationv1.TokenReview
		if json.NewDecoder(r.Body).Decode(&review) == nil && (review.Spec.Token == "scraper" || review.Spec.Token == "stranger") {
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: review.Spec.Token}}
		}
		answer = review
	} else {
		var review authorizationv1.SubjectAccessReview
		if json.NewDecoder(r.Body).Decode(&review) == nil && review.Spec.NonResourceAttributes != nil {
			asked := *review.Spec.NonResourceAttributes
			review.Status.Allowed = review.Spec.User == "scraper" && asked.Path == "/metrics" && asked.Verb == "get"
		}
		answer = review
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(answer)
}

func newAccess(t *testing.T, server *reviewer) *Access {
	t.Helper()
	api := httptest.NewServer(server)
	t.Cleanup(api.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: api.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	access, err := NewAccess(client)
	if err != nil {
		t.Fatal(err)
	}
	return access
}

func TestWhoMayRead(t *testing.T) {
	access := newAccess(t, &reviewer{})
	tests := map[string]struct {
		method, path, token string
		status              int
		says                string
	}{
		"health is for everybody":                     {"GET", "/livez", "", 200, ""},
		"so are its single checks":                    {"GET", "/readyz/caches", "", 200, ""},
		"and the established provisioner's":           {"GET", "/healthz/leader-election", "", 200, ""},
		"metrics take a token":                        {"GET", "/metrics", "", 401, "a valid token"},
		"one that the cluster knows":                  {"GET", "/metrics", "made-up", 401, "a valid token"},
		"of somebody who may":                         {"GET", "/metrics", "scraper", 200, ""},
		"others are told what they lack":              {"GET", "/metrics", "stranger", 403, `user "stranger" may not get /metrics: grant it with a rule of nonResourceURLs`},
		"a right to one path is none to another":      {"GET", "/flagz", "scraper", 403, "may not get /flagz"},
		"nor to another verb":                         {"POST", "/metrics", "scraper", 403, "may not post /metrics"},
		"what only begins like health is not open":    {"GET", "/livezz", "", 401, ""},
		"a path through health leads nowhere else":    {"GET", "/livez/../metrics", "", 301, ""},
		"not even if its dots are written as escapes": {"GET", "/livez/%2e%2e/metrics", "", 301, ""},
	}
	served := access.guard(router(Config{MetricsPath: "/metrics", Flags: shown{}}))
	everything := access.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil)
			if tt.token != "" {
				request.Header.Set("Authorization", "Bearer "+tt.token)
			}
			answer := httptest.NewRecorder()
			if tt.status == http.StatusMovedPermanently {
				served.ServeHTTP(answer, request)
			} else {
				everything.ServeHTTP(answer, request)
			}
			if answer.Code != tt.status || !strings.Contains(answer.Body.String(), tt.says) {
				t.Errorf("got %d %q, want %d with %q", answer.Code, answer.Body, tt.status, tt.says)
			}
		})
	}
}

func TestAnAnswerIsRememberedForAWhile(t *testing.T) {
	server := &reviewer{}
	access := newAccess(t, server)
	for range 10 {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		request.Header.Set("Authorization", "Bearer scraper")
		if refused := access.judge(request); refused != nil {
			t.Fatal(refused.why)
		}
	}
	if got := server.reviews.Load(); got != 2 {
		t.Errorf("%d reviews for ten requests, want one of each kind", got)
	}
}

func TestWithoutAnAnswerNobodyReads(t *testing.T) {
	server := &reviewer{}
	access := newAccess(t, server)
	request := func() *http.Request {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/flagz", nil)
		request.Header.Set("Authorization", "Bearer scraper")
		return request
	}
	access.judge(request()) // the token is known from now on, and the path is not
	server.denied.Store(true)
	other := request()
	other.URL.Path = "/metrics"
	if refused := access.judge(other); refused == nil || refused.status != http.StatusServiceUnavailable {
		t.Errorf("got %v, want it said that nobody knows", refused)
	}
	unknown := request()
	unknown.Header.Set("Authorization", "Bearer stranger")
	if refused := access.judge(unknown); refused == nil || refused.status != http.StatusUnauthorized {
		t.Errorf("got %v, want a token", refused)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if refused := access.judge(other.WithContext(ended)); refused == nil {
		t.Error("let in although nobody could be asked")
	}
}

func TestWithoutAccessEverythingIsOpen(t *testing.T) {
	var access *Access
	answer := httptest.NewRecorder()
	access.guard(http.NotFoundHandler()).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusNotFound {
		t.Errorf("got %d", answer.Code)
	}
}
