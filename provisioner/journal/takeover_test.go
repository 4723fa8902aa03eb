package journal

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-csi/berth/internal/simtest"
)

// leader is a journal of one term over an API server that compares versions.
func leader(server *simtest.Server, holder string, gate simtest.Gate) *Journal {
	return New(Config{ConfigMaps: simtest.NewClient(server, gate).CoreV1().ConfigMaps("system"), Name: "driver-journal", Holder: holder})
}

// leads has a journal loaded, and run until the test ends. What Run returns arrives in the channel.
func leads(t *testing.T, j *Journal) <-chan error {
	t.Helper()
	if _, _, err := j.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { ended <- j.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		run.Wait()
	})
	return ended
}

// A leader that wrote nothing yet finds out, too: its first page is there from the beginning.
func TestATermEndsWhenAnotherLeaderTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := simtest.NewServer()
		first, second := leader(server, "a", simtest.Now), leader(server, "b", simtest.Now)
		ended := leads(t, first)
		leads(t, second)
		if err := second.Record(t.Context(), makeEntry(1)); err != nil {
			t.Fatal(err)
		}
		if err := first.Record(t.Context(), makeEntry(2)); !errors.Is(err, ErrTakenOver) {
			t.Errorf("the first leader recorded something: %v", err)
		}
		if err := <-ended; !errors.Is(err, ErrTakenOver) {
			t.Errorf("its term ended with %v", err)
		}
		if err := second.Record(t.Context(), makeEntry(3)); err != nil {
			t.Errorf("the second leader cannot go on: %v", err)
		}
	})
}

// A takeover whose answer was given up arrives after the next leader's.
func TestATakeoverThatComesLateTakesNothingOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := simtest.NewServer()
		leads(t, leader(server, "a", simtest.Now))
		var late *simtest.Call
		slow := leader(server, "b", func(_ context.Context, call *simtest.Call) (simtest.Object, error) {
			if call.Writes() {
				late = call
				return nil, context.DeadlineExceeded
			}
			return call.Do()
		})
		if _, _, err := slow.Load(t.Context()); err == nil {
			t.Fatal("it did not notice")
		}
		third := leader(server, "c", simtest.Now)
		leads(t, third)
		if _, err := late.Do(); err == nil {
			t.Error("a mark of an old version was made")
		}
		if err := third.Record(t.Context(), makeEntry(1)); err != nil {
			t.Errorf("the leader was deposed: %v", err)
		}
	})
}

func TestWhoAsksWhetherAnEntryIsGoneHasItTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := leader(simtest.NewServer(), "a", simtest.Now)
		leads(t, j)
		uid := makeEntry(1).UID()
		if !j.Forgotten(uid) {
			t.Error("something is on record that never was")
		}
		if err := j.Record(t.Context(), makeEntry(1)); err != nil {
			t.Fatal(err)
		}
		if j.Forgotten(uid) {
			t.Error("what is under way is forgotten")
		}
		j.Forget(uid)
		if j.Forgotten(uid) {
			t.Error("it is gone already")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !j.Forgotten(uid) {
			t.Error("it still is there")
		}
	})
}
