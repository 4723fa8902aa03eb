package diagnostics

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/server/healthz"
)

// shown are flags.
type shown map[string]string

func (s shown) GetFlagz() map[string]string { return s }

func TestServer(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "things_total", Help: "h"})
	registry.MustRegister(counter)
	ready := errors.New("not yet")
	server, err := Listen(Config{
		Address: "127.0.0.1:0", MetricsPath: "/metrics", Pprof: true, Metrics: registry,
		Version: "v1.2.3", Flags: shown{"timeout": "10s"},
		Live:  []healthz.HealthChecker{healthz.PingHealthz, healthz.NamedCheck("leader-election", func(*http.Request) error { return nil })},
		Ready: []healthz.HealthChecker{healthz.NamedCheck("caches", func(*http.Request) error { return ready })},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- server.Run(ctx) }()
	get := func(path string, code int, part string) {
		t.Helper()
		response, err := http.Get("http://" + server.Address().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != code || !strings.Contains(string(body), part) {
			t.Errorf("%s: got %d %q, want %d with %q", path, response.StatusCode, body, code, part)
		}
	}
	get("/metrics", 200, "things_total 0")
	get("/livez", 200, "ok")
	get("/readyz", 500, "caches")
	get("/readyz/caches", 500, "not yet")
	get("/readyz?exclude=caches", 200, "ok")
	get("/livez?verbose", 200, "[+]leader-election ok")
	get("/healthz", 200, "ok")
	get("/statusz", 200, "1.2.3")
	get("/flagz", 200, "timeout")
	get("/healthz/leader-election", 200, "ok")
	get("/debug/pprof/", 200, "goroutine")
	get("/debug/pprof/cmdline", 200, "")
	get("/nowhere", 404, "")
	ready = nil
	get("/readyz", 200, "ok")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	first, err := Listen(Config{Address: "127.0.0.1:0", MetricsPath: "/metrics", Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer first.listener.Close()
	_, err = Listen(Config{Address: first.Address().String(), MetricsPath: "/metrics", Metrics: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), "--http-endpoint") {
		t.Errorf("got %v, want an error that names the flag", err)
	}
}
