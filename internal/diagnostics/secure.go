package diagnostics

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// Files are a certificate and its key, PEM, which somebody else keeps. Changes are followed.
type Files struct{ Certificate, Key string }

// certificate reads the files, so that wrong ones are an error at start.
func (f Files) certificate() (*dynamiccertificates.DynamicCertKeyPairContent, error) {
	content, err := dynamiccertificates.NewDynamicServingContentFromFiles("http-endpoint", f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("--http-certificate-file and --http-key-file: %w", err)
	}
	return content, nil
}

// secure serves TLS on a listener, with whatever certificate is the current one.
func secure(listener net.Listener, content dynamiccertificates.CertKeyContentProvider) net.Listener {
	return tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			certificate, key := content.CurrentCertKeyContent()
			if len(certificate) == 0 {
				return nil, errors.New("there is no certificate")
			}
			pair, err := tls.X509KeyPair(certificate, key)
			return &pair, err
		},
	})
}
