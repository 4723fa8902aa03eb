package webhook

import (
	"fmt"
	"slices"
	"sync"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-csi/berth/topology"
)

// RoomIndex keeps what CSIStorageCapacity objects say about each class's segments, in the form that a review reads: a list per class, shared
// with all who read it, which a change copies only if it was read since the last one. It is a Rooms, and safe for concurrent use.
type RoomIndex struct {
	mu      sync.Mutex
	classes map[string]*classRooms
}

// classRooms are the rooms of one class.
type classRooms struct {
	said   map[topology.Segment][]statement // of one object each; more than one while a segment's object is being replaced
	list   []topology.Room                  // the least that is said of each segment, in order
	shared bool                             // somebody may be reading the list
}

// statement is what one object says.
type statement struct {
	object cache.ObjectName
	room   topology.Room
}

// NewRoomIndex makes a RoomIndex that hears from an informer. That should be limited to the objects of this driver.
func NewRoomIndex(capacities cache.SharedIndexInformer) (*RoomIndex, error) {
	x := &RoomIndex{classes: map[string]*classRooms{}}
	_, err := capacities.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { x.replace(nil, object) },
		UpdateFunc: func(old, object any) { x.replace(old, object) },
		DeleteFunc: func(object any) { x.replace(object, nil) },
	})
	if err != nil {
		return nil, fmt.Errorf("watch storage capacities: %w", err)
	}
	return x, nil
}

// Rooms returns what is known about a class. The result is shared: it must not be changed.
func (x *RoomIndex) Rooms(class string) []topology.Room {
	x.mu.Lock()
	defer x.mu.Unlock()
	rooms := x.classes[class]
	if rooms == nil {
		return nil
	}
	rooms.shared = true
	return rooms.list
}

// replace forgets what an object said and notes what it says now; nil: nothing.
func (x *RoomIndex) replace(old, object any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before, said := statementOf(old)
	if said {
		rooms := x.of(before.class)
		rooms.said[before.room.Segment] = slices.DeleteFunc(rooms.said[before.room.Segment], func(one statement) bool {
			return one.object == before.object
		})
	}
	after, says := statementOf(object)
	if says {
		rooms := x.of(after.class)
		rooms.said[after.room.Segment] = append(rooms.said[after.room.Segment], after.statement)
	}
	if said {
		x.settle(before.class, before.room.Segment)
	}
	if says {
		x.settle(after.class, after.room.Segment)
	}
}

func (x *RoomIndex) of(class string) *classRooms {
	rooms := x.classes[class]
	if rooms == nil {
		rooms = &classRooms{said: map[topology.Segment][]statement{}}
		x.classes[class] = rooms
	}
	return rooms
}

// settle brings a class's list in line with what is said of one segment.
func (x *RoomIndex) settle(class string, segment topology.Segment) {
	rooms := x.of(class)
	statements := rooms.said[segment]
	if len(statements) == 0 {
		delete(rooms.said, segment)
		rooms.drop(segment)
	} else {
		least := statements[0].room
		for _, one := range statements[1:] {
			least.Free, least.Largest = min(least.Free, one.room.Free), min(least.Largest, one.room.Largest)
		}
		rooms.set(least)
	}
	if len(rooms.said) == 0 {
		delete(x.classes, class)
	}
}

func (r *classRooms) set(room topology.Room) {
	at, listed := r.find(room.Segment)
	switch {
	case !listed:
		r.own()
		r.list = slices.Insert(r.list, at, room)
	case r.list[at] != room:
		r.own()
		r.list[at] = room
	}
}

func (r *classRooms) drop(segment topology.Segment) {
	if at, listed := r.find(segment); listed {
		r.own()
		r.list = slices.Delete(r.list, at, at+1)
	}
}

func (r *classRooms) find(segment topology.Segment) (at int, listed bool) {
	return slices.BinarySearchFunc(r.list, segment, func(room topology.Room, segment topology.Segment) int { return room.Segment.Compare(segment) })
}

// own makes a list that nobody else reads.
func (r *classRooms) own() {
	if r.shared {
		r.list, r.shared = slices.Clone(r.list), false
	}
}

// classStatement is what one object says of a class.
type classStatement struct {
	statement
	class string
}

// statementOf reads an event's object, and reports false if there is none, or it says nothing of one segment. The scheduler reads it in the
// same way: the largest volume decides where it is told, else the capacity, and where neither is told there is no room.
func statementOf(event any) (classStatement, bool) {
	if gone, ok := event.(cache.DeletedFinalStateUnknown); ok {
		event = gone.Obj
	}
	object, ok := event.(*storagev1.CSIStorageCapacity)
	if !ok {
		return classStatement{}, false
	}
	where := object.NodeTopology
	if where == nil || len(where.MatchLabels) == 0 || len(where.MatchExpressions) > 0 {
		return classStatement{}, false
	}
	room := topology.Room{Segment: topology.NewSegment(where.MatchLabels), Largest: -1}
	free, largest := object.Capacity, object.MaximumVolumeSize
	if free == nil {
		free = largest
	}
	if largest == nil {
		largest = free
	}
	if free != nil {
		room.Free, room.Largest = free.Value(), largest.Value()
	}
	return classStatement{statement{cache.NewObjectName(object.Namespace, object.Name), room}, object.StorageClassName}, true
}
