// Package diagnostics serves health, metrics, status and profiles. Nothing it serves changes anything, and nothing of it holds claims' or secrets'
// contents. It serves plain HTTP to everybody, like the established provisioner, unless it is told otherwise.
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
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/flagz"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/klog/v2"
)

// Config describes the server.
type Config struct {
	Address     string // [HOST]:PORT
	MetricsPath string
	Pprof       bool
	Metrics     prometheus.Gatherer
	// Live is /livez, where a failure means that only a restart helps. It is served at /healthz, too, where the check "leader-election" has the path
	// that the established provisioner gives it.
	Live    []healthz.HealthChecker
	Ready   []healthz.HealthChecker // /readyz
	Version string
	Flags   flagz.Reader // what /flagz shows; nil: it is not served
	Access  *Access      // who may read all but health; nil: everybody
	Files   *Files       // of the certificate to serve TLS with; nil: plain HTTP
}

// Server is a bound but not yet serving server.
type Server struct {
	listener    net.Listener
	server      *http.Server
	certificate *dynamiccertificates.DynamicCertKeyPairContent // nil: plain HTTP
}

const shutdownTimeout = 3 * time.Second

// Listen binds the address, so that a wrong or taken one is an error at start.
func Listen(config Config) (*Server, error) {
	listener, err := net.Listen("tcp", config.Address)
	if err != nil {
		return nil, fmt.Errorf("--http-endpoint: %w", err)
	}
	s := &Server{listener: listener}
	if config.Files != nil {
		if s.certificate, err = config.Files.certificate(); err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		s.listener = secure(listener, s.certificate)
	}
	s.server = &http.Server{
		Handler:           config.Access.guard(router(config)),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute, // a profile takes as long as it is asked to
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 16,
	}
	return s, nil
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
	healthz.InstallHandler(routes{router}, config.Live...)
	zpages(routes{router}, config)
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
	klog.FromContext(ctx).Info("Serving health and metrics", "address", s.listener.Addr(), "tls", s.certificate != nil)
	if s.certificate != nil {
		following, stop := context.WithCancel(ctx)
		defer stop()
		var follower sync.WaitGroup
		follower.Go(func() { s.certificate.Run(following, 1) })
		defer follower.Wait()
		defer stop()
	}
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
