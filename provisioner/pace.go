package provisioner

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// upkeepInterval is the pause between two volumes whose finalizer is put right: 50 a second. After a change of provisioners there may be ten
// thousand of them, and none is urgent, while claims wait for the same API server.
const upkeepInterval = 20 * time.Millisecond

// pace spreads what is not urgent over time: each volume gets a slot.
type pace struct {
	every time.Duration
	now   func() time.Time

	mu   sync.Mutex
	next time.Time // first free slot
	due  map[types.UID]time.Time
}

func newPace(every time.Duration) *pace {
	return &pace{every: every, now: time.Now, due: map[types.UID]time.Time{}}
}

// wait returns how long a volume has to wait for its slot; 0: its time has come.
func (p *pace) wait(volume types.UID) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	slot, ok := p.due[volume]
	if !ok {
		slot = now
		if p.next.After(now) {
			slot = p.next
		}
		p.next = slot.Add(p.every)
	}
	if !slot.After(now) {
		delete(p.due, volume)
		return 0
	}
	p.due[volume] = slot
	return slot.Sub(now)
}

// forget gives up a volume's slot: it is gone.
func (p *pace) forget(volume types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.due, volume)
}
