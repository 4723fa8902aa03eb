// Package pki issues the certificates of one control plane. Keys are ECDSA P-256: made in microseconds, and cheap in
// the many handshakes of a test run. The package touches files only through the paths it is given.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
)

const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	// clockSlack keeps a certificate valid for a reader whose clock is behind.
	clockSlack = time.Hour
)

// Pair is a certificate and its key, PEM encoded.
type Pair struct {
	Certificate []byte
	Key         []byte
}

// Authority signs certificates. It comes from LoadOrCreate.
type Authority struct {
	Pair
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Files are the two files a Pair is kept in.
type Files struct {
	Certificate string
	Key         string
}

// LoadOrCreate reads the authority's files, or makes the authority and writes them. Keeping it means that
// certificates handed out before a restart on the same directory stay good.
func LoadOrCreate(name string, files Files) (*Authority, error) {
	authority, err := Load(files)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return authority, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create authority %s: %w", name, err)
	}
	template, err := newTemplate(authorityLife)
	if err != nil {
		return nil, fmt.Errorf("create authority %s: %w", name, err)
	}
	template.Subject = pkix.Name{CommonName: name}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	pair, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("create authority %s: %w", name, err)
	}
	if err := pair.Write(files); err != nil {
		return nil, err
	}
	return Load(files)
}

// Load reads an authority; the error wraps os.ErrNotExist if there is none.
func Load(files Files) (*Authority, error) {
	pair := Pair{}
	var err error
	if pair.Certificate, err = os.ReadFile(files.Certificate); err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	if pair.Key, err = os.ReadFile(files.Key); err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	certificateBlock, _ := pem.Decode(pair.Certificate)
	keyBlock, _ := pem.Decode(pair.Key)
	if certificateBlock == nil || keyBlock == nil {
		return nil, fmt.Errorf("load authority: %s or %s is not PEM", files.Certificate, files.Key)
	}
	certificate, err := x509.ParseCertificate(certificateBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("load authority %s: %w", files.Certificate, err)
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("load authority %s: %w", files.Key, err)
	}
	return &Authority{Pair: pair, certificate: certificate, key: key}, nil
}

// Write stores the pair, the key for the owner's eyes only.
func (p Pair) Write(files Files) error {
	if err := directory.Write(files.Certificate, p.Certificate, 0o644); err != nil {
		return err
	}
	return directory.Write(files.Key, p.Key, 0o600)
}

// Subject is who a certificate speaks for; Kubernetes reads the name as the user, organizations as the groups.
type Subject struct {
	Name   string
	Groups []string
}

// Client issues a certificate for authenticating to a server.
func (a *Authority) Client(subject Subject) (Pair, error) {
	return a.issue(subject, nil, x509.ExtKeyUsageClientAuth)
}

// Server issues a certificate for serving under the given host names and addresses. It can also authenticate to a
// server, which etcd needs of its own serving certificate.
func (a *Authority) Server(subject Subject, hosts []string) (Pair, error) {
	return a.issue(subject, hosts, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

func (a *Authority) issue(subject Subject, hosts []string, usages ...x509.ExtKeyUsage) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate for %s: %w", subject.Name, err)
	}
	template, err := newTemplate(certificateLife)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate for %s: %w", subject.Name, err)
	}
	template.Subject = pkix.Name{CommonName: subject.Name, Organization: subject.Groups}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = usages
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	pair, err := sign(template, a.certificate, key, a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate for %s: %w", subject.Name, err)
	}
	return pair, nil
}

func newTemplate(life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-clockSlack), NotAfter: now.Add(life)}, nil
}

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (Pair, error) {
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, err
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}),
	}, nil
}
