package harness

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Proxy stands between one client and the API server, and lets a test do something between two of the client's requests.
type Proxy struct {
	// Kubeconfig is that of the client, with the proxy for a server.
	Kubeconfig string

	server *http.Server
	mu     sync.Mutex
	before func(*http.Request)
	lose   func(*http.Request) bool
}

// StartProxy starts a proxy for the client that kubeconfig is of. It ends with ctx.
func StartProxy(ctx context.Context, dir, kubeconfig string) (*Proxy, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config) // a client sends no token over plain HTTP, so the proxy has it
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Kubeconfig: filepath.Join(dir, "proxied.kubeconfig")}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // watches
	}
	p.server = &http.Server{Handler: p.handler(forward)} //nolint:gosec // on loopback, for a test
	context.AfterFunc(ctx, func() { _ = p.server.Close() })
	go func() { _ = p.server.Serve(listener) }()
	return p, p.write("http://" + listener.Addr().String())
}

func (p *Proxy) handler(forward http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		before, lose := p.before, p.lose
		p.mu.Unlock()
		if before != nil {
			before(r)
		}
		if lose == nil || !lose(r) {
			forward.ServeHTTP(w, r)
			return
		}
		forward.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler) //nolint:forbidigo // this is how a handler breaks the connection
	})
}

// Before has f called with every request before it is forwarded. It may wait, and it may be called for several at once.
func (p *Proxy) Before(f func(*http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = f
}

// Lose has the answers lost of the requests for which f says so: they are done, and the connection breaks.
func (p *Proxy) Lose(f func(*http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = f
}

func (p *Proxy) write(server string) error {
	out := clientcmdapi.NewConfig()
	out.Clusters["proxy"] = &clientcmdapi.Cluster{Server: server}
	out.AuthInfos["client"] = &clientcmdapi.AuthInfo{}
	out.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy", AuthInfo: "client"}
	out.CurrentContext = "proxy"
	return clientcmd.WriteToFile(*out, p.Kubeconfig)
}

// discard is where an answer goes that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
