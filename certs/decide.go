package certs

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"
)

// Facts are what a decision is made from.
type Facts struct {
	Now     time.Time
	Stored  State
	Periods Periods
	// Webhooks are the bundles of all our webhooks, as far as their configurations exist. They must have been read before the Secret: a
	// bundle that is written on top of them then is never older than theirs.
	Webhooks [][]byte
	Known    bool // Webhooks could be read
}

// Action is what to do next; after it, everything is looked at anew.
//
//sumtype:decl
type Action interface{ action() }

// Prepare asks to make an authority, and to store the state with it as the next one.
type Prepare struct{ State State }

// Store asks to store a state.
type Store struct {
	State State
	Why   Step
}

// Inject asks to write the bundle into the webhooks that do not carry it.
type Inject struct{ Bundle []byte }

// Wait asks to do nothing until a time, or until something changes.
type Wait struct{ Until time.Time }

func (Prepare) action() {}
func (Store) action()   {}
func (Inject) action()  {}
func (Wait) action()    {}

// Step names a change of the state, for people.
type Step string

// The steps.
const (
	StepPrepare  Step = "Prepare"  // there is a next authority
	StepRepair   Step = "Repair"   // what was unreadable or of no use is gone
	StepDistrust Step = "Distrust" // somebody took the bundle out of a webhook: the wait begins anew
	StepTrust    Step = "Trust"    // every webhook trusts the next authority from now on
	StepSwitch   Step = "Switch"   // the next authority signs
	StepRetire   Step = "Retire"   // the former authority is not trusted any more
	StepCount    Step = "Count"    // nobody knows since when the former authority does not sign: from now on
)

// Decide says what the leader does next.
func Decide(f Facts) Action {
	state, repaired := f.settle()
	switch {
	case state.Current == nil && state.Next == nil:
		return Prepare{state} // before anything else: nobody can sign
	case !f.Known:
		return Wait{f.Now.Add(f.Periods.Propagation)} // what the webhooks trust may be needed, and nothing goes on without them
	case state.Next == nil && !f.Now.Before(f.renewal(state.Current)):
		return Prepare{state}
	case repaired:
		return Store{state, StepRepair}
	}
	bundle := state.Bundle()
	switch {
	case slices.ContainsFunc(f.Webhooks, func(have []byte) bool { return !bytes.Equal(have, bundle) }):
		if !state.Trusted.IsZero() {
			state.Trusted = time.Time{}
			return Store{state, StepDistrust}
		}
		return Inject{bundle}
	case state.Next != nil:
		return f.promote(state)
	case len(state.Retired) > 0:
		return f.retire(state)
	}
	return Wait{f.renewal(state.Current)}
}

// renewal is when to prepare the successor of an authority.
func (f Facts) renewal(a *Authority) time.Time { return a.Certificate.NotAfter.Add(-f.Periods.Overlap) }

// settle takes out of the state what is of no use now, and reports whether it did. Authorities that do not sign any more stay trusted, even
// expired ones: that does no harm, and the clock that says so may be wrong.
func (f Facts) settle() (state State, changed bool) {
	state = f.Stored
	changed = state.Damage != ""
	state.Damage = ""
	if a := state.Current; a != nil && !a.usable(f.Now) {
		state.Current = nil
		state, changed = f.keepTrusting(state, a.Certificate), true
	}
	if a := state.Next; a != nil && !a.usable(f.Now) {
		state.Next = nil
		state, changed = f.keepTrusting(state, a.Certificate), true
	}
	if state.Next == nil {
		state.Trusted = time.Time{}
	}
	if state.Current != nil && f.Stored.Damage == "" {
		return state, changed
	}
	// Something was lost. Replicas may hold certificates of it, and what webhooks trust tells of what.
	if changed && len(state.Retired) > 0 {
		state.RetiredAt = f.Now
	}
	for _, authority := range f.found() {
		if !state.trusts(authority) {
			state, changed = f.keepTrusting(state, authority), true
		}
	}
	return state, changed
}

// keepTrusting adds an authority to the retired ones.
func (f Facts) keepTrusting(state State, authority *x509.Certificate) State {
	state.Retired = append(slices.Clone(state.Retired), authority)
	state.RetiredAt = f.Now
	return state
}

// maxFound bounds what is taken over from webhooks: somebody may have put a whole distribution's authorities there.
const maxFound = 8

// found are the authorities that webhooks trust.
func (f Facts) found() []*x509.Certificate {
	var all []*x509.Certificate
	for _, bundle := range f.Webhooks {
		certificates, err := parseCertificates(bundle)
		if err != nil {
			continue // no bundle yet, or nonsense that nobody can trust
		}
		for _, c := range certificates {
			if isAuthority(c) && !slices.ContainsFunc(all, c.Equal) && len(all) < maxFound {
				all = append(all, c)
			}
		}
	}
	return all
}

// promote has the next authority sign once every API server must have seen the bundle with it.
func (f Facts) promote(state State) Action {
	if state.Trusted.IsZero() || state.Trusted.After(f.Now) {
		state.Trusted = f.Now
		return Store{state, StepTrust}
	}
	if switchAt := state.Trusted.Add(f.Periods.Propagation); f.Now.Before(switchAt) {
		return Wait{switchAt}
	}
	promoted := State{Current: state.Next, Retired: state.Retired}
	if state.Current != nil {
		promoted.Retired = append(slices.Clone(state.Retired), state.Current.Certificate)
	}
	if len(promoted.Retired) > 0 {
		promoted.RetiredAt = f.Now
	}
	return Store{promoted, StepSwitch}
}

// retire ends the trust in former authorities once nobody can serve with a certificate of theirs any more.
func (f Facts) retire(state State) Action {
	if state.RetiredAt.IsZero() || state.RetiredAt.After(f.Now) {
		state.RetiredAt = f.Now
		return Store{state, StepCount}
	}
	if end := state.RetiredAt.Add(f.Periods.retirement()); f.Now.Before(end) {
		return Wait{end}
	}
	return Store{State{Current: state.Current}, StepRetire}
}
