package capacity

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
)

// ledger knows what the driver's reports do not show, or not yet.
//
// A volume is expected from the moment the scheduler selects a node for it, which is before anybody works on its claim. That holds room back as a
// reservation does, but whether another volume fits does not depend on it: who comes first to ask the driver is served first.
//
// A reservation is held from the moment a volume is about to be asked for until a report that was asked for after the call came back: from
// then on the driver knows better. In between nobody can tell whether a report has the volume in it: some drivers subtract when a call
// begins, some when it ends. It is counted once too often if the report was asked for during the call of a driver of the first kind, and then
// until the report after the call. Less is published than there is, for that long, and never more; report.go asks, where it can, when no call is
// under way.
//
// A mark remembers a size that the driver had no room for, whatever it reports. It ends when a report shows that room has come, when a
// volume of that size is made or one is deleted, and by itself after a while, which is longer each time.
//
// The zero ledger is empty. It is not safe for concurrent use.
type ledger struct {
	accounts map[Pool]*account
	open     map[types.UID][]Pool // claims whose volume is expected, or whose call has not come back
	reserved int64                // over all accounts
}

// moment orders events: a report that was asked for at a later moment than an event had the chance to see it. The clock will not do, since two
// events may be at the same time.
type moment int64

type account struct {
	entries  map[types.UID]entry
	reserved int64
	expected int64 // of these, for volumes that are only expected
	latest   int64 // bytes of the volume that came last
	calls    int   // under way
	mark     mark
}

type entry struct {
	bytes    int64
	expected bool   // the driver was not asked yet
	ended    moment // 0: the call is under way, or is to come
}

// mark: there was no room for so many bytes.
type mark struct {
	bytes int64
	since moment
	until time.Time
	times int   // in a row
	least int64 // the smallest limit that was reported since, and the one before
}

const (
	// A mark lasts markFirst, twice as long when the driver says the same again, and markLongest in the end; after markForgotten it is the
	// first time again.
	markFirst     = 30 * time.Second
	markLongest   = 10 * time.Minute
	markForgotten = time.Hour
)

func (l *ledger) account(pool Pool) *account {
	if l.accounts == nil {
		l.accounts, l.open = map[Pool]*account{}, map[types.UID][]Pool{}
	}
	a := l.accounts[pool]
	if a == nil {
		a = &account{entries: map[types.UID]entry{}}
		l.accounts[pool] = a
	}
	return a
}

// expect notes that a node was selected for a volume, which will take so many bytes from each of the pools. If one was before it is this one now. It
// returns the pools that are concerned.
func (l *ledger) expect(claim types.UID, pools []Pool, bytes int64) []Pool {
	if bytes < 0 || l.called(claim) {
		return nil
	}
	left := l.end(claim, false, 0)
	l.enter(claim, pools, entry{bytes: bytes, expected: true})
	return append(left, pools...)
}

// reserve notes that a call is about to be made, which is likely to take so many bytes from each of the pools. A call that is repeated is the same
// call. It returns the pools where the volume was only expected, and that are not these.
func (l *ledger) reserve(claim types.UID, pools []Pool, bytes int64) []Pool {
	if bytes < 0 || l.called(claim) {
		return nil
	}
	left := l.end(claim, false, 0)
	l.enter(claim, pools, entry{bytes: bytes})
	for _, pool := range pools {
		l.accounts[pool].calls++
	}
	return left
}

// called reports whether a claim's call is under way.
func (l *ledger) called(claim types.UID) bool {
	pools := l.open[claim]
	return len(pools) > 0 && !l.accounts[pools[0]].entries[claim].expected
}

func (l *ledger) enter(claim types.UID, pools []Pool, one entry) {
	for _, pool := range pools {
		a := l.account(pool)
		l.put(a, claim, one) // in the place of one that ended and was not reported: it is the same room
		a.latest = one.bytes
	}
	if len(pools) > 0 {
		l.open[claim] = pools
	}
}

// put has an entry in the place of the one there was, if any, and keeps the sums.
func (l *ledger) put(a *account, claim types.UID, one entry) {
	before := a.entries[claim]
	l.reserved += one.bytes - before.bytes
	a.reserved += one.bytes - before.bytes
	if before.expected {
		a.expected -= before.bytes
	}
	if one.expected {
		a.expected += one.bytes
	}
	a.entries[claim] = one
}

func (l *ledger) drop(a *account, claim types.UID) {
	l.put(a, claim, entry{})
	delete(a.entries, claim)
}

