package certs

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type answers func() (*http.Response, error)

func (a answers) RoundTrip(*http.Request) (*http.Response, error) { return a() }

func TestServerClock(t *testing.T) {
	dated := func(ahead time.Duration) string { return time.Now().Add(ahead).UTC().Format(http.TimeFormat) }
	tests := map[string]struct {
		status int
		date   func() string
		err    error
		want   time.Duration // that the clock is ahead
	}{
		"a clock that is right":              {status: http.StatusOK, date: func() string { return dated(0) }},
		"a difference that does not matter":  {status: http.StatusOK, date: func() string { return dated(20 * time.Second) }},
		"a server that is ahead":             {status: http.StatusCreated, date: func() string { return dated(time.Hour) }, want: time.Hour},
		"a server that is behind":            {status: http.StatusOK, date: func() string { return dated(-24 * time.Hour) }, want: -24 * time.Hour},
		"an answer that may be another's":    {status: http.StatusBadGateway, date: func() string { return dated(time.Hour) }},
		"an answer without a date":           {status: http.StatusOK, date: func() string { return "" }},
		"an answer whose date is nonsense":   {status: http.StatusOK, date: func() string { return "noon" }},
		"no answer":                          {err: errors.New("no route")},
		"a redirection, which is no answer ": {status: http.StatusFound, date: func() string { return dated(time.Hour) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := &ServerClock{}
				inner := answers(func() (*http.Response, error) {
					if tt.err != nil {
						return nil, tt.err
					}
					return &http.Response{StatusCode: tt.status, Header: http.Header{"Date": {tt.date()}}, Body: io.NopCloser(strings.NewReader(""))}, nil
				})
				transport := clock.Wrap(inner)
				request, err := http.NewRequest(http.MethodGet, "https://localhost", nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := transport.RoundTrip(request)
				if !errors.Is(err, tt.err) {
					t.Errorf("got error %v, want %v", err, tt.err)
				}
				if err == nil {
					response.Body.Close()
				}
				if got := time.Until(clock.Now()); got != tt.want {
					t.Errorf("the clock is ahead by %s, want %s", got, tt.want)
				}
				if wrapper, ok := transport.(interface{ WrappedRoundTripper() http.RoundTripper }); !ok || wrapper.WrappedRoundTripper() == nil {
					t.Error("it hides the transport inside")
				}
			})
		})
	}
}
