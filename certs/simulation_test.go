package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// simulation is a cluster in which everything is late: two leaders whose steps interleave and are cut anywhere, replicas that see the
// Secret late, API servers that see the webhooks late, and clocks that differ. Only the clock is simulated, and who does what when:
// the decisions, the Secret's form, the certificates and their verification are the real ones.
//
// What has to be seen everywhere within a propagation time takes up to half of it, and leaders' clocks differ by up to the other half. The first
// leader may stand still for an hour between what it read and what it writes.
type simulation struct {
	t       *testing.T
	random  *rand.Rand
	periods Periods
	now     time.Time

	secret   history[map[string][]byte] // nil: there is none
	webhook  history[[]byte]            // its bundle
	leaders  []*simulatedLeader
	replicas []*simulatedReplica

	decoded  map[int]State // by version of the Secret
	phases   map[Phase]int
	accident time.Time // the last one
	verified map[verification]bool
}

// history is an object in all its versions.
type history[T any] struct {
	versions []T
	since    []time.Time
}

func (h *history[T]) latest() (version int) { return len(h.versions) - 1 }

// write writes if nobody else has since a version was read.
func (h *history[T]) write(now time.Time, read int, value T) bool {
	if read != h.latest() {
		return false
	}
	h.versions, h.since = append(h.versions, value), append(h.since, now)
	return true
}

// seen is the version that somebody sees who last looked at a time.
func (h *history[T]) seen(at time.Time) (version int) {
	for version = h.latest(); version > 0 && h.since[version].After(at); version-- {
	}
	return version
}

type simulatedLeader struct {
	clock   time.Duration
	pending Action    // decided, not carried out
	frozen  time.Time // until then
	// the versions that it was decided on
	secret, webhook int
}

type simulatedReplica struct {
	clock  time.Duration
	late   time.Duration // it never looks later than that
	looked time.Time     // what it sees is of then
	held   *leaf
}

type verification struct {
	held   *leaf
	bundle int
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	t.Helper()
	s := &simulation{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), periods: shortPeriods(), now: noon(),
		decoded: map[int]State{}, phases: map[Phase]int{}, verified: map[verification]bool{},
	}
	authority, err := newAuthority(s.now, s.periods)
	if err != nil {
		t.Fatal(err)
	}
	established := State{Current: authority}
	data, err := established.encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.secret.write(s.now, -1, data)
	s.webhook.write(s.now, -1, established.Bundle())
	for range 2 {
		s.leaders = append(s.leaders, &simulatedLeader{clock: s.upTo(s.periods.Propagation / 2)})
	}
	for range 3 {
		s.replicas = append(s.replicas, &simulatedReplica{
			clock: s.upTo(s.periods.Skew) - s.periods.Skew/2, late: s.periods.Propagation / 2, looked: s.now,
		})
	}
	return s
}

func (s *simulation) upTo(d time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(d)))
}

func (s *simulation) state(version int) State {
	state, ok := s.decoded[version]
	if !ok {
		state = decode(s.secret.versions[version])
		s.decoded[version] = state
	}
	return state
}

// lead has a leader do half a step: decide, or carry out what it decided. What it decided may be lost with it instead.
func (s *simulation) lead(l *simulatedLeader) {
	now := s.now.Add(l.clock)
	action := l.pending
	l.pending = nil
	if action == nil {
		l.webhook, l.secret = s.webhook.latest(), s.secret.latest() // in this order
		state := s.state(l.secret)
		s.phases[state.Phase()]++
		l.pending = Decide(Facts{Now: now, Stored: state, Periods: s.periods, Webhooks: [][]byte{s.webhook.versions[l.webhook]}, Known: true})
		if l == s.leaders[0] && s.random.IntN(10) == 0 {
			l.frozen = s.now.Add(s.upTo(time.Hour))
		}
		return
	}
	if s.random.IntN(4) == 0 {
		return // killed
	}
	store := func(state State) {
		data, err := state.encode(s.secret.versions[l.secret])
		if err != nil {
			s.t.Fatal(err)
		}
		s.secret.write(s.now, l.secret, data)
	}
	switch a := action.(type) {
	case Prepare:
		var err error
		if a.State.Next, err = newAuthority(now, s.periods); err != nil {
			s.t.Fatal(err)
		}
		store(a.State)
	case Store:
		store(a.State)
	case Inject:
		s.webhook.write(s.now, l.webhook, a.Bundle)
	case Wait:
	}
}

