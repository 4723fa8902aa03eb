package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gorilla/mux"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/klog/v2"
)

// handlers serve the webhooks. They change nothing but what is counted.
type handlers struct {
	config  Config
	limits  Limits
	metrics *metrics
	slots   chan struct{} // one for each review under way
}

// endpoint is one webhook.
type endpoint struct {
	name   string // in metrics and logs
	decide func(context.Context, *admissionv1.AdmissionRequest) (Result, error)
	warn   string // what the user is told where nothing could be decided; empty: nothing, as nothing is lost
}

// Handler serves the webhooks at their paths. The configuration must be valid, and its metrics' registry must not have had another
// Handler's. Who serves it sees to TLS, and begins when the caches of Lookups have synced: before, claims would pass for want of a class.
func Handler(config Config) http.Handler {
	h := &handlers{config: config, limits: config.Limits.withDefaults(), metrics: newMetrics(config.Metrics)}
	h.slots = make(chan struct{}, h.limits.InFlight)
	router := mux.NewRouter()
	for path, e := range map[string]endpoint{
		PathMutateClaim:     {"mutate-claim", h.mutateClaim, ""},
		PathValidateClaim:   {"validate-claim", h.validateClaim, "the claim's data source was not checked: Berth could not decide, its log says why"},
		PathValidateContent: {"validate-content", h.validateContent, "the snapshot content was not checked: Berth could not decide, its log says why"},
	} {
		router.Handle(path, h.serve(e)).Methods(http.MethodPost)
	}
	return router
}

func (h *handlers) serve(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		counted := h.review(w, r, e)
		counted.handler = e.name
		h.metrics.count(counted, time.Since(start))
	})
}

// review answers one request.
func (h *handlers) review(w http.ResponseWriter, r *http.Request, e endpoint) tally {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		http.Error(w, "too many reviews are under way", http.StatusServiceUnavailable)
		return tally{decision: decisionInvalid, reason: ReasonOverloaded}
	}
	wait := patience(r)
	ctx, cancel := context.WithTimeout(klog.NewContext(r.Context(), h.config.Logger), wait)
	defer cancel()
	// A body that never comes would hold the slot. Afterwards there is no deadline: it would end the request's context, too.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(min(wait, bodyPatience))) // not every writer can; then the context is all there is
	request, problem := decode(w, r, h.limits.Body)
	_ = control.SetReadDeadline(time.Time{})
	if problem != nil {
		h.config.Logger.V(2).Info("Turned away what is no admission review", "handler", e.name, "status", problem.status, "why", problem.why)
		http.Error(w, problem.why, problem.status)
		return tally{decision: decisionInvalid, reason: ReasonInvalidReview}
	}
	response, counted := h.decide(ctx, request, e)
	h.log(request, e, counted)
	if err := write(w, response); err != nil {
		h.config.Logger.V(2).Info("Could not answer a review", "handler", e.name, "err", err)
	}
	return counted
}

// decide makes the response to a request. Whatever goes wrong, the object is let in as it is: a webhook that keeps claims from being created
// would be worse than one that does nothing.
func (h *handlers) decide(ctx context.Context, request *admissionv1.AdmissionRequest, e endpoint) (*admissionv1.AdmissionResponse, tally) {
	var response *admissionv1.AdmissionResponse
	result, err := guarded(ctx, request, e)
	if err == nil {
		response, err = answer(request, result)
	}
	if err != nil {
		h.config.Logger.Error(err, "Could not decide about an object, and let it in as it is",
			"handler", e.name, "object", klog.KRef(request.Namespace, request.Name))
		result = e.undecided(err)
		response, _ = answer(request, result) // there is nothing in it that could go wrong
	}
	counted := tally{operation: operationLabel(request.Operation)}
	switch result := result.(type) {
	case Admit:
		counted.decision, counted.reason = decisionAdmitted, result.Reason
		if response.Patch != nil {
			counted.decision = decisionPatched
		}
	case Refuse:
		counted.decision, counted.reason = decisionRefused, result.Reason
	}
	return response, counted
}

// guarded makes an error of a decision's panic: the provisioner is in this process, and so are the other reviews.
func guarded(ctx context.Context, request *admissionv1.AdmissionRequest, e endpoint) (result Result, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &undecidedError{ReasonPanic, fmt.Errorf("panic, please report this: %v\n%s", cause, debug.Stack())}
		}
	}()
	return e.decide(ctx, request)
}

// undecidedError says why nothing could be decided.
type undecidedError struct {
	reason string
	err    error
}

func (u *undecidedError) Error() string { return u.err.Error() }

func (u *undecidedError) Unwrap() error { return u.err }

func (e endpoint) undecided(err error) Admit {
	reason := ReasonUndecodable
	if known, ok := errors.AsType[*undecidedError](err); ok {
		reason = known.reason
	}
	if e.warn == "" {
		return Admit{Reason: reason}
	}
	return warning(reason, e.warn)
}

// log says what was decided, and never what is in an object: who may read logs may not read everything.
func (h *handlers) log(request *admissionv1.AdmissionRequest, e endpoint, counted tally) {
	logger := h.config.Logger.V(4)
	if counted.decision == decisionRefused {
		logger = h.config.Logger
	}
	logger.Info("Reviewed", "handler", e.name, "object", klog.KRef(request.Namespace, request.Name), "uid", request.UID,
		"operation", counted.operation, "decision", counted.decision, "reason", counted.reason)
}

// operationLabel keeps the metric's label to what the API server knows.
func operationLabel(operation admissionv1.Operation) string {
	switch operation {
	case admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect:
		return string(operation)
	}
	return "other"
}
