package diagnostics

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// Access lets those read who have the right to, as the API server knows it: a TokenReview tells who they are, a SubjectAccessReview whether they
// may get the path (a rule with nonResourceURLs). That is how Kubernetes' own components guard their metrics.
type Access struct {
	authenticator authenticator.Request
	authorizer    authorizer.Authorizer
}

const (
	// accessTimeout bounds what is asked for one request.
	accessTimeout = 10 * time.Second
	// knownFor is how long an answer counts: a scraper comes every half a minute, and should not cost two requests each time.
	knownFor = time.Minute
	// refusedFor is how long a refusal does: who has just been given the right is let in soon.
	refusedFor = 5 * time.Second
)

// NewAccess makes an Access that asks with this client. It may need "create" on tokenreviews and subjectaccessreviews, as the ClusterRole
// system:auth-delegator has it.
func NewAccess(client kubernetes.Interface) (*Access, error) {
	retry := &wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}
	who, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient: client.AuthenticationV1(), TokenAccessReviewTimeout: accessTimeout,
		WebhookRetryBackoff: retry, CacheTTL: knownFor,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("authenticate readers of metrics: %w", err)
	}
	what, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: client.AuthorizationV1(), AllowCacheTTL: knownFor, DenyCacheTTL: refusedFor, WebhookRetryBackoff: retry,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("authorize readers of metrics: %w", err)
	}
	return &Access{who, what}, nil
}

// open reports whether a path is for everybody: a kubelet that probes has no token.
func open(path string) bool {
	for _, health := range []string{"/livez", "/readyz", "/healthz"} {
		if path == health || strings.HasPrefix(path, health+"/") {
			return true
		}
	}
	return false
}

// guard serves what is open, and the rest to those who may.
func (a *Access) guard(next http.Handler) http.Handler {
	if a == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open(r.URL.Path) {
			if refused := a.judge(r); refused != nil {
				http.Error(w, refused.why, refused.status)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refusal says why somebody may not read.
type refusal struct {
	status int
	why    string
}

// judge returns why a request is refused; nil: it is not. Who is refused for want of an answer learns no more than that: the log has the rest.
func (a *Access) judge(r *http.Request) *refusal {
	ctx, cancel := context.WithTimeout(r.Context(), accessTimeout)
	defer cancel()
	// The authenticator takes the token's header away from the request, which is of no use to what is served.
	who, known, err := a.authenticator.AuthenticateRequest(r.WithContext(ctx))
	if err != nil {
		klog.FromContext(ctx).V(2).Info("Somebody who wanted to read could not be authenticated", "path", r.URL.Path, "from", r.RemoteAddr, "err", err)
	}
	if err != nil || !known {
		return &refusal{http.StatusUnauthorized, "a valid token of the cluster is required (Authorization: Bearer ...)"}
	}
	verb := strings.ToLower(r.Method)
	verdict, why, err := a.authorizer.Authorize(ctx, authorizer.AttributesRecord{User: who.User, Verb: verb, Path: r.URL.Path})
	switch {
	case err != nil:
		klog.FromContext(ctx).Info("Whether somebody may read could not be found out; create on subjectaccessreviews has to be granted", "user", who.User.GetName(), "path", r.URL.Path, "err", err)
		return &refusal{http.StatusServiceUnavailable, "whether you may read this could not be found out"}
	case verdict != authorizer.DecisionAllow:
		klog.FromContext(ctx).V(2).Info("Somebody may not read", "user", who.User.GetName(), "path", r.URL.Path, "why", why)
		return &refusal{http.StatusForbidden, fmt.Sprintf("user %q may not %s %s: grant it with a rule of nonResourceURLs", who.User.GetName(), verb, r.URL.Path)}
	}
	return nil
}
