package serving

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// clients are those who may call. TLS itself takes any certificate, so that who is turned away gets to know why.
type clients struct {
	authority *dynamiccertificates.DynamicFileCAContent
	names     []string // empty: any
}

// refusal says why a client may not call.
type refusal struct {
	status int
	why    string
}

// judge returns why the client may not call; nil: it may. The verdict is found anew for each request, because connections outlive
// certificates and authorities.
func (c *clients) judge(r *http.Request) *refusal {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return &refusal{http.StatusUnauthorized, "a client certificate is required"}
	}
	options, ok := c.authority.VerifyOptions()
	if !ok {
		return &refusal{http.StatusServiceUnavailable, "the authority of clients is not known"}
	}
	certificate := r.TLS.PeerCertificates[0]
	options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	options.Intermediates = x509.NewCertPool()
	for _, intermediate := range r.TLS.PeerCertificates[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := certificate.Verify(options); err != nil {
		return &refusal{http.StatusUnauthorized, fmt.Sprintf("the client certificate is not good: %v", err)}
	}
	known := func(name string) bool { return slices.Contains(c.names, name) }
	if len(c.names) > 0 && !known(certificate.Subject.CommonName) && !slices.ContainsFunc(certificate.DNSNames, known) {
		return &refusal{http.StatusForbidden, fmt.Sprintf("client %q may not call", certificate.Subject.CommonName)}
	}
	return nil
}
