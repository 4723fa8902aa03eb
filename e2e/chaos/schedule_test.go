package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestScheduleKeepsWhatTheOptionsSay(t *testing.T) {
	o := defaultOptions()
	for seed := range uint64(50) {
		s := newSchedule(o, seed)
		if len(s.Claims) != o.Claims || s.deleted() != o.Claims/3 {
			t.Errorf("seed %d: %d claims, %d deleted", seed, len(s.Claims), s.deleted())
		}
		early := 0
		for _, claim := range s.Claims {
			if claim.Create > o.Spread || claim.Deleted && (claim.Delete < claim.Create || claim.Delete > o.Spread) {
				t.Errorf("seed %d: claim at a wrong time: %+v", seed, claim)
			}
			if claim.Deleted && claim.Delete-claim.Create < 200*time.Millisecond {
				early++
			}
		}
		if early < o.Claims/3/5 {
			t.Errorf("seed %d: only %d claims are deleted right after their creation", seed, early)
		}
		if len(s.DriverRestarts) != o.DriverRestarts || len(s.APIServerOutages) != o.APIServerRestarts {
			t.Errorf("seed %d: %d restarts of the driver, %d of the API server", seed, len(s.DriverRestarts), len(s.APIServerOutages))
		}
		before := time.Duration(0)
		for _, kill := range s.Kills {
			if pause := kill.At - before; pause < o.KillEvery.Min || pause > o.KillEvery.Max {
				t.Errorf("seed %d: %s between two kills", seed, pause)
			}
			before = kill.At
		}
		if o.Spread-before > o.KillEvery.Max {
			t.Errorf("seed %d: no kill after %s", seed, before)
		}
	}
}

func TestScheduleIsThatOfItsSeed(t *testing.T) {
	o := shortOptions()
	first := newSchedule(o, 1)
	if diff := cmp.Diff(first, newSchedule(o, 1)); diff != "" {
		t.Errorf("the same seed makes another schedule (-first +second):\n%s", diff)
	}
	if cmp.Equal(first, newSchedule(o, 2)) {
		t.Error("another seed makes the same schedule")
	}
}

func TestEveryRunHasASeedThatMakesItAgain(t *testing.T) {
	o := defaultOptions()
	o.Subjects, o.Runs, o.PeerRuns, o.Seed = []string{subjectBerth, subjectPeer}, 2, 1, 7
	want := []task{
		{subject: subjectBerth, run: 1, of: 2, seed: 7},
		{subject: subjectBerth, run: 2, of: 2, seed: 8},
		{subject: subjectPeer, run: 1, of: 1, seed: 7},
	}
	if got := tasks(o); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
