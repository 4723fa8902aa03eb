package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CertificateFiles are a certificate and its key as a Pod sees those of a Secret: links through a directory that is exchanged as a whole.
type CertificateFiles struct {
	// Certificate and Key are the paths.
	Certificate, Key string

	dir string
}

// NewCertificateFiles names the files in a directory. They exist after the first Write.
func NewCertificateFiles(dir string) *CertificateFiles {
	return &CertificateFiles{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), dir}
}

// Write puts a certificate there in place of the one before, as the kubelet does: at no time is one of the files of another pair.
func (f *CertificateFiles) Write(issued Issued) error {
	if err := f.write(issued); err != nil {
		return fmt.Errorf("write certificate to %s: %w", f.dir, err)
	}
	return nil
}

func (f *CertificateFiles) write(issued Issued) error {
	pair, err := os.MkdirTemp(f.dir, "..pair-")
	if err != nil {
		return err
	}
	const current = "..data"
	for path, data := range map[string][]byte{f.Certificate: issued.Certificate, f.Key: issued.Key} {
		name := filepath.Base(path)
		if err := os.WriteFile(filepath.Join(pair, name), data, 0o600); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(current, name), path); err != nil && !os.IsExist(err) {
			return err
		}
	}
	next := filepath.Join(f.dir, "..next")
	if err := os.Symlink(filepath.Base(pair), next); err != nil {
		return err
	}
	former, _ := os.Readlink(filepath.Join(f.dir, current)) // none at first
	if err := os.Rename(next, filepath.Join(f.dir, current)); err != nil || former == "" {
		return err
	}
	return os.RemoveAll(filepath.Join(f.dir, former))
}

// Issued is a certificate and its key, in PEM.
type Issued struct {
	Certificate, Key []byte
	// Serial tells it from others.
	Serial *big.Int
}

// Authority signs certificates. Everybody is trusted with it.
type Authority struct {
	// Bundle is its own certificate, in PEM.
	Bundle []byte

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(name string) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	a := &Authority{key: key}
	a.certificate = &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.Bundle, err = a.sign(a.certificate, key)
	return a, err
}

// Issue makes a certificate with a name, for servers on loopback and for clients.
func (a *Authority) Issue(name string) (Issued, error) {
	key, err := newKey()
	if err != nil {
		return Issued{}, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signed, err := a.sign(template, key)
	if err != nil {
		return Issued{}, err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Issued{}, fmt.Errorf("certificate of %s: %w", name, err)
	}
	return Issued{Certificate: signed, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain}), Serial: template.SerialNumber}, nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// sign completes a certificate and signs it. The result is PEM.
func (a *Authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", template.Subject.CommonName, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
