// Package diagnostics serves health, metrics and profiles over plain HTTP. Nothing it serves changes anything, and nothing of it
// holds claims' or secrets' contents.
//
// It imports nothing of this project.
package diagnostics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/klog/v2"
)

// Config describes the server.
type Config struct {
	Address     string // [HOST]:PORT
	MetricsPath string
	Pprof       bool
	Metrics     prometheus.Gatherer
	Live        []healthz.HealthChecker // /livez: a failure means that only a restart helps
	Ready       []healthz.HealthChecker // /readyz
	Election    healthz.HealthChecker   // /healthz/leader-election, nil without leader election
}

// Server is a bound but not yet serving server.
type Server struct {
	listener net.Listener
	server   *http.Server
}

const shutdownTimeout = 3 * time.Second

// Listen binds the address, so that a wrong or taken one is an error at start.
func Listen(config Config) (*Server, error) {
	listener, err := net.Listen("tcp", config.Address)
	if err != nil {
		return nil, fmt.Errorf("--http-endpoint: %w", err)
	}
	return &Server{listener: listener, server: &http.Server{
		Handler:           router(config),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute, // a profile takes as long as it is asked to
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 16,
	}}, nil
}

// routes lets health checks, which want an http.ServeMux's method, register at a gorilla router.
type routes struct{ *mux.Router }

func (r routes) Handle(path string, handler http.Handler) { r.Router.Handle(path, handler) }

func router(config Config) http.Handler {
	router := mux.NewRouter()
	router.Handle(config.MetricsPath, promhttp.HandlerFor(config.Metrics, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, // one broken collector hides itself, not all others
	})).Methods(http.MethodGet)
	healthz.InstallLivezHandler(routes{router}, config.Live...)
	healthz.InstallReadyzHandler(routes{router}, config.Ready...)
	if config.Election != nil {
		healthz.InstallPathHandler(routes{router}, "/healthz/leader-election", config.Election)
	}
	if config.Pprof {
		router.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		router.HandleFunc("/debug/pprof/profile", pprof.Profile)
		router.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		router.HandleFunc("/debug/pprof/trace", pprof.Trace)
		router.PathPrefix("/debug/pprof/").HandlerFunc(pprof.Index)
	}
	return router
}

// Address is the address that was bound; it tells the port if none was asked for.
func (s *Server) Address() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends and requests under way are answered.
func (s *Server) Run(ctx context.Context) error {
	klog.FromContext(ctx).Info("Serving health and metrics", "address", s.listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- s.server.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve health and metrics: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := s.server.Shutdown(stop); err != nil {
		return errors.Join(err, s.server.Close())
	}
	return nil
}
