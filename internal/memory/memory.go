// Package memory keeps the process small beside large caches.
//
// Go's collector lets the heap grow to twice what is alive, and what it has once got from the system it keeps up to that. For a process whose
// heap is caches that hardly change, as ours is, half of the memory would be for nothing: in a cluster with 20,000 claims that is more than the caches
// of most. So the room for garbage is bounded: as much as a small heap has by itself, and not more because there is more to remember.
//
// It imports nothing of this project.
package memory

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// room is how much garbage there may be, beside a heap that is larger. A collection of a heap with 20,000 claims and their volumes takes about 50 ms of
	// one processor; it comes once for that many bytes, which are about a hundred volumes made.
	room = 24 << 20
	// least is the least percentage: a heap of a gigabyte is not collected for every 24 MiB.
	least = 25
	// usual is Go's own percentage, filling the one of the time in which caches are filled.
	usual   = 100
	filling = 50

	// firstLook is when what filling the caches has left is given back, lastLook how long the pauses between later looks get. Each takes a collection.
	firstLook = 15 * time.Second
	lastLook  = 5 * time.Minute
)

// percent is how much garbage there may be beside a heap, for debug.SetGCPercent.
func percent(alive uint64) int {
	if alive <= room {
		return usual
	}
	return max(least, int(room*100/alive))
}

// Keep has the collector busy at the start, then adapts it to what is alive, and gives back to the system what is not used, now and then until ctx ends. Who has set GOGC
// knows better, and is left alone.
func Keep(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	// While caches are filled most of what is decoded is not kept. The less of that there is at a time, the closer what is kept comes to lie.
	debug.SetGCPercent(filling)
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		debug.FreeOSMemory() // with a collection, after which what is there is alive
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		debug.SetGCPercent(percent(stats.HeapAlloc))
	}
}
