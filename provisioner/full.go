package provisioner

import (
	"sync"
	"time"

	"github.com/berth-csi/berth/topology"
)

const (
	// fullFirst and fullLongest are how long a segment is left alone after the driver had no room there: the first time, and after many times in a
	// row. The scheduler knows nothing of the answer and may well choose the same node again at once.
	fullFirst   = 2 * time.Second
	fullLongest = time.Minute
	// fullForgotten is how long after its last such answer a segment is as good as any other.
	fullForgotten = 5 * time.Minute
	// fullLimit bounds the memory; what does not fit is only asked again sooner.
	fullLimit = 10_000
)

// fullSegments remember where the driver had no room, for which class and size. It fades.
type fullSegments struct {
	now func() time.Time

	mu   sync.Mutex
	said map[fullKey]fullness
}

type fullKey struct {
	class   string
	segment topology.Segment
}

type fullness struct {
	bytes int64 // the smallest request that there was no room for
	times int   // in a row
	last  time.Time
}

func newFullSegments() *fullSegments {
	return &fullSegments{now: time.Now, said: map[fullKey]fullness{}}
}

// note remembers that there was no room for so many bytes.
func (f *fullSegments) note(class string, segment topology.Segment, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, key := f.now(), fullKey{class, segment}
	entry, ok := f.said[key]
	if ok && now.Sub(entry.last) > fullForgotten {
		ok = false
	}
	if !ok {
		entry = fullness{bytes: bytes}
		if len(f.said) >= fullLimit {
			f.fade(now)
		}
		if len(f.said) >= fullLimit {
			return
		}
	}
	if !ok || now.Sub(entry.last) >= entry.pause() { // else it is the same news, from a claim that asked meanwhile
		entry.times++
	}
	entry.bytes = min(entry.bytes, bytes)
	entry.last = now
	f.said[key] = entry
}

// fade forgets what is old.
func (f *fullSegments) fade(now time.Time) {
	for key, entry := range f.said {
		if now.Sub(entry.last) > fullForgotten {
			delete(f.said, key)
		}
	}
}

// clear forgets a segment: a volume was made there, or one was deleted.
func (f *fullSegments) clear(class string, segment topology.Segment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.said, fullKey{class, segment})
}

// wait returns how long a request of so many bytes had better not be made; 0: it may be made.
func (f *fullSegments) wait(class string, segment topology.Segment, bytes int64) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry, ok := f.said[fullKey{class, segment}]
	if !ok || bytes < entry.bytes {
		return 0
	}
	return max(0, entry.last.Add(entry.pause()).Sub(f.now()))
}

// pause is how long the segment is left alone.
func (e fullness) pause() time.Duration {
	if doublings := e.times - 1; doublings < 10 {
		return min(fullLongest, fullFirst<<doublings)
	}
	return fullLongest
}
