package worker

import (
	"errors"
	"testing"
	"time"
)

func TestAResultInWords(t *testing.T) {
	err := errors.New("no room")
	for want, result := range map[string]Result{
		"done":                              Done(),
		"again after 1s":                    After(time.Second),
		"again: no room":                    Backoff(err),
		"again, not before 1h0m0s: no room": BackoffAtLeast(time.Hour, err),
		"again, whatever the news: no room": BackoffRegardless(err),
	} {
		if got := result.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
