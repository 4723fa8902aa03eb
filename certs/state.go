package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// State is what the Secret says. The zero State is a Secret that is not there, or empty.
type State struct {
	Current *Authority // signs; nil: it was lost, or there never was one
	Next    *Authority // will sign; it already does for a replica that has nothing else
	Trusted time.Time  // since when every webhook is known to trust Next; zero: not yet
	Retired []*x509.Certificate
	// RetiredAt is when the last of Retired was told to sign no more.
	RetiredAt time.Time
	// Damage says what could not be read; the other fields are what could. It is not written.
	Damage string
}

// Phase is where a rotation is.
type Phase string

// The phases, in the order in which they follow each other.
const (
	PhaseNone     Phase = "none"     // there is no authority
	PhasePrepared Phase = "prepared" // the next authority is being made known
	PhaseTrusted  Phase = "trusted"  // it is known, and waits until that has come to everybody
	PhaseSwitched Phase = "switched" // it signs, and the former one is still trusted
	PhaseStable   Phase = "stable"   // there is one authority
)

var phases = []Phase{PhaseNone, PhasePrepared, PhaseTrusted, PhaseSwitched, PhaseStable}

// Phase is where the rotation is.
func (s State) Phase() Phase {
	switch {
	case s.Next != nil && s.Trusted.IsZero():
		return PhasePrepared
	case s.Next != nil:
		return PhaseTrusted
	case s.Current == nil:
		return PhaseNone
	case len(s.Retired) > 0:
		return PhaseSwitched
	}
	return PhaseStable
}

// signer is the authority that signs at a time; nil: there is none.
func (s State) signer(now time.Time) *Authority {
	for _, a := range []*Authority{s.Current, s.Next} {
		if a != nil && a.usable(now) {
			return a
		}
	}
	return nil
}

// authorities are all that are trusted, the oldest first. A switch changes neither them nor their order.
func (s State) authorities() []*x509.Certificate {
	all := slices.Clone(s.Retired)
	for _, a := range []*Authority{s.Current, s.Next} {
		if a != nil {
			all = append(all, a.Certificate)
		}
	}
	return all
}

// trusts reports whether an authority is in the bundle.
func (s State) trusts(authority *x509.Certificate) bool {
	return slices.ContainsFunc(s.authorities(), authority.Equal)
}

// Bundle is what webhooks are told to trust.
func (s State) Bundle() []byte { return encodeCertificates(s.authorities()...) }

// Keys of the Secret. The bundle is there for whoever else wants to check our certificates; we never read it.
const (
	keyCurrent      = "ca.crt"
	keyCurrentKey   = "ca.key"
	keyNext         = "next-ca.crt"
	keyNextKey      = "next-ca.key"
	keyNextTrusted  = "next-ca-trusted-since"
	keyRetired      = "retired-ca.crt"
	keyRetiredSince = "retired-ca-since"
	keyBundle       = "ca-bundle.crt"
)

// encode writes the state into the data of a Secret, of which it leaves alone what is not ours.
func (s State) encode(data map[string][]byte) (map[string][]byte, error) {
	encoded := maps.Clone(data)
	if encoded == nil {
		encoded = map[string][]byte{}
	}
	put := func(key string, value []byte) {
		if len(value) > 0 {
			encoded[key] = value
		} else {
			delete(encoded, key)
		}
	}
	for _, pair := range []struct {
		authority        *Authority
		certificate, key string
	}{{s.Current, keyCurrent, keyCurrentKey}, {s.Next, keyNext, keyNextKey}} {
		var certificate, key []byte
		if pair.authority != nil {
			var err error
			if certificate, key, err = pair.authority.encode(); err != nil {
				return nil, err
			}
		}
		put(pair.certificate, certificate)
		put(pair.key, key)
	}
	put(keyNextTrusted, encodeTime(s.Trusted))
	put(keyRetired, encodeCertificates(s.Retired...))
	put(keyRetiredSince, encodeTime(s.RetiredAt))
	put(keyBundle, s.Bundle())
	return encoded, nil
}

func encodeTime(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	return []byte(t.UTC().Format(time.RFC3339Nano))
}

// decode reads the data of a Secret. What cannot be read is damage, never an error: there is always a way on.
func decode(data map[string][]byte) State {
	d := decoder{data: data}
	s := State{
		Current:   d.authority(keyCurrent, keyCurrentKey),
		Next:      d.authority(keyNext, keyNextKey),
		Trusted:   d.time(keyNextTrusted),
		Retired:   d.certificates(keyRetired),
		RetiredAt: d.time(keyRetiredSince),
	}
	s.Damage = strings.Join(d.damage, "; ")
	return s
}

type decoder struct {
	data   map[string][]byte
	damage []string
}

func (d *decoder) damaged(key string, problem any) {
	d.damage = append(d.damage, fmt.Sprintf("%s: %v", key, problem))
}

func (d *decoder) authority(certificate, key string) *Authority {
	if len(d.data[certificate]) == 0 && len(d.data[key]) == 0 {
		return nil
	}
	authority, err := parseAuthority(d.data[certificate], d.data[key])
	if err != nil {
		d.damaged(certificate, err)
		return nil
	}
	return authority
}

func (d *decoder) time(key string) time.Time {
	if len(d.data[key]) == 0 {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, string(d.data[key]))
	if err != nil {
		d.damaged(key, "not a time")
	}
	return t
}

func (d *decoder) certificates(key string) []*x509.Certificate {
	data := d.data[key]
	if len(data) == 0 {
		return nil
	}
	found, err := parseCertificates(data)
	switch {
	case err != nil:
		d.damaged(key, err)
	case !bytes.Equal(encodeCertificates(found...), data):
		d.damaged(key, "has more in it than certificates")
	}
	return found
}
