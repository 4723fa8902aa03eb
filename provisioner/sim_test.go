package provisioner

import (
	"flag"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	simSeeds = flag.Uint64("seeds", simDefault, "how many histories TestSimulate tells")
	simFirst = flag.Uint64("first", 1, "the first one's seed")
	simStop  = flag.Uint64("stop-after", 3, "how many bad ones are enough")
)

// TestSimulate has one provisioner after another work in a cluster where everything goes wrong, and looks at what must never happen:
//
//   - a second volume for a claim;
//   - a request that changes while the outcome of the one before is unknown;
//   - a volume that neither an object refers to nor the journal knows of;
//   - the deletion of a volume that an object refers to, unless it was released for that, or that people keep;
//   - a volume made from something that is not protected.
//
// Then the trouble ends, and all that is left must be in order: claims have their volumes, and nothing is left over.
//
// A history depends on its seed alone. To look at one: go test ./provisioner -run Simulate -v -seeds=1 -first=SEED
func TestSimulate(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // most of a history is garbage
	var told, failed atomic.Uint64
	began := time.Now()
	done := make(chan struct{})
	defer close(done)
	if *simSeeds > 10_000 {
		go func() {
			ticker := time.NewTicker(10 * time.Second)
			defer ticker.Stop()
			for {
				select {
				case <-done:
					return
				case <-ticker.C:
					t.Logf("%d of %d, %s", told.Load(), *simSeeds, time.Since(began).Round(time.Second))
				}
			}
		}()
	}
	t.Run("all", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for failed.Load() < *simStop {
					n := told.Add(1)
					if n > *simSeeds {
						return
					}
					simulate(t, *simFirst+n-1, &failed)
				}
			})
		}
	})
	t.Logf("%d histories in %s", min(told.Load(), *simSeeds), time.Since(began).Round(time.Millisecond))
}

// simulate tells one history. If it ends badly it is told again, aloud.
func simulate(t *testing.T, seed uint64, failed *atomic.Uint64) {
	t.Helper()
	w := simHistoryOf(t, seed, testing.Verbose() && *simSeeds == 1)
	if len(w.problems) == 0 {
		if w.tracing {
			t.Log(strings.Join(w.lines, "\n"))
		}
		return
	}
	failed.Add(1)
	again := simHistoryOf(t, seed, true)
	if strings.Join(again.problems, "\n") != strings.Join(w.problems, "\n") {
		t.Errorf("seed %d is not the same each time: %q, then %q", seed, w.problems, again.problems)
	}
	t.Errorf("%s\nseed %d: %s", strings.Join(again.lines, "\n"), seed, strings.Join(w.problems, "\n"))
}

func simHistoryOf(t *testing.T, seed uint64, tracing bool) (w *simWorld) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w = newSimWorld(seed, tracing)
		w.start()
		w.run()
		w.end()
	})
	return w
}
