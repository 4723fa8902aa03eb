package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// kindReview is the only kind of request there is.
const kindReview = "AdmissionReview"

// invalid is a request that no API server sends: the HTTP status to answer it with, and why. What is in a request that is well formed, but
// holds an object of a form that we do not know, is no reason to fail it.
type invalid struct {
	status int
	why    string
}

func invalidf(status int, format string, args ...any) *invalid {
	return &invalid{status, fmt.Sprintf(format, args...)}
}

// decode reads a review. The error is what to answer instead.
func decode(w http.ResponseWriter, r *http.Request, limit int64) (*admissionv1.AdmissionRequest, *invalid) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, invalidf(http.StatusUnsupportedMediaType, "the content type is %q: it has to be application/json",
			shortened(r.Header.Get("Content-Type"), 100))
	}
	body, err := readBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	return decodeReview(body)
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *invalid) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), 64<<10)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, invalidf(http.StatusBadRequest, "the request's body cannot be read: %v", err)
	}
	return body.Bytes(), nil
}

func tooLarge(limit int64) *invalid {
	return invalidf(http.StatusRequestEntityTooLarge, "the request is larger than %d bytes", limit)
}

// decodeReview reads as the API server writes: names of fields have one spelling, and fields that we do not know are for others.
func decodeReview(body []byte) (*admissionv1.AdmissionRequest, *invalid) {
	if len(body) == 0 {
		return nil, invalidf(http.StatusBadRequest, "the request has no body")
	}
	var review admissionv1.AdmissionReview
	if err := utiljson.Unmarshal(body, &review); err != nil {
		return nil, invalidf(http.StatusBadRequest, "the request's body is no %s: %s", kindReview, shortened(err.Error(), 200))
	}
	request := review.Request
	switch {
	case review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Kind != kindReview:
		return nil, invalidf(http.StatusBadRequest, "the request is a %q of %q: it has to be an %s of %s, the only one in admissionReviewVersions",
			shortened(review.Kind, 100), shortened(review.APIVersion, 100), kindReview, admissionv1.SchemeGroupVersion)
	case request == nil:
		return nil, invalidf(http.StatusBadRequest, "the %s has no request", kindReview)
	case request.UID == "":
		return nil, invalidf(http.StatusBadRequest, "the %s's request has no UID, so it cannot be answered", kindReview)
	case request.Operation == "":
		return nil, invalidf(http.StatusBadRequest, "the %s's request has no operation", kindReview)
	}
	return request, nil
}

const (
	// defaultPatience is what the API server waits for a webhook that says nothing else.
	defaultPatience = 10 * time.Second
	longestPatience = 30 * time.Second
	// bodyPatience is what a body may take to arrive: the API server has all of it when it calls.
	bodyPatience = 5 * time.Second
)

// patience is how long to work on a review. The API server says how long it waits, rounded up to a second, and its answer takes time to
// travel: what comes late is lost, and what the failure policy does then is worse than an answer that little was found out for.
func patience(r *http.Request) time.Duration {
	timeout, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || timeout <= 0 {
		timeout = defaultPatience
	}
	timeout = min(timeout, longestPatience)
	return timeout - min(max(timeout/5, 100*time.Millisecond), time.Second, timeout/2)
}
