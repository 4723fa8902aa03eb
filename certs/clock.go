package certs

import (
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
)

// ServerClock is the API server's clock, as its answers tell it. The API server is who checks our certificates, so its time is the one that
// counts: with it, a machine whose clock is wrong serves and rotates as well as any other. The zero ServerClock is this machine's clock.
type ServerClock struct {
	offset atomic.Int64 // what the API server's clock is ahead by, in nanoseconds
}

// tolerance is the difference that is not worth a correction: an answer's date has whole seconds, and takes its time to arrive.
const tolerance = 30 * time.Second

// Now is the API server's time.
func (c *ServerClock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Wrap makes a transport that reads the clock from answers (rest.Config.Wrap).
func (c *ServerClock) Wrap(next http.RoundTripper) http.RoundTripper { return &clockReader{c, next} }

type clockReader struct {
	clock *ServerClock
	next  http.RoundTripper
}

// RoundTrip reads the date of an answer, if it is a good one: others may come from something between us and the API server.
func (r *clockReader) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		return response, err
	}
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return response, nil //nolint:nilerr // an answer without a date is an answer
	}
	offset := time.Until(date).Round(time.Second)
	if offset.Abs() < tolerance {
		offset = 0
	}
	if before := time.Duration(r.clock.offset.Swap(int64(offset))); (offset - before).Abs() >= tolerance {
		klog.FromContext(request.Context()).Info("This machine's clock differs from the API server's, which certificates go by", "ahead", offset)
	}
	return response, nil
}

// WrappedRoundTripper lets client-go find the transport inside.
func (r *clockReader) WrappedRoundTripper() http.RoundTripper { return r.next }
