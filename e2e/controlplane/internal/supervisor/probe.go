package supervisor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/pki"
)

// userAgent is what the control plane's own requests carry, so that they can be told apart in the counts.
const userAgent = "controlplane"

// prober asks the components whether they are healthy. It holds no state between questions.
type prober struct {
	ports ports
	// etcd authenticates with etcd's client certificate, kubernetes as the administrator.
	etcd       *http.Client
	kubernetes *http.Client
	// controllers is the controller-manager's --controllers at the time of the question.
	controllers func() string
}

func newProber(files pki.Layout, p ports, clients pki.Clients) (*prober, error) {
	etcdCA, err := os.ReadFile(files.EtcdCA.Certificate)
	if err != nil {
		return nil, fmt.Errorf("read etcd authority: %w", err)
	}
	etcdCertificate, err := tls.LoadX509KeyPair(files.EtcdClient.Certificate, files.EtcdClient.Key)
	if err != nil {
		return nil, fmt.Errorf("read etcd client certificate: %w", err)
	}
	adminCertificate, err := tls.X509KeyPair(clients.Admin.Certificate, clients.Admin.Key)
	if err != nil {
		return nil, fmt.Errorf("read administrator's certificate: %w", err)
	}
	return &prober{
		ports:      p,
		etcd:       newHTTPClient(etcdCA, etcdCertificate),
		kubernetes: newHTTPClient(clients.CA, adminCertificate),
	}, nil
}

func newHTTPClient(authority []byte, certificate tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			// A connection kept from before a restart would answer with an error that says nothing.
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
		},
	}
}

// healthy returns nil if the component does its work, and what is missing otherwise.
func (p *prober) healthy(ctx context.Context, name component.Name) error {
	base := loopback(p.ports.of(name))
	switch name {
	case component.Etcd:
		_, err := get(ctx, p.etcd, base+"/health")
		return err
	case component.APIServer:
		_, err := get(ctx, p.kubernetes, base+"/readyz")
		return err
	case component.Scheduler:
		_, err := get(ctx, p.kubernetes, base+"/readyz")
		return err
	case component.ControllerManager:
		return p.controllerManagerHealthy(ctx, base)
	case component.Containerd:
		return p.containerdHealthy(ctx)
	case component.Kubelet:
		return p.kubeletHealthy(ctx)
	}
	return fmt.Errorf("no such component: %q", name)
}

// controllerManagerHealthy looks further than /healthz, which says ok before there is a single controller: the
// checks of the controllers must be among those listed, and the default namespace must have its service account,
// without which no Pod can be created.
func (p *prober) controllerManagerHealthy(ctx context.Context, base string) error {
	checks, err := get(ctx, p.kubernetes, base+"/healthz?verbose")
	if err != nil {
		return err
	}
	if !strings.Contains(checks, "-controller ok") {
		return errors.New("no controller has been built yet")
	}
	if !createsServiceAccounts(p.controllers()) {
		return nil
	}
	account := loopback(p.ports.apiServer) + "/api/v1/namespaces/default/serviceaccounts/default"
	if _, err := get(ctx, p.kubernetes, account); err != nil {
		return fmt.Errorf("default service account: %w", err)
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("User-Agent", userAgent)
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", url, response.Status)
	}
	return string(body), nil
}

var errEnded = errors.New("it ended")

// await asks until the component is healthy, its process has ended (errEnded), or ctx has; then the error says what
// was missing last.
func (p *prober) await(ctx context.Context, name component.Name, ended <-chan struct{}) error {
	const pause = 40 * time.Millisecond
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	missing := errors.New("not asked yet")
	for {
		if err := p.healthy(ctx, name); err == nil {
			return nil
		} else if ctx.Err() == nil {
			missing = err
		}
		select {
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), missing)
		case <-ticker.C:
		}
	}
}
