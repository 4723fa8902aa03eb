// Package serving serves the admission webhooks over TLS.
//
// It serves HTTP/1.1 only, which is all that an API server speaks with a webhook's Service, with a certificate that may change at any time,
// and takes its leave slowly: API servers keep their connections, and endpoints that are gone are known to all of them only after a while.
//
// It imports nothing of this project.
package serving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"
)

// Config describes the server.
type Config struct {
	Address      string // [HOST]:PORT
	Certificate  dynamiccertificates.CertKeyContentProvider
	MinVersion   uint16        // of TLS; 0: 1.2
	CipherSuites []uint16      // empty: Go's
	ClientCAFile string        // who may have signed clients' certificates; empty: clients need none
	ClientNames  []string      // common or DNS names in clients' certificates, one of which is needed; empty: any
	Drain        time.Duration // how long it goes on serving after it was told to stop
	Handler      http.Handler
}

// Server is made by New, and serves once.
type Server struct {
	config  Config
	clients *clients // nil: everybody may call
	state   atomic.Int32
	address atomic.Pointer[net.Addr]
	after   func(time.Duration) <-chan time.Time // time.After, but for tests
}

// States of a server.
const (
	waiting int32 = iota
	serving
	draining
)

// shutdownTimeout is for requests that are under way when draining is over.
const shutdownTimeout = 5 * time.Second

// New prepares a server. The clients' authority is read, so that a wrong file is an error at start.
func New(config Config) (*Server, error) {
	s := &Server{config: config, after: time.After}
	if config.ClientCAFile != "" {
		authority, err := dynamiccertificates.NewDynamicCAContentFromFile("admission-clients", config.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("authority of the admission server's clients: %w", err)
		}
		s.clients = &clients{authority: authority, names: config.ClientNames}
	}
	return s, nil
}

// Check is a readiness check: an error unless the server serves and was not told to stop.
func (s *Server) Check(*http.Request) error {
	switch s.state.Load() {
	case serving:
		return nil
	case draining:
		return errors.New("stopping")
	default:
		return errors.New("not serving yet")
	}
}

// Address is the address that was bound; nil before Run has bound one.
func (s *Server) Address() net.Addr {
	if address := s.address.Load(); address != nil {
		return *address
	}
	return nil
}

// Run serves until ctx ends, goes on for the drain time while it is not ready any more and asks clients to connect elsewhere, and returns
// when requests under way are answered. There must be a certificate.
func (s *Server) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Address)
	if err != nil {
		return fmt.Errorf("--admission-address: %w", err)
	}
	info := &server.SecureServingInfo{
		Listener:      listener,
		Cert:          s.config.Certificate,
		MinTLSVersion: s.config.MinVersion,
		CipherSuites:  s.config.CipherSuites,
		DisableHTTP2:  true, // a whole class of attacks less, and nobody would use it
	}
	if s.clients != nil {
		info.ClientCA = s.clients.authority
	}
	stop := make(chan struct{})
	stopped, _, err := info.Serve(s.handler(), shutdownTimeout, stop)
	if err != nil {
		return errors.Join(fmt.Errorf("serve admission: %w", err), listener.Close())
	}
	address := listener.Addr()
	s.address.Store(&address)
	s.state.CompareAndSwap(waiting, serving)
	logger.Info("Serving admission webhooks", "address", address)

	<-ctx.Done()
	s.state.Store(draining)
	logger.Info("Stopping; admission is served a little longer, until no API server comes any more", "drain", s.config.Drain)
	<-s.after(s.config.Drain)
	close(stop)
	<-stopped
	return nil
}

// handler serves those who may call. While the server drains, each answer asks its client to close the connection: the next one is made to
// another replica.
func (s *Server) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.state.Load() == draining {
			w.Header().Set("Connection", "close")
		}
		if s.clients != nil {
			if refused := s.clients.judge(r); refused != nil {
				klog.FromContext(r.Context()).V(2).Info("Turned away a client", "from", r.RemoteAddr, "why", refused.why)
				http.Error(w, refused.why, refused.status)
				return
			}
		}
		s.config.Handler.ServeHTTP(w, r)
	})
}
