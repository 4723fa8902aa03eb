package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"k8s.io/client-go/util/cert"
)

// Authority is a certificate and the key that it signs others with. It is never changed.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// newAuthority makes an authority. It is not limited to the server's names: only our own webhooks are told to trust it, and it
// would have to be replaced, without time to overlap, when a name is added.
func newAuthority(now time.Time, periods Periods) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// A name of its own: nobody has to try the keys of several authorities of one name.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("berth admission authority %x", serial)},
		NotBefore:             now.Add(-periods.Skew),
		NotAfter:              now.Add(periods.Authority),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs servers, never other authorities
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	return &Authority{Certificate: parsed, key: key}, nil
}

// newSerial is a random number of 128 bits, positive as RFC 5280 section 4.1.2.2 wants it.
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

// parseAuthority reads an authority and its key, and makes sure that it can sign.
func parseAuthority(certificate, key []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	if !isAuthority(pair.Leaf) {
		return nil, errors.New("the certificate is not an authority's")
	}
	return &Authority{Certificate: pair.Leaf, key: signer}, nil
}

// isAuthority reports whether a certificate may sign others.
func isAuthority(c *x509.Certificate) bool {
	return c.IsCA && (c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageCertSign != 0)
}

// encode is the authority in PEM.
func (a *Authority) encode() (certificate, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode an authority's key: %w", err)
	}
	return encodeCertificates(a.Certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// usable reports whether signatures of the authority are accepted at a time.
func (a *Authority) usable(now time.Time) bool {
	return !now.Before(a.Certificate.NotBefore) && now.Before(a.Certificate.NotAfter)
}

// encodeCertificates writes certificates in PEM, one after the other.
func encodeCertificates(certificates ...*x509.Certificate) []byte {
	var buffer bytes.Buffer
	for _, c := range certificates {
		buffer.Write(pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: c.Raw}))
	}
	return buffer.Bytes()
}

// parseCertificates reads one or more certificates in PEM.
func parseCertificates(data []byte) ([]*x509.Certificate, error) { return cert.ParseCertsPEM(data) }
