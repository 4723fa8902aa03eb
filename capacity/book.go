package capacity

import (
	"container/list"
	"maps"
	"slices"
	"sync"
	"time"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

// book is all that is known: classes, places, objects, reports and reservations. Its methods return the work that follows from a change. It is safe for
// concurrent use, and nothing is called with its lock held but the index of places.
type book struct {
	driver       string // its name
	manager      string // value of LabelManagedBy
	immediate    bool   // --capacity-for-immediate-binding
	reservations bool   // --capacity-reservations
	parameters   func(class map[string]string) map[string]string
	hasPlace     func(topology.Segment) bool
	now          func() time.Time

	mu       sync.Mutex
	classes  map[string]*class
	sharing  map[string]map[string]bool   // parameters -> classes
	asking   map[string]map[string]string // parameters -> the same as the driver gets them
	places   map[topology.Segment]bool
	lost     map[topology.Segment]time.Time // places that went, until nothing is left of them
	desired  map[Key]Pool
	objects  map[Key]map[string]*storagev1.CSIStorageCapacity // by name
	written  map[string]time.Time                             // names of objects that we wrote and no event has shown yet
	pools    map[Pool]*pool
	ages     *list.List // of *pool, the oldest report first
	lower    map[Key]time.Time
	goal     int // keys that are desired
	current  int // of these, the ones with an object
	count    int // objects
	ledger   ledger
	rooms    map[string]roomList                     // by parameters
	shouting map[Key]bool                            // to be published as exhausted
	suspects map[Key][]*storagev1.CSIStorageCapacity // that an event said are gone
	moment   moment                                  // of the last event
}

// pool is what is known of one question to the driver.
type pool struct {
	key    Pool
	users  int // keys
	said   csi.Capacity
	asked  moment    // when the report was asked for; 0: there is none
	asking moment    // when the question was put that is under way; 0: none is
	wanted moment    // a report that was asked for before this is too old
	urgent bool      // it is wanted because something happened
	waits  time.Time // since when a newer report is wanted
	age    *list.Element
	since  time.Time // of the report, or of the pool if there is none yet
}

// work is what follows from a change.
type work struct {
	pools []Pool // to be asked about
	keys  []Key  // to be published
}

func newBook(driver string, parameters func(map[string]string) map[string]string, hasPlace func(topology.Segment) bool) *book {
	return &book{
		driver: driver, parameters: parameters, hasPlace: hasPlace, now: time.Now,
		classes: map[string]*class{}, sharing: map[string]map[string]bool{}, asking: map[string]map[string]string{},
		places: map[topology.Segment]bool{}, lost: map[topology.Segment]time.Time{},
		desired: map[Key]Pool{}, objects: map[Key]map[string]*storagev1.CSIStorageCapacity{}, written: map[string]time.Time{},
		pools: map[Pool]*pool{}, ages: list.New(), lower: map[Key]time.Time{}, rooms: map[string]roomList{},
		shouting: map[Key]bool{}, suspects: map[Key][]*storagev1.CSIStorageCapacity{},
	}
}

// next is a moment after all events before.
func (b *book) next() moment {
	b.moment++
	return b.moment
}

// setClass notes a class that came or changed.
func (b *book) setClass(object *storagev1.StorageClass) work {
	class, parameters, ours := b.classOf(object)
	if !ours {
		return b.deleteClass(object.Name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.classes[object.Name]; known != nil && known.equal(&class) {
		return work{}
	}
	b.unshare(object.Name)
	b.classes[object.Name] = &class
	if b.sharing[class.parameters] == nil {
		b.sharing[class.parameters] = map[string]bool{}
		b.asking[class.parameters] = parameters
	}
	b.sharing[class.parameters][object.Name] = true
	return b.reviewClass(object.Name)
}

// deleteClass notes that there is no such class of the driver.
func (b *book) deleteClass(name string) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.classes[name] == nil {
		return work{}
	}
	b.unshare(name)
	delete(b.classes, name)
	return b.reviewClass(name)
}

// unshare takes a class out of those with its parameters.
func (b *book) unshare(name string) {
	known := b.classes[name]
	if known == nil {
		return
	}
	delete(b.sharing[known.parameters], name)
	if len(b.sharing[known.parameters]) == 0 {
		delete(b.sharing, known.parameters)
		delete(b.asking, known.parameters)
		delete(b.rooms, known.parameters)
	}
}

func (b *book) reviewClass(name string) work {
	var w work
	for segment := range b.places {
		b.review(Key{Class: name, Segment: segment}, &w)
	}
	return w
}

// placeChanged notes that a place may have come or gone.
func (b *book) placeChanged(segment topology.Segment) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	var w work
	has := b.hasPlace(segment) // with the lock held, so that the last one to ask is the one that counts
	if has == b.places[segment] {
		return w
	}
	if has {
		b.places[segment] = true
		delete(b.lost, segment)
	} else {
		delete(b.places, segment)
		b.lost[segment] = b.now()
	}
	for name := range b.classes {
		b.review(Key{Class: name, Segment: segment}, &w)
	}
	return w
}

// review brings in line what is known of a key with its class and its place.
func (b *book) review(key Key, w *work) {
	before := b.isCurrent(key)
	was, had := b.desired[key]
	is, wants := b.poolOf(key)
	if had && (!wants || was != is) {
		delete(b.desired, key)
		b.leavePool(was)
	}
	if wants && (!had || was != is) {
		b.desired[key] = is
		if b.joinPool(is) {
			w.pools = append(w.pools, is)
		}
	}
	if had != wants || was != is {
		w.keys = append(w.keys, key)
	}
	b.goal = len(b.desired)
	b.recount(key, before)
}

// poolOf is what a key's objects say something about, and false if there should be none.
func (b *book) poolOf(key Key) (Pool, bool) {
	class := b.classes[key.Class]
	if class == nil || !class.published || !b.places[key.Segment] || !topology.Allows(class.allowed, key.Segment) {
		return Pool{}, false
	}
	return Pool{class.parameters, key.Segment}, true
}

// joinPool reports whether the pool is new.
func (b *book) joinPool(key Pool) bool {
	known := b.pools[key]
	if known != nil {
		known.users++
		return false
	}
	now := b.now()
	fresh := &pool{key: key, users: 1, wanted: b.next(), waits: now, since: now}
	fresh.age = b.ages.PushBack(fresh)
	b.pools[key] = fresh
	return true
}

func (b *book) leavePool(key Pool) {
	known := b.pools[key]
	if known.users--; known.users > 0 {
		return
	}
	b.ages.Remove(known.age)
	delete(b.pools, key)
	b.ledger.forget(key)
	b.outdateRooms(key.Parameters)
}

func (b *book) isCurrent(key Key) bool {
	_, desired := b.desired[key]
	return desired && len(b.objects[key]) > 0
}

// recount keeps the number of desired keys that have an object.
func (b *book) recount(key Key, before bool) {
	after := b.isCurrent(key)
	switch {
	case after && !before:
		b.current++
	case before && !after:
		b.current--
	}
}

// keysOf are those that say something about a pool.
func (b *book) keysOf(key Pool) []Key {
	var keys []Key
	for name := range b.sharing[key.Parameters] {
		one := Key{Class: name, Segment: key.Segment}
		if b.desired[one] == key {
			keys = append(keys, one)
		}
	}
	return keys
}

// poolsAt are those that a volume at a segment may take from. It may be a place, or a wider segment with places in it, or a narrower one in a place.
func (b *book) poolsAt(segment topology.Segment) []Pool {
	var pools []Pool
	add := func(place topology.Segment) {
		for parameters := range b.sharing {
			if key := (Pool{parameters, place}); b.pools[key] != nil {
				pools = append(pools, key)
			}
		}
	}
	if b.places[segment] {
		add(segment)
		return pools
	}
	if segment.IsZero() {
		return nil // a volume that is accessible from everywhere may be anywhere
	}
	for place := range b.places { // rare: a driver that answers with other keys than its nodes have
		if place.Contains(segment) || segment.Contains(place) {
			add(place)
		}
	}
	return pools
}

// facts are what decides about a key.
func (b *book) facts(key Key) Facts {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := Facts{Key: key, Now: b.now(), Driver: b.driver, Manager: b.manager, Objects: slices.Collect(maps.Values(b.objects[key])), Exhausted: b.shouting[key]}
	of, desired := b.desired[key]
	if !desired {
		f.Lost = b.lostSince(key)
		delete(b.lower, key)
		return f
	}
	f.Desired = true
	if known := b.pools[of]; known.asked > 0 {
		f.Known = true
		f.Value, f.Until = b.ledger.room(of, known.said, f.Now)
		f.Next = b.ledger.latest(of)
	}
	f.Lower = b.lowerSince(key, f)
	return f
}

// lowerSince keeps since when less is to be published than is.
func (b *book) lowerSince(key Key, f Facts) time.Time {
	if !f.Known || len(f.Objects) != 1 || says(f.Objects[0], f.Value) || patience(valueOf(f.Objects[0]), f.Value, f.Next) == 0 {
		delete(b.lower, key)
		return time.Time{}
	}
	if _, ok := b.lower[key]; !ok {
		b.lower[key] = f.Now
	}
	return b.lower[key]
}

// lostSince is since when a place is missing, if that is the only reason why a key is not desired. To a leader that finds objects of a place it
// has never seen, it has just gone.
func (b *book) lostSince(key Key) time.Time {
	class := b.classes[key.Class]
	if key.Stray != "" || class == nil || !class.published || b.places[key.Segment] || !topology.Allows(class.allowed, key.Segment) {
		return time.Time{}
	}
	if _, ok := b.lost[key.Segment]; !ok && len(b.objects[key]) > 0 {
		b.lost[key.Segment] = b.now()
	}
	return b.lost[key.Segment]
}

// counts are the numbers of objects that there should be, of those that are there, and of those that should not be.
func (b *book) counts() (goal, current, obsolete int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.goal, b.current, b.count - b.current
}

// stalest is the age of the oldest report, and the bytes reserved.
func (b *book) stalest() (age time.Duration, reserved int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if front := b.ages.Front(); front != nil {
		if oldest, ok := front.Value.(*pool); ok {
			age = b.now().Sub(oldest.since)
		}
	}
	return age, b.ledger.reserved
}
