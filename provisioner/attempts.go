package provisioner

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// attempts are the open attempts of this process: one a claim, and one a volume name. An attempt is written only by the worker that
// holds its claim's key.
type attempts struct {
	closed func(types.UID) // called, without a lock held, when an attempt is closed

	mu     sync.Mutex
	open   map[types.UID]*Attempt
	byName map[string]types.UID // volume name -> claim
	rounds map[types.UID]int    // claim -> how often the driver had no room where it was offered
	bereft map[types.UID]bool   // claims that waited for a volume whose object is gone
}

func newAttempts(closed func(types.UID)) *attempts {
	return &attempts{closed: closed, open: map[types.UID]*Attempt{}, byName: map[string]types.UID{}, rounds: map[types.UID]int{}, bereft: map[types.UID]bool{}}
}

// round is how often the driver had no room for a claim in the segments that it was offered.
func (a *attempts) round(claim types.UID) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rounds[claim]
}

func (a *attempts) nextRound(claim types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rounds[claim]++
}

// isBereft reports whether a claim had a volume whose object is gone.
func (a *attempts) isBereft(claim types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bereft[claim]
}

func (a *attempts) bereave(claim types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bereft[claim] = true
}

// settled forgets what was remembered from one attempt of a claim to the next: it has its volume, or is gone.
func (a *attempts) settled(claim types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.rounds, claim)
	delete(a.bereft, claim)
}

func (a *attempts) get(claim types.UID) *Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open[claim]
}

// put opens an attempt, or goes on with it. It reports false, and does nothing, if another claim has one open for a volume of the same
// name, as a short --volume-name-uuid-length makes possible: a driver creates by name, so both would be given the same volume.
func (a *attempts) put(claim types.UID, attempt *Attempt) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := attempt.Request.GetName()
	if holder, ok := a.byName[name]; ok && holder != claim {
		return false
	}
	a.byName[name] = claim
	a.open[claim] = attempt
	return true
}

// drop closes an attempt.
func (a *attempts) drop(claim types.UID) {
	a.mu.Lock()
	if attempt := a.open[claim]; attempt != nil {
		delete(a.byName, attempt.Request.GetName())
		delete(a.open, claim)
	}
	a.mu.Unlock()
	a.closed(claim)
}

// count is the number of open attempts.
func (a *attempts) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.open)
}

// written remembers the volumes whose objects we wrote until the cache shows them. Without it, an event about the claim that comes
// before the one about the volume would have the driver asked again.
type written struct {
	mu    sync.Mutex
	names map[string]writtenVolume
	now   func() time.Time
}

type writtenVolume struct {
	claim types.UID
	at    time.Time
}

// cacheLag is how far behind a cache may be. A volume that it does not show after that is gone again.
const cacheLag = time.Minute

// add must come before the write: the cache may see the object before the write returns.
func (w *written) add(name string, claim types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[name] = writtenVolume{claim, w.now()}
}

// seen forgets a volume that was written for the claim: the cache knows it now, or it was not written. An event about another object of
// the name, which was in the way before, says nothing about ours.
func (w *written) seen(name string, claim types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names[name].claim == claim {
		delete(w.names, name)
	}
}

// by is the claim that a volume was written for, if it was.
func (w *written) by(name string) (claim types.UID, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	volume, ok := w.names[name]
	if ok && w.now().Sub(volume.at) > cacheLag {
		delete(w.names, name)
		return "", false
	}
	return volume.claim, ok
}

// placeless are the claims that were refused for want of a place. A node or a registration that comes or changes wakes them, at most
// once in placelessDelay: when a driver is rolled out, thousands of nodes register within a minute.
type placeless struct {
	wake func(ClaimKey)

	mu      sync.Mutex
	keys    map[ClaimKey]bool
	timer   *time.Timer // nil: none is running
	stopped bool
	waking  sync.WaitGroup // one while a timer runs, and until what it does is done
}

const placelessDelay = time.Second

func newPlaceless(wake func(ClaimKey)) *placeless {
	return &placeless{wake: wake, keys: map[ClaimKey]bool{}}
}

func (p *placeless) set(key ClaimKey, waits bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if waits {
		p.keys[key] = true
	} else {
		delete(p.keys, key)
	}
}

func (p *placeless) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil && len(p.keys) > 0 && !p.stopped {
		p.waking.Add(1)
		p.timer = time.AfterFunc(placelessDelay, func() {
			defer p.waking.Done()
			p.wakeAll()
		})
	}
}

// stop ends it: nobody is woken any more when it returns.
func (p *placeless) stop() {
	p.mu.Lock()
	p.stopped = true
	if p.timer != nil && p.timer.Stop() {
		p.timer = nil
		p.waking.Done()
	}
	p.mu.Unlock()
	p.waking.Wait()
}

func (p *placeless) wakeAll() {
	p.mu.Lock()
	keys := slices.Collect(maps.Keys(p.keys))
	clear(p.keys)
	p.timer = nil
	p.mu.Unlock()
	for _, key := range keys {
		p.wake(key)
	}
}

// announcements are the claims that were told once what is told once, and about what.
type announcements struct {
	mu   sync.Mutex
	made map[types.UID][]string
}

// first reports whether the claim has not been told about something yet, and notes that it is.
func (a *announcements) first(claim types.UID, about string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.made[claim], about) {
		return false
	}
	a.made[claim] = append(a.made[claim], about)
	return true
}

func (a *announcements) forget(claim types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.made, claim)
}

// Progress is how far the deletion of a volume has come in this process. Caches lag behind what we did ourselves, and a driver must not be
// asked twice for that reason.
type Progress int

const (
	// NotDeleted: as far as we know, nothing was done yet.
	NotDeleted Progress = iota
	// VolumeDeleted: the driver has deleted the volume; its object is left.
	VolumeDeleted
	// ObjectDeleted: we have done our part of deleting the object, too.
	ObjectDeleted
)

// deletions remember volumes that are being deleted, until their objects leave the cache.
type deletions struct {
	mu    sync.Mutex
	byUID map[types.UID]*deletion
}

type deletion struct {
	progress Progress
	said     string // the last message about waiting for a detach
}

func (d *deletions) progress(volume types.UID) Progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	if entry := d.byUID[volume]; entry != nil {
		return entry.progress
	}
	return NotDeleted
}

func (d *deletions) advance(volume types.UID, to Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entry(volume).progress = to
}

// say reports whether message differs from what was said last about this volume.
func (d *deletions) say(volume types.UID, message string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry := d.entry(volume)
	if entry.said == message {
		return false
	}
	entry.said = message
	return true
}

func (d *deletions) entry(volume types.UID) *deletion {
	if d.byUID[volume] == nil {
		d.byUID[volume] = &deletion{}
	}
	return d.byUID[volume]
}

func (d *deletions) forget(volume types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.byUID, volume)
}
