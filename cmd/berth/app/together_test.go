package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-csi/berth/internal/lead"
)

func TestPartsEndTogether(t *testing.T) {
	broken := errors.New("broken")
	// ends returns when told to, after a while, as a server that drains.
	ends := func(after time.Duration, err error) func(context.Context) error {
		return func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(after)
			return err
		}
	}
	fails := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	const never = 365 * 24 * time.Hour
	tests := map[string]struct {
		parts []func(context.Context) error
		want  error
		took  time.Duration // an hour is when everything is told to stop
	}{
		"all are waited for, whoever is first": {
			[]func(context.Context) error{ends(time.Second, nil), ends(15*time.Second, nil)}, nil, time.Hour + 15*time.Second},
		"one that is done does not end the others": {
			[]func(context.Context) error{fails(nil), ends(time.Second, nil)}, nil, time.Hour + time.Second},
		"one that fails does, and they may take their time": {
			[]func(context.Context) error{fails(broken), ends(15*time.Second, errors.New("later"))}, broken, 15 * time.Second},
		"nobody is waited for when the lease is lost": {
			[]func(context.Context) error{fails(lead.ErrLost), ends(never, nil)}, lead.ErrLost, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				if err := together(ctx, tt.parts...); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
				time.Sleep(2 * never) // a bubble waits for all of its own
			})
		})
	}
}
