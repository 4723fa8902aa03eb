package capacity

import (
	"fmt"
	"testing"
	"time"
)

func TestTurnsAreSpreadOverTheInterval(t *testing.T) {
	const pools = 1000
	p := newPoll(time.Minute)
	for i := range pools {
		p.done(Pool{"{}", zone(fmt.Sprint(i))}, now)
	}
	taken := map[Pool]int{}
	perSecond := map[int]int{}
	start := now.Add(30 * time.Second) // half an interval after they were asked about
	for second := range 120 {
		for {
			pool, _, ok := p.take(start.Add(time.Duration(second) * time.Second))
			if !ok {
				break
			}
			taken[pool]++
			perSecond[second]++
			p.done(pool, start.Add(time.Duration(second)*time.Second))
		}
	}
	if len(taken) != pools {
		t.Errorf("%d pools had a turn, want %d", len(taken), pools)
	}
	for pool, turns := range taken {
		if turns < 1 || turns > 3 {
			t.Fatalf("%v had %d turns in two intervals", pool, turns)
		}
	}
	for second, turns := range perSecond {
		if turns > pools/10 {
			t.Errorf("%d of %d turns are in second %d", turns, pools, second)
		}
	}
	if len(p.turns) != pools || len(p.at) != pools {
		t.Errorf("%d turns are waiting, want one a pool", len(p.turns))
	}
}

func TestAPoolThatWasJustAskedAboutWaits(t *testing.T) {
	p := newPoll(time.Minute)
	pool := Pool{"{}", zone("a")}
	for second := range 600 { // something happens there every second
		at := now.Add(time.Duration(second) * time.Second)
		p.done(pool, at)
		if got, wait, ok := p.take(at.Add(30*time.Second - 1)); ok {
			t.Fatalf("%v has a turn half an interval after it was asked about (%s)", got, wait)
		}
	}
	p.forget(pool)
	if _, wait, ok := p.take(now.Add(time.Hour)); ok || wait != time.Minute || len(p.at) != 0 {
		t.Errorf("a pool that was forgotten has a turn")
	}
	p.forget(pool)
}
