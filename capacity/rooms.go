package capacity

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/topology"
)

// roomsAge is how old the list of a class's rooms may be, for each of its segments: a long one costs some milliseconds, so that a burst of claims shares
// one. That they do not all go to the same segment is for who orders them to see to, and for ReserveIfFits.
const roomsAge = 10 * time.Microsecond

// roomList is what is known of all segments for some parameters, sorted by segment.
type roomList struct {
	list     []topology.Room
	made     time.Time
	outdated bool
}

func (b *book) outdateRooms(parameters string) {
	if known, ok := b.rooms[parameters]; ok {
		known.outdated = true
		b.rooms[parameters] = known
	}
}

// roomsFor returns the rooms of a class.
func (b *book) roomsFor(name string) []topology.Room {
	b.mu.Lock()
	defer b.mu.Unlock()
	class := b.classes[name]
	if class == nil {
		return nil
	}
	now := b.now()
	if known, ok := b.rooms[class.parameters]; ok && (!known.outdated || now.Sub(known.made) < roomsAge*time.Duration(len(known.list))) {
		return known.list
	}
	var list []topology.Room
	for segment := range b.places {
		key := Pool{class.parameters, segment}
		if known := b.pools[key]; known != nil && known.asked > 0 {
			value, _ := b.ledger.room(key, known.said, now) // a mark that ends shows after the next report
			list = append(list, topology.Room{Segment: segment, Free: value.Available, Largest: limit(value)})
		}
	}
	slices.SortFunc(list, func(x, y topology.Room) int { return x.Segment.Compare(y.Segment) })
	b.rooms[class.parameters] = roomList{list: list, made: now}
	return list
}

// Rooms returns what room there is for volumes of a class, as far as is known, less what is reserved. The result is shared: it must not be changed.
func (c *Controller) Rooms(class string) []topology.Room { return c.book.roomsFor(class) }

// Expect notes that a volume of so many bytes will be asked for, most likely in the given segment: a node there was selected for it. That lasts until
// Reserve or Released.
func (c *Controller) Expect(claim types.UID, class string, segment topology.Segment, bytes int64) {
	c.enqueue(c.book.expect(claim, class, segment, bytes))
}

// Reserve notes that a volume of so many bytes is about to be asked for, most likely in the given segment. To say so again about a claim whose call
// has not ended changes nothing.
func (c *Controller) Reserve(claim types.UID, class string, segment topology.Segment, bytes int64) {
	follows, _ := c.book.reserve(claim, class, segment, bytes, false)
	c.enqueue(follows)
}

// ReserveIfFits does the same if the volume fits there, by all that is known, and reports whether it does. Of those who ask at once only as many are told so
// as do fit.
func (c *Controller) ReserveIfFits(claim types.UID, class string, segment topology.Segment, bytes int64) bool {
	follows, fits := c.book.reserve(claim, class, segment, bytes, true)
	c.enqueue(follows)
	return fits
}

// Fits reports whether a volume of so many bytes fits in a segment beside those that the driver was asked for. Where nothing is known it does.
func (c *Controller) Fits(class string, segment topology.Segment, bytes int64) bool {
	return c.book.fits(class, segment, bytes)
}

// Created notes that a claim's volume exists, accessible from the given segments; none: from everywhere.
func (c *Controller) Created(claim types.UID, accessible []topology.Segment) {
	c.enqueue(c.book.ended(claim, true))
	c.enqueue(c.book.touched(accessible, false))
}

// Released notes that nothing is under way for a claim, and that it got no volume unless it was Created. It may be said any number of times.
func (c *Controller) Released(claim types.UID) { c.enqueue(c.book.ended(claim, false)) }

// Touched notes that a volume, accessible from the given segments, changed its size, or that something else did there. None: somewhere.
func (c *Controller) Touched(accessible []topology.Segment) {
	c.enqueue(c.book.touched(accessible, false))
}

// Deleted notes that a volume was deleted that was accessible from the given segments; none: from everywhere.
func (c *Controller) Deleted(accessible []topology.Segment) {
	c.enqueue(c.book.touched(accessible, true))
}

// Exhausted notes that the driver had no room for so many bytes, and returns when the scheduler can know: the objects say so, or ctx or two seconds
// are over. Whoever sends a claim back to the scheduler says it before, or the same segment is chosen again.
func (c *Controller) Exhausted(ctx context.Context, class string, segment topology.Segment, bytes int64) {
	if c.running.Load() {
		c.publishNow(ctx, class, segment, c.book.exhausted(class, segment, bytes))
	}
}

// Tell has what is known of a segment published now, and returns when the scheduler can know, as Exhausted does.
func (c *Controller) Tell(ctx context.Context, class string, segment topology.Segment) {
	if c.running.Load() {
		c.publishNow(ctx, class, segment, c.book.shout(class, segment))
	}
}

func (c *Controller) publishNow(ctx context.Context, class string, segment topology.Segment, follows work) {
	if len(follows.keys) == 0 {
		return
	}
	written := c.waiters.add(Key{Class: class, Segment: segment})
	for _, key := range follows.keys {
		c.publishing.Wake(key)
	}
	c.enqueue(follows)
	timer := time.NewTimer(exhaustedWait)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
		c.waiters.remove(Key{Class: class, Segment: segment}, written)
	case <-ctx.Done():
		c.waiters.remove(Key{Class: class, Segment: segment}, written)
	}
}

// exhaustedWait is how long a claim waits for an API server that is slow.
const exhaustedWait = 2 * time.Second
