package provisioner

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/topology"
)

const (
	// turnedFor is how long a claim that was turned down in a segment, without the driver being asked, is not turned down there again. Whoever sends it
	// there again does not look at what is published, or the driver makes volumes where it reports no room: then its own answer counts.
	turnedFor = time.Minute
	// turnedOften is how often a claim is turned down in that time.
	turnedOften = 8
)

// turned remembers where claims were turned down for want of room without the driver being asked.
type turned struct {
	now func() time.Time

	mu      sync.Mutex
	byClaim map[types.UID]turn
}

type turn struct {
	last  topology.Segment
	times int
	since time.Time // of the first
}

func newTurned() *turned { return &turned{now: time.Now, byClaim: map[types.UID]turn{}} }

// may reports whether a claim may be turned down in a segment.
func (t *turned) may(claim types.UID, segment topology.Segment) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, ok := t.byClaim[claim]
	return !ok || t.now().Sub(before.since) > turnedFor || before.last != segment && before.times < turnedOften
}

// note remembers that a claim was turned down in a segment.
func (t *turned) note(claim types.UID, segment topology.Segment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, before := t.now(), t.byClaim[claim]
	if before.times == 0 || now.Sub(before.since) > turnedFor {
		before = turn{since: now}
	}
	before.last, before.times = segment, before.times+1
	t.byClaim[claim] = before
}

// forget drops what is remembered of a claim that has its volume, or is gone.
func (t *turned) forget(claim types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byClaim, claim)
}
