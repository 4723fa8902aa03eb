package command_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
)

// BenchmarkCreate creates volumes, 1,000 a round where nothing else is said, with 100 calls at a time, over a real socket and with the call log on.
func BenchmarkCreate(b *testing.B) {
	pools := func(n int, data string) string {
		return fmt.Sprintf("generate: [{key: %s, prefix: zone-, count: %d, size: 100Ti}]\ndata: %s\n", zone, n, data)
	}
	named := func(n, terms int) func(int, *csipb.CreateVolumeRequest) {
		return func(i int, r *csipb.CreateVolumeRequest) {
			req := &csipb.TopologyRequirement{}
			for t := range terms {
				req.Requisite = append(req.Requisite, seg(fmt.Sprintf("zone-%04d", (i+t)%n)))
			}
			req.Preferred = req.Requisite
			r.AccessibilityRequirements = req
		}
	}
	anywhere := func(int, *csipb.CreateVolumeRequest) {}
	for _, bm := range []struct {
		name   string
		calls  int
		config string
		shape  func(int, *csipb.CreateVolumeRequest)
	}{
		{"1 pool, none", 1000, pools(1, "none"), anywhere},
		{"1 pool, directory", 1000, pools(1, "directory"), anywhere},
		{"1 pool, sparse", 1000, pools(1, "sparse"), anywhere},
		{"5000 pools, none, anywhere", 1000, pools(5000, "none"), anywhere},
		{"5000 pools, none, one segment named", 1000, pools(5000, "none"), named(5000, 1)},
		{"5000 pools, directory, one segment named", 1000, pools(5000, "directory"), named(5000, 1)},
		{"5000 pools, none, all segments named", 100, pools(5000, "none"), named(5000, 5000)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			d := serve(b, newPlace(b, bm.config))
			const workers = 100
			requests := make([]*csipb.CreateVolumeRequest, bm.calls)
			var spent, cpu time.Duration
			for round := range b.N {
				for i := range requests {
					requests[i] = volumeRequest(fmt.Sprintf("volume-%d-%d", round, i))
					bm.shape(i, requests[i])
				}
				before := cpuTime(b)
				spent += createAll(b, d.ctl, requests, workers)
				cpu += cpuTime(b) - before
			}
			b.ReportMetric(float64(bm.calls*b.N)/spent.Seconds(), "creates/s")
			b.ReportMetric(spent.Seconds()/float64(b.N), "s/round")
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/round")
		})
	}
}

// createAll sends requests from several workers and returns how long all of them took.
func createAll(tb testing.TB, ctl csipb.ControllerClient, requests []*csipb.CreateVolumeRequest, workers int) time.Duration {
	tb.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(requests) {
					return
				}
				if _, err := ctl.CreateVolume(context.Background(), requests[i]); err != nil {
					tb.Errorf("create %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// cpuTime is what this process, driver and client, has used so far: it says more than the clock on a busy machine.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
