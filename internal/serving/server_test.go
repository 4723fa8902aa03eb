package serving

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// authority signs certificates for tests.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate, a.key, _ = a.sign(template)
	return a
}

// sign makes a certificate, of the authority itself while it has none.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// pair is a certificate and its key in PEM.
func (a *authority) pair(name string, usage x509.ExtKeyUsage) (certificate, key []byte) {
	a.t.Helper()
	_, private, certificate := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	})
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// keyPair is the same for a client.
func keyPair(a *authority, name string, usage x509.ExtKeyUsage) []tls.Certificate {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.pair(name, usage))
	if err != nil {
		a.t.Fatal(err)
	}
	return []tls.Certificate{pair}
}

func (a *authority) file() string {
	a.t.Helper()
	path := filepath.Join(a.t.TempDir(), "ca.crt")
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
	if err := os.WriteFile(path, content, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) client(certificates ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: certificates, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}}
}

// running is a server that serves.
type running struct {
	*Server

	t       *testing.T
	url     string
	stop    context.CancelFunc
	done    chan error
	drained chan time.Time
}

func run(t *testing.T, a *authority, edit func(*Config)) *running {
	t.Helper()
	pem, key := a.pair("server", x509.ExtKeyUsageServerAuth)
	certificate, err := dynamiccertificates.NewStaticCertKeyContent("test", pem, key)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Address: "127.0.0.1:0", Certificate: certificate, Drain: time.Hour,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })}
	edit(&config)
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Server: server, t: t, done: make(chan error, 1), drained: make(chan time.Time)}
	server.after = func(time.Duration) <-chan time.Time { return r.drained }
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	if server.Check(nil) == nil {
		t.Error("ready before it runs")
	}
	go func() { r.done <- server.Run(ctx) }()
	eventually(t, "it serves", func() bool { return server.Check(nil) == nil })
	r.url = "https://" + server.Address().String()
	return r
}

func (r *running) end() {
	r.t.Helper()
	r.stop()
	close(r.drained)
	if err := <-r.done; err != nil {
		r.t.Error(err)
	}
}

// reply is what a client gets.
type reply struct {
	status int
	proto  string
	close  bool // the client is asked to close the connection
	body   string
}

func (r *running) get(client *http.Client) reply {
	r.t.Helper()
	response, err := client.Get(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Proto, response.Close, strings.TrimSpace(string(body))}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestDrainingServesOnAndSendsClientsElsewhere(t *testing.T) {
	a := newAuthority(t)
	r := run(t, a, func(*Config) {})
	client := a.client()
	if got, want := r.get(client), (reply{http.StatusOK, "HTTP/1.1", false, "served"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	r.stop()
	eventually(t, "it is not ready any more", func() bool { return r.Check(nil) != nil })
	for range 2 { // on the connection that was kept, and on a new one
		if got, want := r.get(client), (reply{http.StatusOK, "HTTP/1.1", true, "served"}); got != want {
			t.Errorf("while draining: got %+v, want %+v", got, want)
		}
	}
	select {
	case err := <-r.done:
		t.Fatalf("it ended before the drain time: %v", err)
	default:
	}
	r.end()
	if response, err := client.Get(r.url); err == nil {
		response.Body.Close()
		t.Error("it serves after its end")
	}
}

func TestOldVersionsOfTLSAreTurnedAway(t *testing.T) {
	a := newAuthority(t)
	r := run(t, a, func(c *Config) { c.MinVersion = tls.VersionTLS13 })
	defer r.end()
	client := a.client()
	client.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	if response, err := client.Get(r.url); err == nil {
		response.Body.Close()
		t.Error("TLS 1.2 is served, want 1.3 only")
	}
}

func TestClientsNeedACertificateThatIsAccepted(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	r := run(t, a, func(c *Config) { c.ClientCAFile, c.ClientNames = a.file(), []string{"apiserver", "proxy.example"} })
	defer r.end()
	tests := map[string]struct {
		certificates []tls.Certificate
		status       int
		says         string
	}{
		"none":                           {nil, http.StatusUnauthorized, "a client certificate is required"},
		"of another authority":           {keyPair(other, "apiserver", x509.ExtKeyUsageClientAuth), http.StatusUnauthorized, "not good"},
		"for servers":                    {keyPair(a, "apiserver", x509.ExtKeyUsageServerAuth), http.StatusUnauthorized, "not good"},
		"in another name":                {keyPair(a, "somebody", x509.ExtKeyUsageClientAuth), http.StatusForbidden, `client "somebody" may not call`},
		"in the name that is accepted":   {keyPair(a, "apiserver", x509.ExtKeyUsageClientAuth), http.StatusOK, "served"},
		"with a DNS name that is so too": {keyPair(a, "proxy", x509.ExtKeyUsageClientAuth), http.StatusOK, "served"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := a.client()
			client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(tt.certificates) == 0 {
					return &tls.Certificate{}, nil
				}
				return &tt.certificates[0], nil
			}
			if got := r.get(client); got.status != tt.status || !strings.Contains(got.body, tt.says) {
				t.Errorf("got %+v, want %d %q", got, tt.status, tt.says)
			}
		})
	}
}

func TestMistakesAreOneClearError(t *testing.T) {
	if _, err := New(Config{ClientCAFile: "/nowhere"}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("got %v, want an error that names the file", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken, err := New(Config{Address: listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := taken.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--admission-address") {
		t.Errorf("got %v, want an error that names the flag", err)
	}
}
