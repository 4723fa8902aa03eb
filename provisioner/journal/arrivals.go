package journal

import "time"

// arrivals counts what came in about the last second, in halves of it.
type arrivals struct {
	half           time.Time // beginning of the half second that counts in now
	now, last, old int
}

// slot is half a second.
const slot = 500 * time.Millisecond

func (a *arrivals) note(at time.Time) {
	a.advance(at)
	a.now++
}

// count is how many came in the second up to a time, or a little longer.
func (a *arrivals) count(at time.Time) int {
	a.advance(at)
	return a.now + a.last + a.old
}

func (a *arrivals) advance(at time.Time) {
	for range 3 {
		if at.Sub(a.half) < slot {
			return
		}
		a.old, a.last, a.now = a.last, a.now, 0
		a.half = a.half.Add(slot)
	}
	a.half = at // it was quiet for longer than we count
}
