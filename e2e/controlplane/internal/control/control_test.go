package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
)

// recorder is a Plane that remembers what it was asked for.
type recorder struct {
	last atomic.Value
	err  error
}

func (r *recorder) note(request any) error {
	r.last.Store(&request)
	return r.err
}

func (r *recorder) Status() []Status {
	return []Status{{Component: component.Etcd, State: Running, PID: 7, CPUSeconds: 1.5, ResidentBytes: 9}}
}
func (r *recorder) Kill(_ context.Context, request Kill) error        { return r.note(request) }
func (r *recorder) Start(_ context.Context, request Start) error      { return r.note(request) }
func (r *recorder) Restart(_ context.Context, request Restart) error  { return r.note(request) }
func (r *recorder) SetLimits(_ context.Context, request Limits) error { return r.note(request) }
func (r *recorder) Down()                                             { _ = r.note("down") }

func serve(t *testing.T, path string, plane Plane) *Client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, path, plane) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind (%v)", err)
		}
	})
	client := NewClient(path)
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := client.Status(ctx)
		if err == nil {
			return client
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestRequestsArriveUnchanged(t *testing.T) {
	plane := &recorder{}
	// Longer than the name of a socket may be.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	client := serve(t, filepath.Join(dir, "control.sock"), plane)
	ctx := context.Background()

	statuses, err := client.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plane.Status(), statuses); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	kill := Kill{Component: component.Etcd, Signal: "STOP"}
	start := Start{Component: component.Scheduler, Set: component.Flags{"v": "4"}}
	restart := Restart{Component: component.APIServer, Signal: "KILL", Set: component.Flags{"v": "2"}}
	limits := Limits{QPS: 1.5, Burst: 3}
	for _, c := range []struct {
		want any
		send func() error
	}{
		{kill, func() error { return client.Kill(ctx, kill) }},
		{start, func() error { return client.Start(ctx, start) }},
		{restart, func() error { return client.Restart(ctx, restart) }},
		{limits, func() error { return client.SetLimits(ctx, limits) }},
		{"down", func() error { return client.Down(ctx) }},
	} {
		if err := c.send(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, *plane.last.Load().(*any)); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
	}
}

func TestAnErrorReachesTheCallerWordForWord(t *testing.T) {
	client := serve(t, filepath.Join(t.TempDir(), "control.sock"), &recorder{err: errors.New("etcd is not running")})
	err := client.Kill(context.Background(), Kill{Component: component.Etcd, Signal: "KILL"})
	if err == nil || err.Error() != "etcd is not running" {
		t.Errorf("error %v", err)
	}
}

func TestASocketNobodyListensOnIsTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	if err := NewClient(path).Down(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	listener, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*unlinkingListener).UnixListener.Close() // leaves the file
	if err := NewClient(path).Down(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stale socket: %v", err)
	}
	if err := NewClient(filepath.Join(dir, "missing", "control.sock")).Down(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no directory: %v", err)
	}
	serve(t, path, &recorder{}) // a stale socket is replaced
}