// end notes that the call has come back, or that a volume is not expected any more, and returns the pools that it was for. What it made is reserved
// until the next report; if it made nothing that is over.
func (l *ledger) end(claim types.UID, made bool, at moment) []Pool {
	pools := l.open[claim]
	delete(l.open, claim)
	for _, pool := range pools {
		a := l.accounts[pool]
		one := a.entries[claim]
		if !one.expected {
			a.calls--
		}
		if made {
			l.put(a, claim, entry{bytes: one.bytes, ended: at})
			if one.bytes >= a.mark.bytes {
				a.mark = mark{}
			}
		} else {
			l.drop(a, claim)
		}
		l.tidy(pool)
	}
	return pools
}

// report settles what a report shows that was asked for at that moment.
func (l *ledger) report(pool Pool, asked moment, said csi.Capacity) {
	a := l.accounts[pool]
	if a == nil {
		return
	}
	for claim, one := range a.entries {
		if one.ended > 0 && one.ended < asked {
			l.drop(a, claim)
		}
	}
	if a.mark.bytes > 0 && asked > a.mark.since {
		if limit(said) > a.mark.least {
			a.mark = mark{}
		}
		a.mark.least = min(a.mark.least, limit(said))
	}
	l.tidy(pool)
}

// exhausted notes that the driver had no room for so many bytes, while the last report was the given one.
func (l *ledger) exhausted(pool Pool, bytes int64, said csi.Capacity, at moment, now time.Time) {
	a := l.account(pool)
	bytes = max(1, bytes)
	if a.mark.bytes == 0 || now.Sub(a.mark.until) > markForgotten {
		a.mark = mark{bytes: bytes, least: limit(said)}
	}
	if !now.Before(a.mark.until) || bytes < a.mark.bytes { // else it is the same news, from a claim that asked meanwhile
		a.mark.times++
	}
	lasts := markLongest
	if doublings := a.mark.times - 1; doublings < 10 {
		lasts = min(markLongest, markFirst<<doublings)
	}
	if !now.Before(a.mark.until) {
		a.mark.bytes = bytes // what was too large some time ago need not be
	}
	a.mark.bytes = min(a.mark.bytes, bytes)
	a.mark.since, a.mark.until = at, now.Add(lasts)
}

// freed notes that a volume was deleted there.
func (l *ledger) freed(pool Pool) {
	if a := l.accounts[pool]; a != nil {
		a.mark = mark{}
	}
}

// forget drops what only a report would settle, in a pool that nobody asks about any more.
func (l *ledger) forget(pool Pool) {
	a := l.accounts[pool]
	if a == nil {
		return
	}
	for claim, one := range a.entries {
		if one.ended > 0 {
			l.drop(a, claim)
		}
	}
	a.mark = mark{}
	l.tidy(pool)
}

func (l *ledger) tidy(pool Pool) {
	if a := l.accounts[pool]; len(a.entries) == 0 && a.mark.bytes == 0 {
		delete(l.accounts, pool)
	}
}

// calls is how many calls are under way that take from a pool.
func (l *ledger) calls(pool Pool) int {
	if a := l.accounts[pool]; a != nil {
		return a.calls
	}
	return 0
}

// room is what of a report there still is, and until when that holds by itself; the zero time: for ever. A report whose largest volume is larger
// than its capacity is of a driver that counts in another way, so its largest volume stands.
func (l *ledger) room(pool Pool, said csi.Capacity, now time.Time) (csi.Capacity, time.Time) {
	a := l.accounts[pool]
	if a == nil {
		return said, time.Time{}
	}
	return a.left(said, a.reserved, now)
}

// fits reports whether a volume of so many bytes fits beside those that the driver was asked for.
func (l *ledger) fits(pool Pool, said csi.Capacity, bytes int64, now time.Time) bool {
	a := l.accounts[pool]
	if a == nil {
		return limit(said) >= bytes
	}
	value, _ := a.left(said, a.reserved-a.expected, now)
	return limit(value) >= bytes
}

// latest is the size of the volume that came last, as far as anything is remembered of the pool.
func (l *ledger) latest(pool Pool) int64 {
	if a := l.accounts[pool]; a != nil {
		return a.latest
	}
	return 0
}

// left is what remains of a report when so many bytes are taken from it.
func (a *account) left(said csi.Capacity, taken int64, now time.Time) (csi.Capacity, time.Time) {
	value := said
	if value.Available = max(0, said.Available-taken); said.Largest <= said.Available {
		value.Largest = min(value.Largest, value.Available)
	}
	if a.mark.bytes == 0 || !now.Before(a.mark.until) {
		return value, time.Time{}
	}
	if limit(value) >= a.mark.bytes {
		value.Limited, value.Largest = true, a.mark.bytes-1
	}
	return value, a.mark.until
}
