package certs

import (
	"crypto/x509"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	young := makeAuthority(t, "young", -10*day, 355*day)
	old := makeAuthority(t, "old", -300*day, 65*day)
	next := makeAuthority(t, "next", -time.Hour, 365*day)
	expired := makeAuthority(t, "expired", -500*day, -135*day)
	future := makeAuthority(t, "future", 1000*day, 1365*day)
	server := makeCertificate(t, "server", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })

	at := func(d time.Duration) time.Time { return noon().Add(d) }
	retired := func(authorities ...*Authority) []*x509.Certificate {
		var all []*x509.Certificate
		for _, a := range authorities {
			all = append(all, a.Certificate)
		}
		return all
	}
	webhooks := func(bundles ...[]byte) [][]byte { return bundles }
	const unknown = true

	tests := map[string]struct {
		stored   State
		webhooks [][]byte
		unknown  bool // the webhooks
		want     string
	}{
		"a first authority is made for an empty Secret":  {want: "Prepare:"},
		"it is made even if the webhooks cannot be read": {unknown: unknown, want: "Prepare:"},
		"it is made known": {stored: State{Next: next}, webhooks: webhooks(nil, nil), want: "Inject next"},
		"it is trusted when every webhook carries it": {stored: State{Next: next}, webhooks: webhooks(bundleOf(next), bundleOf(next)), want: "Trust: next next, trusted 0s"},
		"it becomes the current one after the propagation time, and nothing is retired": {
			stored: State{Next: next, Trusted: at(-5 * time.Minute)}, webhooks: webhooks(bundleOf(next)), want: "Switch: current next"},

		"a young authority that every webhook trusts is left alone": {
			stored: State{Current: young}, webhooks: webhooks(bundleOf(young)), want: "Wait until 5640h0m0s"},
		"so it is if there are no webhooks": {stored: State{Current: young}, want: "Wait until 5640h0m0s"},
		"a webhook that lost the bundle gets it back": {
			stored: State{Current: young}, webhooks: webhooks(bundleOf(young), nil), want: "Inject young"},
		"what somebody added to a webhook is taken out": {
			stored: State{Current: young}, webhooks: webhooks(bundleOf(young, expired)), want: "Inject young"},
		"nonsense in a webhook is replaced": {
			stored: State{Current: young}, webhooks: webhooks([]byte("nonsense")), want: "Inject young"},
		"nothing is written while the webhooks cannot be read": {
			stored: State{Current: young}, unknown: unknown, want: "Wait until 5m0s"},

		"an authority near its end gets a successor": {
			stored: State{Current: old}, webhooks: webhooks(bundleOf(old)), want: "Prepare: current old"},
		"a successor does not inherit anybody's trust": {
			stored: State{Current: old, Trusted: at(-day)}, webhooks: webhooks(bundleOf(old)), want: "Prepare: current old"},
		"the bundle with the successor is made known": {
			stored: State{Current: old, Next: next}, webhooks: webhooks(bundleOf(old, next), bundleOf(old)), want: "Inject old+next"},
		"its wait begins when every webhook has it": {
			stored: State{Current: old, Next: next}, webhooks: webhooks(bundleOf(old, next)), want: "Trust: current old, next next, trusted 0s"},
		"the successor does not sign while an API server may not trust it": {
			stored:   State{Current: old, Next: next, Trusted: at(-4 * time.Minute)},
			webhooks: webhooks(bundleOf(old, next)), want: "Wait until 1m0s"},
		"the wait begins anew if somebody takes the bundle out": {
			stored:   State{Current: old, Next: next, Trusted: at(-4 * time.Minute)},
			webhooks: webhooks(bundleOf(old, next), bundleOf(old)), want: "Distrust: current old, next next"},
		"the wait begins anew if it began in the future": {
			stored:   State{Current: old, Next: next, Trusted: at(time.Hour)},
			webhooks: webhooks(bundleOf(old, next)), want: "Trust: current old, next next, trusted 0s"},
		"there is no switch while the webhooks cannot be read": {
			stored: State{Current: old, Next: next, Trusted: at(-day)}, unknown: unknown, want: "Wait until 5m0s"},
		"after the wait the successor signs, and the former one stays trusted": {
			stored:   State{Current: old, Next: next, Trusted: at(-5 * time.Minute)},
			webhooks: webhooks(bundleOf(old, next)), want: "Switch: current next, retired old, since 0s"},
		"those that were retired before stay, too": {
			stored:   State{Current: old, Next: next, Trusted: at(-5 * time.Minute), Retired: retired(expired), RetiredAt: at(-30 * day)},
			webhooks: webhooks(bundleOf(expired, old, next)), want: "Switch: current next, retired expired+old, since 0s"},

		"the former authority stays trusted while one of its certificates may be valid": {
			stored:   State{Current: young, Retired: retired(old), RetiredAt: at(-24 * time.Hour)},
			webhooks: webhooks(bundleOf(old, young)), want: "Wait until 15m0s"},
		"then it leaves": {
			stored:   State{Current: young, Retired: retired(old), RetiredAt: at(-24*time.Hour - 15*time.Minute)},
			webhooks: webhooks(bundleOf(old, young)), want: "Retire: current young"},
		"if nobody knows since when it does not sign, it is since now": {
			stored:   State{Current: young, Retired: retired(old)},
			webhooks: webhooks(bundleOf(old, young)), want: "Count: current young, retired old, since 0s"},
		"so it is if that is in the future": {
			stored:   State{Current: young, Retired: retired(old), RetiredAt: at(day)},
			webhooks: webhooks(bundleOf(old, young)), want: "Count: current young, retired old, since 0s"},
		"a retired authority is put back into a webhook that lost it": {
			stored:   State{Current: young, Retired: retired(old), RetiredAt: at(-time.Hour)},
			webhooks: webhooks(bundleOf(young)), want: "Inject old+young"},

		"an expired authority is replaced at once": {
			stored: State{Current: expired}, webhooks: webhooks(bundleOf(expired)), want: "Prepare: retired expired, since 0s"},
		"one from the future, too, but stays trusted: the clock may have been wrong, or be": {
			stored: State{Current: future}, webhooks: webhooks(bundleOf(future)), want: "Prepare: retired future, since 0s"},
		"if only the current one expired, the next one goes its way": {
			stored:   State{Current: expired, Next: next, Trusted: at(-time.Minute)},
			webhooks: webhooks(bundleOf(expired, next)), want: "Repair: next next, trusted -1m0s, retired expired, since 0s"},
		"a next authority that expired before it was trusted is replaced": {
			stored:   State{Current: old, Next: expired, Trusted: at(-500 * day)},
			webhooks: webhooks(bundleOf(old, expired)), want: "Prepare: current old, retired expired, since 0s"},
		"a next authority of no use is dropped if none is needed": {
			stored:   State{Current: young, Next: future, Trusted: at(-time.Hour)},
			webhooks: webhooks(bundleOf(young, future)), want: "Repair: current young, retired future, since 0s"},
		"a lost authority stays trusted as long as webhooks tell of it": {
			webhooks: webhooks(bundleOf(old, young), bundleOf(young)), want: "Prepare: retired old+young, since 0s"},
		"so it does if the loss is noticed after the next one was made": {
			stored: State{Next: next}, webhooks: webhooks(bundleOf(old)), want: "Repair: next next, retired old, since 0s"},
		"what webhooks carry that is no authority is not taken over": {
			webhooks: webhooks(bundleOf(server), []byte("nonsense"), nil), want: "Prepare:"},
		"a damaged Secret is mended, and what webhooks trust stays trusted": {
			stored:   State{Current: young, Damage: "retired-ca.crt: unreadable"},
			webhooks: webhooks(bundleOf(old, young)), want: "Repair: current young, retired old, since 0s"},
		"an authority whose key is lost stays trusted": {
			stored:   State{Retired: retired(old), Damage: "ca.key: unreadable"},
			webhooks: webhooks(bundleOf(old, young)), want: "Prepare: retired old+young, since 0s"},
		"a damaged Secret is not mended while it cannot be known what was lost": {
			stored: State{Current: young, Damage: "retired-ca.crt: unreadable"}, unknown: unknown, want: "Wait until 5m0s"},
		"but for when nobody can sign": {
			stored: State{Damage: "ca.key: unreadable"}, unknown: unknown, want: "Prepare:"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			facts := Facts{Now: noon(), Stored: tt.stored, Periods: DefaultPeriods(), Webhooks: tt.webhooks, Known: !tt.unknown}
			before := describeState(tt.stored)
			if got := describe(Decide(facts)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if after := describeState(facts.Stored); after != before {
				t.Errorf("the facts changed from %q to %q", before, after)
			}
		})
	}
}

