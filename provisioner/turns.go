package provisioner

import (
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
)

// roomLasts is how long an answer of the driver about the room here does for further claims of the class, unless a promise is taken back: then a volume
// may have been made since. A thousand claims that there is no room for would otherwise be a thousand calls a minute.
const roomLasts = time.Second

// turns are when this node may try to take the claims that no node has taken, and the room that it has promised to those that it takes. An entry is
// forgotten when its claim has a volume, is gone, or is another node's.
type turns struct {
	node   Node
	now    func() time.Time
	chance func() float64

	mu       sync.Mutex
	byClaim  map[types.UID]takeTurn
	promised map[string]int64 // by class
	said     map[string]saidRoom
	freed    time.Time // when a promise was last taken back
}

type takeTurn struct {
	due   time.Time
	round int
	class string
	bytes int64 // promised; 0: nothing is
}

type saidRoom struct {
	room csi.Capacity
	at   time.Time
}

func newTurns(node Node) *turns {
	return &turns{
		node: node, now: time.Now, chance: rand.Float64,
		byClaim: map[types.UID]takeTurn{}, promised: map[string]int64{}, said: map[string]saidRoom{},
	}
}

// left is how long it is until this node may try. The first question sets the time.
func (t *turns) left(claim types.UID) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry, ok := t.byClaim[claim]
	if !ok {
		entry.due = t.now().Add(turnDelay(t.node, 0, t.chance()))
		t.byClaim[claim] = entry
	}
	return max(0, entry.due.Sub(t.now()))
}

// next is called when this node cannot have a claim now, and returns how long it is until the next try.
func (t *turns) next(claim types.UID) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.byClaim[claim]
	t.set(&entry, entry.class, 0)
	entry.round++
	delay := turnDelay(t.node, entry.round, t.chance())
	entry.due = t.now().Add(delay)
	t.byClaim[claim] = entry
	return delay
}

// promise keeps room for a claim that is about to be taken, and returns how much of it is promised to others: the driver's reports know nothing of
// volumes that it was not asked for yet.
func (t *turns) promise(claim types.UID, class string, bytes int64) (others int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.byClaim[claim]
	t.set(&entry, class, bytes)
	t.byClaim[claim] = entry
	return t.promised[class] - bytes
}

// release takes a promise back: the volume exists, or will not.
func (t *turns) release(claim types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry, ok := t.byClaim[claim]
	if !ok || entry.bytes == 0 {
		return
	}
	t.free(entry.class)
	t.set(&entry, entry.class, 0)
	t.byClaim[claim] = entry
}

func (t *turns) forget(claim types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry, ok := t.byClaim[claim]
	if !ok {
		return
	}
	if entry.bytes != 0 {
		t.free(entry.class)
	}
	t.set(&entry, entry.class, 0)
	delete(t.byClaim, claim)
}

// free forgets what the driver said, of which nobody knows whether it counts a volume or not. The lock is held.
func (t *turns) free(class string) {
	delete(t.said, class)
	t.freed = t.now()
}

// set changes what is promised to a claim. The lock is held.
func (t *turns) set(entry *takeTurn, class string, bytes int64) {
	if t.promised[entry.class] -= entry.bytes; t.promised[entry.class] == 0 {
		delete(t.promised, entry.class)
	}
	entry.class, entry.bytes = class, bytes
	if bytes != 0 {
		t.promised[class] += bytes
	}
}

// known is what the driver has said of the room for a class a moment ago.
func (t *turns) known(class string) (csi.Capacity, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	said, ok := t.said[class]
	return said.room, ok && t.now().Sub(said.at) < roomLasts
}

// note remembers what the driver has said, unless a promise was taken back since it was asked.
func (t *turns) note(class string, room csi.Capacity, asked time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if asked.After(t.freed) {
		t.said[class] = saidRoom{room, asked}
	}
}
