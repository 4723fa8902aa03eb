package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// server serves TLS as the admission server does, with the serving code of Kubernetes' own API servers.
type server struct {
	config     *tls.Config
	controller *dynamiccertificates.DynamicServingCertificateController
}

func serverOf(source Source) *server {
	controller := dynamiccertificates.NewDynamicServingCertificateController(&tls.Config{MinVersion: tls.VersionTLS12}, nil, source, nil, nil)
	source.AddListener(controller)
	return &server{&tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: controller.GetConfigForClient}, controller}
}

// serve follows the replica's certificates. There must be one: Kubernetes' error handling waits for the real time.
func (r *replica) serve() *server {
	s := serverOf(r)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.controller.Run(1, stop)
	}()
	r.t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	return s
}

// call connects to a server as an API server does that trusts a bundle.
func (s *server) call(bundle []byte) error {
	here, there := net.Pipe()
	defer here.Close()
	served := make(chan error, 1)
	go func() {
		defer there.Close()
		served <- tls.Server(there, s.config).Handshake()
	}()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	client := tls.Client(here, &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS12})
	err := client.Handshake()
	here.Close()
	return errors.Join(err, <-served)
}

// A rotation with all its phases, and the leader gone in each of them: no handshake fails, not even of an API server that has not seen the
// webhook configurations for a while, and the handshakes are the real ones.
func TestNoHandshakeFailsWhileLeadersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		replicas := []*replica{c.start(nil), c.start(nil)}
		leader := 0
		stop := replicas[leader].lead()
		after(time.Hour)
		servers := []*server{replicas[0].serve(), replicas[1].serve()}

		const tick, late = 20 * time.Second, 4 * time.Minute
		var seen [][]byte // bundles, the newest last
		left := map[Phase]bool{PhaseStable: true}
		first := c.state().Current
		handshakes := 0
		c.refuse("patch mutatingwebhookconfigurations", errors.New("no route")) // until the first leader has gone: that phase is a short one
		for elapsed := time.Duration(0); elapsed < 9*time.Hour; elapsed += tick {
			after(tick)
			phase := c.state().Phase()
			if !left[phase] {
				left[phase] = true
				stop()
				leader = 1 - leader
				stop = replicas[leader].lead()
				c.refuse("patch mutatingwebhookconfigurations", nil)
			}
			seen = append(seen, c.bundles()[0])
			if phase == PhaseStable && elapsed%(5*time.Minute) != 0 {
				continue // nothing happens, and a handshake takes its time
			}
			for n, s := range servers {
				for _, bundle := range [][]byte{seen[len(seen)-1], seen[max(0, len(seen)-1-int(late/tick))]} {
					handshakes++
					if err := s.call(bundle); err != nil {
						t.Fatalf("after %s, phase %s, replica %d: %v", elapsed, phase, n, err)
					}
				}
			}
		}
		for _, phase := range []Phase{PhasePrepared, PhaseTrusted, PhaseSwitched} {
			if !left[phase] {
				t.Errorf("it never was %s", phase)
			}
		}
		if state := c.state(); state.Phase() != PhaseStable || state.trusts(first.Certificate) {
			t.Errorf("the rotation did not end: %s", describeState(state))
		}
		if handshakes < 500 {
			t.Errorf("only %d handshakes", handshakes)
		}
	})
}

func TestNobodyIsServedWithoutACertificate(t *testing.T) {
	s := serverOf(NewFiles(FilesConfig{Certificate: "nowhere", Key: "nowhere", Registry: prometheus.NewRegistry()}))
	if err := s.controller.RunOnce(); err == nil {
		t.Error("something is served")
	}
	if err := s.call(nil); err == nil || !strings.Contains(err.Error(), "configuration not ready") {
		t.Errorf("a handshake without a certificate: %v", err)
	}
}