// Somebody may have put all authorities of a distribution into a webhook.
func TestFewAreTakenOverFromWebhooks(t *testing.T) {
	var many []*Authority
	for n := range 2 * maxFound {
		many = append(many, makeAuthority(t, fmt.Sprint(n), -day, day))
	}
	action := Decide(Facts{Now: noon(), Periods: DefaultPeriods(), Known: true, Webhooks: [][]byte{bundleOf(many...)}})
	prepare, ok := action.(Prepare)
	if !ok || len(prepare.State.Retired) != maxFound {
		t.Errorf("got %s", describe(action))
	}
}

// From whatever is found, in a Secret and in webhooks, a single leader comes to rest, with nothing to do but wait for the next rotation.
func TestEveryStateLeadsToAStableOne(t *testing.T) {
	authorities := map[string]*Authority{
		"none":    nil,
		"young":   makeAuthority(t, "young", -10*day, 355*day),
		"old":     makeAuthority(t, "old", -300*day, 65*day),
		"expired": makeAuthority(t, "expired", -500*day, -135*day),
		"future":  makeAuthority(t, "future", 1000*day, 1365*day),
	}
	times := map[string]time.Time{"never": {}, "long ago": noon().Add(-1000 * day), "just now": noon().Add(-time.Second), "in the future": noon().Add(1000 * day)}
	webhooks := map[string][][]byte{
		"no webhooks": nil, "empty webhooks": {nil, nil}, "nonsense": {[]byte("nonsense")}, "another's": {bundleOf(makeAuthority(t, "another", -day, day))},
		"the old one's": {bundleOf(authorities["old"]), nil},
	}
	for currentName, current := range authorities {
		for nextName, next := range authorities {
			for since, when := range times {
				for who, carried := range webhooks {
					for _, damage := range []string{"", "damaged"} {
						state := State{Current: current, Next: next, Trusted: when, RetiredAt: when, Damage: damage,
							Retired: []*x509.Certificate{authorities["old"].Certificate}}
						if steps, ok := settles(t, state, carried); !ok {
							t.Errorf("current %s, next %s, since %s, webhooks: %s, damage %q: no end of\n%v", currentName, nextName, since, who, damage, steps)
						}
					}
				}
			}
		}
	}
}

// settles carries out decisions, through the form in which they are stored, until the state is stable.
func settles(t *testing.T, state State, webhooks [][]byte) (steps []string, ok bool) {
	t.Helper()
	now, periods := noon(), DefaultPeriods()
	for range 20 {
		var store State
		action := Decide(Facts{Now: now, Stored: state, Periods: periods, Webhooks: webhooks, Known: true})
		steps = append(steps, describe(action))
		switch a := action.(type) {
		case Prepare:
			store = a.State
			var err error
			if store.Next, err = newAuthority(now, periods); err != nil {
				t.Fatal(err)
			}
		case Store:
			store = a.State
		case Inject:
			webhooks = slices.Repeat([][]byte{a.Bundle}, len(webhooks))
			continue
		case Wait:
			if state.Phase() == PhaseStable {
				return steps, true
			}
			now = a.Until
			continue
		}
		data, err := store.encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if state = decode(data); state.Damage != "" {
			t.Fatalf("what was written cannot be read: %s", state.Damage)
		}
	}
	return steps, false
}
