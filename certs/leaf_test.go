package certs

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChooseSigner(t *testing.T) {
	a, b := makeAuthority(t, "a", -day, 10*day), makeAuthority(t, "b", -day, 10*day)
	expired, future := makeAuthority(t, "expired", -2*day, -day), makeAuthority(t, "future", day, 2*day)
	by := func(issuer *Authority, renew, expires time.Duration) *leaf {
		return &leaf{issuer: issuer.Certificate, renew: noon().Add(renew), expires: noon().Add(expires)}
	}
	fresh := func(issuer *Authority) *leaf { return by(issuer, time.Hour, 2*time.Hour) }
	aged := func(issuer *Authority) *leaf { return by(issuer, -time.Hour, time.Hour) }
	dead := func(issuer *Authority) *leaf { return by(issuer, -time.Hour, 0) }
	retired := []*x509.Certificate{a.Certificate}
	tests := map[string]struct {
		held  *leaf
		state State
		want  *Authority
	}{
		"there is nobody to sign":                                             {nil, State{}, nil},
		"a first certificate is by the current authority":                     {nil, State{Current: a, Next: b}, a},
		"of a first authority it is by the next: there is no other":           {nil, State{Next: b}, b},
		"so it is if the current one has expired":                             {nil, State{Current: expired, Next: b}, b},
		"or lies in the future":                                               {nil, State{Current: future, Next: b}, b},
		"nothing of use signs nothing":                                        {nil, State{Current: expired, Next: future}, nil},
		"a fresh one of the current authority stays":                          {fresh(a), State{Current: a, Next: b}, nil},
		"an aged one is renewed":                                              {aged(a), State{Current: a}, a},
		"an expired one is replaced":                                          {dead(a), State{Current: a}, a},
		"after a switch it is replaced at once":                               {fresh(a), State{Current: b, Retired: retired}, b},
		"if the Secret is gone it stays":                                      {aged(a), State{}, nil},
		"even an expired one stays if nobody can sign":                        {dead(a), State{}, nil},
		"while a lost authority is replaced it stays, as it is trusted":       {fresh(a), State{Next: b, Retired: retired}, nil},
		"even if it has aged":                                                 {aged(a), State{Next: b, Retired: retired}, nil},
		"if it is not trusted any more, the next one signs":                   {fresh(a), State{Next: b}, b},
		"if it has expired, the next one signs":                               {dead(a), State{Next: b, Retired: retired}, b},
		"one of the next authority stays":                                     {fresh(b), State{Next: b}, nil},
		"an aged one of the next authority is renewed":                        {aged(b), State{Next: b}, b},
		"a damaged Secret tells nothing about whom to trust":                  {fresh(a), State{Next: b, Damage: "damaged"}, nil},
		"not even after a switch":                                             {fresh(a), State{Current: b, Damage: "damaged"}, nil},
		"but if there is nothing valid, whoever can sign in it does":          {dead(a), State{Next: b, Damage: "damaged"}, b},
		"a first certificate may come from what is left of a damaged Secret:": {nil, State{Current: b, Damage: "damaged"}, b},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := chooseSigner(tt.held, tt.state, noon()); got != tt.want {
				t.Errorf("got %v, want %v", describeState(State{Current: got}), describeState(State{Current: tt.want}))
			}
		})
	}
}

func TestSignedCertificate(t *testing.T) {
	periods := DefaultPeriods()
	authority, err := newAuthority(noon(), periods)
	if err != nil {
		t.Fatal(err)
	}
	held, err := authority.sign(signing{names: []string{"berth.ns.svc", "127.0.0.1", "berth.ns.svc.cluster.local", "::1"}, now: noon(), periods: periods, jitter: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(held.certificate, held.key)
	if err != nil {
		t.Fatal(err)
	}
	type facts struct {
		DNSNames            []string
		IPs                 []string
		NotBefore, NotAfter time.Duration
		Usage               x509.KeyUsage
		Extended            []x509.ExtKeyUsage
		CA                  bool
	}
	of := func(c *x509.Certificate) facts {
		f := facts{c.DNSNames, nil, c.NotBefore.Sub(noon()), c.NotAfter.Sub(noon()), c.KeyUsage, c.ExtKeyUsage, c.IsCA}
		for _, ip := range c.IPAddresses {
			f.IPs = append(f.IPs, ip.String())
		}
		return f
	}
	if diff := cmp.Diff(facts{[]string{"berth.ns.svc", "berth.ns.svc.cluster.local"}, []string{"127.0.0.1", "::1"}, -10 * time.Minute, day,
		x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, false}, of(pair.Leaf)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(facts{nil, nil, -10 * time.Minute, 365 * day, x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, nil, true},
		of(authority.Certificate)); diff != "" {
		t.Error(diff)
	}
	if serial := pair.Leaf.SerialNumber; serial.Sign() <= 0 || serial.BitLen() > 129 || serial.Cmp(authority.Certificate.SerialNumber) == 0 {
		t.Errorf("serial number %x", serial)
	}
	if got, want := held.renew.Sub(noon()), 16*time.Hour-72*time.Minute; got != want {
		t.Errorf("renewed after %s, want %s", got, want)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority.Certificate)
	for _, name := range []string{"berth.ns.svc", "127.0.0.1", "[::1]"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: noon().Add(time.Hour)}); err != nil {
			t.Error(err)
		}
	}
}

func TestCertificateEndsWithItsAuthority(t *testing.T) {
	authority := makeAuthority(t, "a", -day, 3*time.Hour)
	held, err := authority.sign(signing{names: []string{"berth.ns.svc"}, now: noon(), periods: DefaultPeriods()})
	if err != nil {
		t.Fatal(err)
	}
	if got := held.expires.Sub(noon()); got != 3*time.Hour {
		t.Errorf("expires after %s", got)
	}
	if got := held.renew.Sub(noon()); got != 2*time.Hour {
		t.Errorf("renewed after %s", got)
	}
}
