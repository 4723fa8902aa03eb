package certs

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// Source is where a server's certificate comes from, as the API server's own serving code wants it (SecureServingInfo.Cert).
// Until there is a certificate its content is empty, and handshakes fail.
type Source interface {
	dynamiccertificates.CertKeyContentProvider
	// Run keeps the certificate up to date until ctx ends.
	Run(ctx context.Context) error
	// Check is a readiness check: an error until there is a certificate.
	Check(*http.Request) error
}

var errNoCertificate = errors.New("there is no certificate yet")

// listeners hear that the certificate changed.
type listeners struct {
	mu  sync.Mutex
	all []dynamiccertificates.Listener
}

// AddListener has a listener hear of changes from now on.
func (l *listeners) AddListener(listener dynamiccertificates.Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, listener)
}

func (l *listeners) tell() {
	l.mu.Lock()
	told := slices.Clip(l.all)
	l.mu.Unlock()
	for _, listener := range told {
		listener.Enqueue()
	}
}
