package capacity

import (
	"strconv"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"
)

// unseenFor is how far behind a cache may be. An object of ours that it does not show after that is gone again.
const unseenFor = 30 * time.Second

// objectEvents feed the book from the informer of objects.
func (c *Controller) objectEvents() cache.ResourceEventHandler {
	set := func(event any) {
		if object, ok := event.(*storagev1.CSIStorageCapacity); ok {
			c.enqueue(c.book.seen(object))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, event any) { set(event) },
		DeleteFunc: func(event any) {
			tombstone, missed := event.(cache.DeletedFinalStateUnknown)
			if missed { // of what it was last nobody knows
				event = tombstone.Obj
			}
			if object, ok := event.(*storagev1.CSIStorageCapacity); ok {
				c.enqueue(c.book.vanished(object, missed))
			}
		},
	}
}

// seen notes what an event says of an object. Nothing follows from what we have just written ourselves.
func (b *book) seen(object *storagev1.CSIStorageCapacity) work {
	if object.DeletionTimestamp != nil {
		return b.deleted(object, true)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := keyOf(object)
	known := b.objects[key][object.Name]
	if known != nil && known.UID == object.UID && !newer(object, known) {
		if object.ResourceVersion == known.ResourceVersion {
			delete(b.written, object.Name)
		}
		return work{}
	}
	delete(b.written, object.Name)
	b.set(key, object)
	return work{keys: []Key{key}}
}

// wrote notes what the API server answered.
func (b *book) wrote(object *storagev1.CSIStorageCapacity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := keyOf(object)
	if known := b.objects[key][object.Name]; known == nil || known.UID != object.UID || newer(object, known) {
		b.set(key, object)
		b.written[object.Name] = b.now()
	}
}

func (b *book) set(key Key, object *storagev1.CSIStorageCapacity) {
	before := b.isCurrent(key)
	if b.objects[key] == nil {
		b.objects[key] = map[string]*storagev1.CSIStorageCapacity{}
	}
	if b.objects[key][object.Name] == nil {
		b.count++
	}
	b.objects[key][object.Name] = object
	b.recount(key, before)
}

// deleted notes that an object was deleted. Missed: that was found out later, so it is not known what it was last.
func (b *book) deleted(object *storagev1.CSIStorageCapacity, missed bool) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := keyOf(object)
	known := b.objects[key][object.Name]
	if known == nil || known.UID != object.UID || !missed && newer(known, object) {
		return work{} // that was known, or it is about another one of the same name
	}
	b.drop(key, object.Name)
	return work{keys: []Key{key}}
}

// vanished notes that an event says that an object is gone. It may only be without the labels that it is found by, and mislead the scheduler for ever:
// that is to be looked at.
func (b *book) vanished(object *storagev1.CSIStorageCapacity, missed bool) work {
	w := b.deleted(object, missed)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range w.keys {
		b.suspects[key] = append(b.suspects[key], object)
	}
	return w
}

// takeSuspects returns the objects of a key of which it is not certain that they are gone. Who finds out nothing gives them back.
func (b *book) takeSuspects(key Key) []*storagev1.CSIStorageCapacity {
	b.mu.Lock()
	defer b.mu.Unlock()
	suspects := b.suspects[key]
	delete(b.suspects, key)
	return suspects
}

func (b *book) suspect(key Key, objects []*storagev1.CSIStorageCapacity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.suspects[key] = append(b.suspects[key], objects...)
}

// gone notes that the API server has no such object.
func (b *book) gone(object *storagev1.CSIStorageCapacity) { b.deleted(object, true) }

func (b *book) drop(key Key, name string) {
	before := b.isCurrent(key)
	delete(b.objects[key], name)
	delete(b.written, name)
	b.count--
	if len(b.objects[key]) == 0 {
		delete(b.objects, key)
		if !b.places[key.Segment] && b.lastOf(key) {
			delete(b.lost, key.Segment)
		}
	}
	b.recount(key, before)
}

// lastOf reports whether a key was the last one with objects in its segment.
func (b *book) lastOf(key Key) bool {
	for name := range b.classes {
		if len(b.objects[Key{Class: name, Segment: key.Segment}]) > 0 {
			return false
		}
	}
	return true
}

// unseen are the objects of a key that we wrote some time ago and no event has shown.
func (b *book) unseen(key Key) []*storagev1.CSIStorageCapacity {
	b.mu.Lock()
	defer b.mu.Unlock()
	var unseen []*storagev1.CSIStorageCapacity
	for name, object := range b.objects[key] {
		if at, ok := b.written[name]; ok && b.now().Sub(at) > unseenFor {
			unseen = append(unseen, object)
		}
	}
	return unseen
}

// hush notes that what was to be said at once is said.
func (b *book) hush(key Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.shouting, key)
}

// newer reports whether an object is of a later version than another. API servers number versions in order (since Kubernetes 1.35 that is
// promised); where they are no numbers, what differs is newer.
func newer(object, than *storagev1.CSIStorageCapacity) bool {
	a, errA := strconv.ParseUint(object.ResourceVersion, 10, 64)
	b, errB := strconv.ParseUint(than.ResourceVersion, 10, 64)
	if errA != nil || errB != nil {
		return object.ResourceVersion != than.ResourceVersion
	}
	return a > b
}
