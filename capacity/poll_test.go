package capacity

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurnsAreSpreadOverTheInterval(t *testing.T) {
	const pools = 1000
	p := newPoll(time.Minute, 4)
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
	p := newPoll(time.Minute, 4)
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

// As many questions as the threads can put to the driver in an interval are put, and the queue stays short.
func TestTurnsKeepTheThreadsBusy(t *testing.T) {
	const pools, threads, interval, call = 3680, 4, 6 * time.Second, 5 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		p, queue := newPoll(interval, threads), make(chan Pool, pools)
		for i := range pools {
			p.done(Pool{"{}", zone(fmt.Sprint(i))}, time.Now().Add(-interval))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var asked, longest atomic.Int64
		var working sync.WaitGroup
		for range threads {
			working.Go(func() {
				for pool := range queue {
					time.Sleep(call)
					p.done(pool, time.Now())
					asked.Add(1)
				}
			})
		}
		go p.run(ctx, func() int { return len(queue) }, func(pool Pool) {
			queue <- pool
			longest.Store(max(longest.Load(), int64(len(queue))))
		})
		time.Sleep(10 * interval)
		cancel()
		synctest.Wait()
		close(queue)
		working.Wait()
		if got := asked.Load(); got < 9*pools || got > 11*pools {
			t.Errorf("in ten intervals %d questions were put, want about %d", got, 10*pools)
		}
		if longest.Load() > crowdedPerThread*threads {
			t.Errorf("the queue grew to %d", longest.Load())
		}
	})
}
