package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A schedule is what a run does, and when: offsets are from its start. The same options and seed make the same schedule;
// what it meets depends on the machine.
type schedule struct {
	Claims           []claimLife
	Kills            []kill
	DriverRestarts   []driverRestart
	APIServerOutages []outage
}

// claimLife is one claim.
type claimLife struct {
	Name string
	// Delayed claims wait for their first consumer, which gets a Pod of the same name.
	Delayed bool
	Create  time.Duration
	// Deleted at Delete, or as soon as it is created if that takes longer.
	Deleted bool
	Delete  time.Duration
}

// kill is the subject's end by SIGKILL. It is started again at once.
type kill struct {
	At time.Duration
	// Move has another replica go on, which is not who the lease says it is and has to wait until it runs out.
	Move bool
}

// driverRestart ends the driver, and starts it again when it has ended.
type driverRestart struct {
	At time.Duration
	// Kill is SIGKILL, else SIGTERM.
	Kill bool
}

// outage is the API server's: killed, and started after a while.
type outage struct{ At, Down time.Duration }

const (
	// delayedShare of the claims is few: each costs a Pod and a second of the scheduler.
	delayedShare = 0.2
	// moveShare of the kills is few: another replica leads seconds later, and nothing happens until then.
	moveShare = 0.25
)

// newSchedule spreads everything over o.Spread. Claims come in the first nine tenths, so that the last ones meet trouble too.
func newSchedule(o Options, seed uint64) schedule {
	random := rand.New(rand.NewPCG(seed, 0))
	s := schedule{Claims: make([]claimLife, o.Claims)}
	for i := range s.Claims {
		s.Claims[i] = claimLife{Create: share(random, o.Spread*9/10), Delayed: random.Float64() < delayedShare}
	}
	slices.SortFunc(s.Claims, func(a, b claimLife) int { return int(a.Create - b.Create) })
	for i := range s.Claims {
		s.Claims[i].Name = fmt.Sprintf("claim-%04d", i)
	}
	for _, i := range random.Perm(o.Claims)[:o.Claims/3] {
		claim := &s.Claims[i]
		claim.Deleted, claim.Delete = true, min(claim.Create+deletionDelay(random, o.Spread), o.Spread)
	}
	for at := o.KillEvery.pick(random); at < o.Spread; at += o.KillEvery.pick(random) {
		s.Kills = append(s.Kills, kill{At: at, Move: random.Float64() < moveShare})
	}
	for i, at := range apart(random, o.DriverRestarts, o.Spread) {
		s.DriverRestarts = append(s.DriverRestarts, driverRestart{At: at, Kill: i%2 == 0})
	}
	for _, at := range apart(random, o.APIServerRestarts, o.Spread) {
		s.APIServerOutages = append(s.APIServerOutages, outage{At: at, Down: share(random, 2*time.Second)})
	}
	return s
}

// deletionDelay is how old a claim gets: a third of those that are deleted is hardly there, a third has its volume under
// way, the others have been Bound for a while.
func deletionDelay(random *rand.Rand, spread time.Duration) time.Duration {
	switch random.IntN(3) {
	case 0:
		return share(random, 200*time.Millisecond)
	case 1:
		return share(random, 3*time.Second)
	}
	return share(random, spread)
}

// apart are n times, one in each nth part of the whole, so that one trouble is over before the next of its kind.
func apart(random *rand.Rand, n int, whole time.Duration) []time.Duration {
	var times []time.Duration
	for i := range n {
		part := whole / time.Duration(n)
		times = append(times, time.Duration(i)*part+share(random, part))
	}
	return times
}

// deleted is how many claims are.
func (s schedule) deleted() int {
	n := 0
	for _, claim := range s.Claims {
		if claim.Deleted {
			n++
		}
	}
	return n
}
