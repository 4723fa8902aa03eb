package capacity

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/topology"
)

// What the provisioner tells, and what follows from it.

// reserve holds room back for a volume that is about to be asked for.
func (b *book) reserve(claim types.UID, class string, segment topology.Segment, bytes int64) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.classes[class]
	if known == nil || !b.reservations {
		return work{}
	}
	pool := Pool{known.parameters, segment}
	if b.pools[pool] == nil {
		return work{}
	}
	b.ledger.reserve(claim, []Pool{pool}, bytes)
	b.outdateRooms(pool.Parameters)
	return work{keys: b.keysOf(pool)}
}

// ended notes that a claim's call came back.
func (b *book) ended(claim types.UID, made bool) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	var w work
	for _, key := range b.ledger.end(claim, made, b.next()) {
		if b.pools[key] == nil {
			b.ledger.forget(key)
			continue
		}
		b.outdateRooms(key.Parameters)
		w.keys = append(w.keys, b.keysOf(key)...)
		if made {
			b.want(key, &w)
		} else {
			w.pools = append(w.pools, key) // a question may be waiting for the end of the calls
		}
	}
	return w
}

// touched has a new report asked for where volumes came, went or changed their size.
func (b *book) touched(segments []topology.Segment, freed bool) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(segments) == 0 {
		segments = []topology.Segment{{}}
	}
	var w work
	for _, segment := range segments {
		for _, pool := range b.poolsAt(segment) {
			if freed {
				b.ledger.freed(pool)
			}
			b.want(pool, &w)
		}
	}
	return w
}

// want has a pool asked about because something happened. What happened before the question is put shows in the answer.
func (b *book) want(key Pool, w *work) {
	known := b.pools[key]
	if known.wanted <= max(known.asked, known.asking) {
		known.waits = b.now()
	}
	known.wanted, known.urgent = b.next(), true
	w.pools = append(w.pools, key)
}

// exhausted notes that the driver had no room for so many bytes.
func (b *book) exhausted(name string, segment topology.Segment, bytes int64) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.classes[name]
	if known == nil {
		return work{}
	}
	key := Pool{known.parameters, segment}
	pool := b.pools[key]
	if pool == nil || pool.asked == 0 {
		return work{}
	}
	b.ledger.exhausted(key, bytes, pool.said, b.next(), b.now())
	b.outdateRooms(key.Parameters)
	w := work{keys: b.keysOf(key)}
	for _, key := range w.keys {
		b.shouting[key] = true
	}
	b.want(key, &w)
	return w
}