// serve has a replica look at the Secret and sign if it has to.
func (s *simulation) serve(r *simulatedReplica) {
	if s.random.IntN(20) == 0 || s.now.Sub(r.looked) > r.late {
		r.looked = s.now
	}
	now := s.now.Add(r.clock)
	signer := chooseSigner(r.held, s.state(s.secret.seen(r.looked)), now)
	if signer == nil {
		return
	}
	held, err := signer.sign(signing{names: []string{"berth.ns.svc"}, now: now, periods: s.periods, jitter: s.random.Float64()})
	if err != nil {
		s.t.Fatal(err)
	}
	r.held = held
}

// damage deletes, empties or damages the Secret, mostly while a rotation is under way.
func (s *simulation) damage() {
	odds := 500
	if phase := s.state(s.secret.latest()).Phase(); phase == PhasePrepared || phase == PhaseTrusted {
		odds = 20
	}
	if s.now.Sub(s.accident) < 30*time.Minute || s.random.IntN(odds) > 0 {
		return
	}
	s.accident = s.now
	data := maps.Clone(s.secret.versions[s.secret.latest()])
	switch s.random.IntN(3) {
	case 0:
		data = nil
	case 1:
		data = map[string][]byte{}
	case 2:
		for key, value := range data {
			if s.random.IntN(3) == 0 && key != keyBundle {
				damaged := slices.Clone(value)
				data[key] = damaged[:s.random.IntN(len(damaged))]
				if len(data[key]) == 0 {
					data[key] = []byte("nonsense")
				}
			}
		}
	}
	s.secret.write(s.now, s.secret.latest(), data)
}

// check has every API server call every replica: those that see the newest webhooks, those that see them as late as may be, and others.
func (s *simulation) check() error {
	for _, late := range []time.Duration{0, s.upTo(s.periods.Propagation / 2), s.periods.Propagation / 2} {
		version := s.webhook.seen(s.now.Add(-late))
		for n, r := range s.replicas {
			if r.held == nil {
				continue // not ready: nobody calls it
			}
			if err := s.verify(r.held, version); err != nil {
				return fmt.Errorf("replica %d, API server %s late: %w", n, late, err)
			}
		}
	}
	return nil
}

func (s *simulation) verify(held *leaf, version int) error {
	if !held.valid(s.now) {
		return fmt.Errorf("the certificate expired at %s", held.expires)
	}
	v := verification{held, version}
	if s.verified[v] { // by signature; only time goes by
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.webhook.versions[version])
	certificates, err := parseCertificates(held.certificate)
	if err != nil {
		return err
	}
	if _, err := certificates[0].Verify(x509.VerifyOptions{DNSName: "berth.ns.svc", Roots: pool, CurrentTime: s.now}); err != nil {
		return err
	}
	s.verified[v] = true
	return nil
}

// run lets time pass, and accidents happen.
func (s *simulation) run(duration time.Duration, accident func()) {
	const tick = 20 * time.Second
	for end := s.now.Add(duration); s.now.Before(end); s.now = s.now.Add(tick) {
		for _, l := range s.leaders {
			if s.random.IntN(2) == 0 && !s.now.Before(l.frozen) {
				s.lead(l)
			}
		}
		accident()
		for _, r := range s.replicas {
			s.serve(r)
		}
		if err := s.check(); err != nil {
			s.t.Fatalf("%s after the start, phase %s: %v", s.now.Sub(noon()), s.state(s.secret.latest()).Phase(), err)
		}
	}
}

// At every instant every certificate that is served verifies at every API server, whatever a leader is killed in. A replica
// that does not see the Secret does not fail either, for as long as a certificate lives.
func TestRotationNeverFailsAHandshake(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := newSimulation(t, seed)
			s.replicas[0].late = s.periods.Leaf
			first := s.state(0).Current
			s.run(40*time.Hour, func() {})
			for _, phase := range []Phase{PhasePrepared, PhaseTrusted, PhaseSwitched, PhaseStable} {
				if s.phases[phase] == 0 {
					t.Errorf("it never was %s: %v", phase, s.phases)
				}
			}
			if last := s.state(s.secret.latest()); last.trusts(first.Certificate) || bytes.Contains(s.webhook.versions[s.webhook.latest()], encodeCertificates(first.Certificate)) {
				t.Error("the first authority never left")
			}
		})
	}
}

// So it does if the Secret is deleted, emptied or damaged, in any phase, again and again.
func TestLossOfTheSecretFailsNoHandshake(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := newSimulation(t, seed)
			nothing := func() {}
			s.run(time.Minute, nothing) // every replica signs
			s.run(40*time.Hour, s.damage)
			s.run(4*time.Hour, nothing)
			if state := s.state(s.secret.latest()); state.Damage != "" || state.Current == nil {
				t.Errorf("it never recovered: %s", describeState(state))
			}
		})
	}
}
