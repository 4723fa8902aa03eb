package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/berth-csi/berth/e2e/harness"
)

// A keeper keeps the subject running: whenever the process ends, it starts it again, or another replica in its place.
type keeper struct {
	mu       sync.Mutex
	replicas []*harness.Process
	current  int // was started last
	next     int // is started when the current one has ended
	kills    int // that hit a living process
	ends     int // that nobody asked for
	err      error
}

func newKeeper(replicas []*harness.Process) *keeper {
	running := len(replicas) - 1 // startReplicas leaves it to us
	return &keeper{replicas: replicas, current: running, next: running}
}

// restartDelay is for a process that ends by itself, as one that lost its lease does.
const restartDelay = 200 * time.Millisecond

// run returns when ctx has ended, and leaves running what runs.
func (k *keeper) run(ctx context.Context) {
	for {
		process := k.running()
		select {
		case <-process.Done():
		case <-ctx.Done():
			return
		}
		if exit, _ := process.Wait(ctx); exit.Signal != syscall.SIGKILL {
			k.count(&k.ends)
			if !sleep(ctx, restartDelay) {
				return
			}
		}
		if err := k.advance().Start(); err != nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.err = fmt.Errorf("keep the subject running: %w", err)
			return
		}
	}
}

// kill ends the present process with SIGKILL; with move, another replica comes next.
func (k *keeper) kill(move bool) {
	process := k.running()
	if !process.Running() {
		return // on its way up: there is nothing to kill
	}
	if move {
		k.mu.Lock()
		k.next = (k.current + 1) % len(k.replicas)
		k.mu.Unlock()
	}
	if process.Kill().Signal == syscall.SIGKILL {
		k.count(&k.kills)
	}
}

// stop ends the subject as a Pod is ended, when run has returned.
func (k *keeper) stop(ctx context.Context) (harness.Exit, error) {
	return k.running().Stop(ctx)
}

func (k *keeper) running() *harness.Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.replicas[k.current]
}

// advance makes the next replica the current one.
func (k *keeper) advance() *harness.Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = k.next
	return k.replicas[k.current]
}

func (k *keeper) count(n *int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*n++
}

func (k *keeper) counts() (kills, ends int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kills, k.ends, k.err
}

// sleep says whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
