package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"time"
)

// leaf is a certificate that a replica serves with. It is never changed.
type leaf struct {
	certificate, key []byte // in PEM, as the serving code wants them
	issuer           *x509.Certificate
	expires          time.Time
	renew            time.Time // when to replace it, if nothing happens before
}

// valid reports whether the certificate is accepted by whoever trusts its issuer. It was signed here, so it began.
func (l *leaf) valid(now time.Time) bool { return now.Before(l.expires) }

// chooseSigner returns the authority that a replica has to sign a new certificate with at once, or nil if the one that it holds, which
// may be nil, is the best there is.
func chooseSigner(held *leaf, state State, now time.Time) *Authority {
	signer := state.signer(now)
	switch {
	case signer == nil:
		return nil
	case held == nil || !held.valid(now):
		return signer
	case state.Damage != "": // the leader will mend the Secret; until then it does not tell whom the API servers trust
		return nil
	case held.issuer.Equal(signer.Certificate):
		if now.Before(held.renew) {
			return nil
		}
		return signer
	case signer == state.Next && state.trusts(held.issuer): // API servers may not trust the next one yet, and do trust this one
		return nil
	}
	return signer
}

// signing is what a certificate needs beside its authority.
type signing struct {
	names   []string
	now     time.Time
	periods Periods
	jitter  float64 // 0 to 1: which part of a tenth of its life it is renewed early, so that replicas do not do it all at once
}

// sign makes a replica's certificate, with a key that has never been anywhere.
func (a *Authority) sign(s signing) (*leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "berth admission"}, // nobody reads it: what counts are the alternative names
		NotBefore:             s.now.Add(-s.periods.Skew),
		NotAfter:              s.now.Add(s.periods.Leaf),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if end := a.Certificate.NotAfter; end.Before(template.NotAfter) {
		template.NotAfter = end
	}
	for _, name := range s.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a certificate's key: %w", err)
	}
	expires := template.NotAfter.Truncate(time.Second) // as a certificate has it
	life := expires.Sub(s.now)
	return &leaf{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		issuer:      a.Certificate,
		expires:     expires,
		renew:       s.now.Add(life*2/3 - time.Duration(s.jitter*float64(life)/10)),
	}, nil
}
