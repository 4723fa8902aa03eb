package harness

import (
	"bytes"
	"context"
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
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Keys of the Secret with the authority of admission's certificates.
const (
	KeyAuthority     = "ca.crt"
	keyAuthorityKey  = "ca.key"
	keyNextAuthority = "next-ca.crt"
	keyTrustedSince  = "next-ca-trusted-since"
	keyRetired       = "retired-ca.crt"
	KeyBundle        = "ca-bundle.crt"
)

// Phases of a rotation.
const (
	PhaseNone     = "none"
	PhasePrepared = "prepared"
	PhaseTrusted  = "trusted"
	PhaseSwitched = "switched"
	PhaseStable   = "stable"
)

// RotationPhase is where a rotation is, as the Secret tells.
func RotationPhase(secret *corev1.Secret) string {
	has := func(key string) bool { return len(secret.Data[key]) > 0 }
	switch {
	case has(keyNextAuthority) && has(keyTrustedSince):
		return PhaseTrusted
	case has(keyNextAuthority):
		return PhasePrepared
	case !has(KeyAuthority):
		return PhaseNone
	case has(keyRetired):
		return PhaseSwitched
	}
	return PhaseStable
}

// AuthoritySecretOf is the name of the Secret in BerthNamespace that the Berth of this world keeps its authority in.
func (w *World) AuthoritySecretOf() string { return authoritySecret("berth-" + w.Name) }

// NewAuthoritySecret describes such a Secret as a Berth of former times has left it: with an authority that ends at a time, and nothing else.
func (w *World) NewAuthoritySecret(ends time.Time) (*corev1.Secret, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(ends.UnixNano()), Subject: pkix.Name{CommonName: "an authority of former times"},
		NotBefore: ends.Add(-365 * 24 * time.Hour), NotAfter: ends,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: BerthNamespace, Name: w.AuthoritySecretOf()},
		Data: map[string][]byte{
			KeyAuthority: inPEM, keyAuthorityKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), KeyBundle: inPEM,
		},
	}, nil
}

// AuthorityEnds is when the authority that signs now expires.
func AuthorityEnds(secret *corev1.Secret) (time.Time, error) {
	block, _ := pem.Decode(secret.Data[KeyAuthority])
	if block == nil {
		return time.Time{}, errors.New("the Secret has no authority")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	return certificate.NotAfter, nil
}

// TrustedWith tries whether a server is trusted by who trusts a bundle, and returns the end of its certificate.
func TrustedWith(ctx context.Context, address string, bundle []byte) (time.Time, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return time.Time{}, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bytes.Clone(bundle)) {
		return time.Time{}, errors.New("there is no certificate in the bundle")
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return time.Time{}, fmt.Errorf("connect to %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter, nil
}
