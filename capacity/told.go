package capacity

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/topology"
)

// What the provisioner tells, and what follows from it.

// expect holds room back for a volume for which a node was selected.
func (b *book) expect(claim types.UID, class string, segment topology.Segment, bytes int64) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	var w work
	if pool := b.poolFor(class, segment); pool != nil && b.reservations {
		b.changed(b.ledger.expect(claim, []Pool{pool.key}, bytes), &w)
	}
	return w
}

// reserve holds room back for a volume that is about to be asked for. If that is to depend on whether the volume fits, it reports so, and does
// nothing where it does not.
func (b *book) reserve(claim types.UID, class string, segment topology.Segment, bytes int64, ifFits bool) (work, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pool := b.poolFor(class, segment)
	if pool == nil || !b.reservations {
		return work{}, true
	}
	if ifFits && !b.fitsIn(pool, bytes) {
		delete(b.rooms, pool.key.Parameters) // who chose this segment by them needs better ones
		return work{}, false
	}
	w := work{keys: b.keysOf(pool.key)}
	b.outdateRooms(pool.key.Parameters)
	b.changed(b.ledger.reserve(claim, []Pool{pool.key}, bytes), &w)
	return w, true
}

// fits reports whether a volume fits, as far as is known.
func (b *book) fits(class string, segment topology.Segment, bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	pool := b.poolFor(class, segment)
	return pool == nil || !b.reservations || b.fitsIn(pool, bytes)
}

func (b *book) fitsIn(pool *pool, bytes int64) bool {
	return pool.asked == 0 || b.ledger.fits(pool.key, pool.said, bytes, b.now())
}

// poolFor is what volumes of a class take from in a segment; nil if nobody asks about it.
func (b *book) poolFor(class string, segment topology.Segment) *pool {
	if known := b.classes[class]; known != nil {
		return b.pools[Pool{known.parameters, segment}]
	}
	return nil
}

// changed notes that other figures hold for some pools.
func (b *book) changed(pools []Pool, w *work) {
	for _, key := range pools {
		if b.pools[key] == nil {
			b.ledger.forget(key)
			continue
		}
		b.outdateRooms(key.Parameters)
		w.keys = append(w.keys, b.keysOf(key)...)
	}
}

// shout has what is known of a segment published at once.
func (b *book) shout(class string, segment topology.Segment) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	var w work
	if pool := b.poolFor(class, segment); pool != nil {
		w.keys = b.keysOf(pool.key)
	}
	for _, key := range w.keys {
		b.shouting[key] = true
	}
	return w
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
