package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// noon is the time at which tables happen; durations in them are from then.
func noon() time.Time { return time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC) }

const day = 24 * time.Hour

// shortPeriods are those of the tests in which time passes.
func shortPeriods() Periods {
	return Periods{Authority: 10 * time.Hour, Overlap: 3 * time.Hour, Leaf: time.Hour, Propagation: 5 * time.Minute, Skew: 10 * time.Minute}
}

// makeAuthority makes an authority that is known by its name, valid from and to a time around noon.
func makeAuthority(t *testing.T, name string, from, to time.Duration) *Authority {
	t.Helper()
	return makeCertificate(t, name, func(template *x509.Certificate) {
		template.NotBefore, template.NotAfter = noon().Add(from), noon().Add(to)
	})
}

func makeCertificate(t *testing.T, name string, change func(*x509.Certificate)) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: noon().Add(-day), NotAfter: noon().Add(day),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{Certificate: certificate, key: key}
}

func bundleOf(authorities ...*Authority) []byte {
	var bundle []byte
	for _, a := range authorities {
		bundle = append(bundle, encodeCertificates(a.Certificate)...)
	}
	return bundle
}

// describeState tells a state in a line, with authorities by name and times from noon.
func describeState(s State) string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if s.Current != nil {
		say("current %s", s.Current.Certificate.Subject.CommonName)
	}
	if s.Next != nil {
		say("next %s", s.Next.Certificate.Subject.CommonName)
	}
	if !s.Trusted.IsZero() {
		say("trusted %s", s.Trusted.Sub(noon()))
	}
	if len(s.Retired) > 0 {
		say("retired %s", names(s.Retired))
	}
	if !s.RetiredAt.IsZero() {
		say("since %s", s.RetiredAt.Sub(noon()))
	}
	if s.Damage != "" {
		say("damage (%s)", s.Damage)
	}
	return strings.Join(words, ", ")
}

func names(certificates []*x509.Certificate) string {
	var all []string
	for _, c := range certificates {
		all = append(all, c.Subject.CommonName)
	}
	return strings.Join(all, "+")
}

// describe tells an action in a line.
func describe(action Action) string {
	switch a := action.(type) {
	case Prepare:
		return strings.TrimSpace("Prepare: " + describeState(a.State))
	case Store:
		return fmt.Sprintf("%s: %s", a.Why, describeState(a.State))
	case Inject:
		certificates, err := parseCertificates(a.Bundle)
		if err != nil {
			return err.Error()
		}
		return "Inject " + names(certificates)
	case Wait:
		return "Wait until " + a.Until.Sub(noon()).String()
	}
	panic("unreachable: the set of actions is closed")
}

// figures are the metrics, by their name and the values of their labels.
func figures(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := []string{family.GetName()}
			for _, label := range metric.GetLabel() {
				name = append(name, label.GetValue())
			}
			all[strings.Join(name, " ")] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return all
}

func base64Of(t *testing.T, data []byte) string {
	t.Helper()
	encoded, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
