package certs

import (
	"crypto/x509"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustEncode(t *testing.T, s State, into map[string][]byte) map[string][]byte {
	t.Helper()
	data, err := s.encode(into)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWhatIsStoredIsReadBack(t *testing.T) {
	a, b, c := makeAuthority(t, "a", -day, day), makeAuthority(t, "b", -day, day), makeAuthority(t, "c", -day, day)
	tests := map[string]struct {
		state State
		phase Phase
		want  string
	}{
		"nothing": {State{}, PhaseNone, ""},
		"one":     {State{Current: a}, PhaseStable, "current a"},
		"a first": {State{Next: a}, PhasePrepared, "next a"},
		"two": {State{Current: a, Next: b, Trusted: noon().Add(1500 * time.Millisecond)}, PhaseTrusted,
			"current a, next b, trusted 1.5s"},
		"a former one": {State{Current: b, Retired: []*x509.Certificate{a.Certificate, c.Certificate}, RetiredAt: noon()}, PhaseSwitched,
			"current b, retired a+c, since 0s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data := mustEncode(t, tt.state, nil)
			got := decode(data)
			if diff := cmp.Diff(tt.want, describeState(got)); diff != "" {
				t.Error(diff)
			}
			if got.Phase() != tt.phase {
				t.Errorf("phase %s, want %s", got.Phase(), tt.phase)
			}
			if diff := cmp.Diff(data, mustEncode(t, got, nil)); diff != "" {
				t.Errorf("written again, it differs: %s", diff)
			}
			if diff := cmp.Diff(string(tt.state.Bundle()), string(data[keyBundle])); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASwitchDoesNotChangeTheBundle(t *testing.T) {
	a, b := makeAuthority(t, "a", -day, day), makeAuthority(t, "b", -day, day)
	before := State{Current: a, Next: b}.Bundle()
	after := State{Current: b, Retired: []*x509.Certificate{a.Certificate}}.Bundle()
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Error(diff)
	}
}

func TestOthersKeysOfTheSecretAreLeftAlone(t *testing.T) {
	a, b := makeAuthority(t, "a", -day, day), makeAuthority(t, "b", -day, day)
	data := mustEncode(t, State{Current: a, Next: b, Trusted: noon()}, map[string][]byte{"note": []byte("by somebody")})
	data = mustEncode(t, State{Current: b}, data)
	want := mustEncode(t, State{Current: b}, nil)
	want["note"] = []byte("by somebody")
	if diff := cmp.Diff(want, data); diff != "" {
		t.Error(diff)
	}
}

func TestDamage(t *testing.T) {
	a, b := makeAuthority(t, "a", -day, day), makeAuthority(t, "b", -day, day)
	server := makeCertificate(t, "server", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	intact := mustEncode(t, State{Current: a, Next: b, Trusted: noon(), Retired: []*x509.Certificate{b.Certificate}, RetiredAt: noon()}, nil)
	notAnAuthority := mustEncode(t, State{Current: server}, nil)
	tests := map[string]struct {
		change map[string]string // by key; what it is then
		want   string
	}{
		"garbage for the certificate": {map[string]string{keyCurrent: "garbage"},
			"next b, trusted 0s, retired b, since 0s, damage (ca.crt: tls: failed to find any PEM data in certificate input)"},
		"no key": {map[string]string{keyCurrentKey: ""},
			"next b, trusted 0s, retired b, since 0s, damage (ca.crt: tls: failed to find any PEM data in key input)"},
		"the key of another": {map[string]string{keyCurrentKey: string(intact[keyNextKey])},
			"next b, trusted 0s, retired b, since 0s, damage (ca.crt: tls: private key does not match public key)"},
		"a certificate that cannot sign": {map[string]string{keyCurrent: string(notAnAuthority[keyCurrent]), keyCurrentKey: string(notAnAuthority[keyCurrentKey])},
			"next b, trusted 0s, retired b, since 0s, damage (ca.crt: the certificate is not an authority's)"},
		"garbage for the next one": {map[string]string{keyNext: "garbage"},
			"current a, trusted 0s, retired b, since 0s, damage (next-ca.crt: tls: failed to find any PEM data in certificate input)"},
		"garbage for the retired ones": {map[string]string{keyRetired: "garbage"},
			"current a, next b, trusted 0s, since 0s, damage (retired-ca.crt: data does not contain any valid RSA or ECDSA certificates)"},
		"half a retired one": {map[string]string{keyRetired: string(intact[keyRetired]) + string(intact[keyRetired][:100])},
			"current a, next b, trusted 0s, retired b, since 0s, damage (retired-ca.crt: has more in it than certificates)"},
		"no times": {map[string]string{keyNextTrusted: "noon", keyRetiredSince: "yesterday"},
			"current a, next b, retired b, damage (next-ca-trusted-since: not a time; retired-ca-since: not a time)"},
		"nothing that is read": {map[string]string{keyBundle: "garbage"}, "current a, next b, trusted 0s, retired b, since 0s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data := maps.Clone(intact)
			for key, value := range tt.change {
				data[key] = []byte(value)
			}
			if diff := cmp.Diff(tt.want, describeState(decode(data))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
