package explain

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/topology"
)

// shownRooms is how many segments are told one by one.
const shownRooms = 8

// room is what one CSIStorageCapacity object says, and what it means for the claim.
type room struct {
	name    string
	segment topology.Segment
	free    *resource.Quantity
	largest *resource.Quantity // of one volume
	fits    bool
	allowed bool // by the class
	podMay  bool // the Pod's node selector lets it be there
}

func (r room) does() bool { return r.fits && r.allowed && r.podMay }

// String tells about the segment.
func (r room) String() string {
	text := r.name + ": "
	switch {
	case r.free == nil && r.largest == nil:
		text += "nothing published, which counts as no room"
	case r.free == nil:
		text += fmt.Sprintf("volumes up to %s", size(*r.largest))
	default:
		text += size(*r.free) + " free"
		if r.largest != nil && r.largest.Cmp(*r.free) < 0 {
			text += fmt.Sprintf(", volumes up to %s", size(*r.largest))
		}
	}
	switch {
	case !r.allowed:
		text += "; not allowed by the class"
	case !r.podMay:
		text += "; excluded by the Pod's node selector"
	case !r.fits:
		text += "; too little"
	default:
		text += "; fits"
	}
	return text
}

// rooms reads what was published as the scheduler does (KEP-1472): the largest volume decides where it is told, else the capacity, and
// where neither is told there is no room.
func (d *diagnosis) rooms() []room {
	want := d.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	allowed := d.allowed()
	var rooms []room
	for i := range d.Rooms.Value {
		object := &d.Rooms.Value[i]
		r := room{free: object.Capacity, largest: object.MaximumVolumeSize, allowed: true, podMay: true, name: "no node"}
		limit := cmp.Or(object.MaximumVolumeSize, object.Capacity)
		r.fits = limit != nil && limit.Cmp(want) >= 0
		if where := object.NodeTopology; where != nil {
			r.name = metav1.FormatLabelSelector(where)
			if len(where.MatchLabels) > 0 && len(where.MatchExpressions) == 0 {
				r.segment = topology.NewSegment(where.MatchLabels)
				r.name = r.segment.String()
				r.allowed = allows(allowed, r.segment)
				r.podMay = d.podMayBeIn(where.MatchLabels)
			} else if len(where.MatchLabels) == 0 && len(where.MatchExpressions) == 0 {
				r.name = "everywhere"
			}
		}
		rooms = append(rooms, r)
	}
	slices.SortStableFunc(rooms, func(a, b room) int {
		return cmp.Or(rank(a.does(), b.does()), rank(a.allowed, b.allowed), cmp.Compare(a.name, b.name))
	})
	return rooms
}

func rank(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// podMayBeIn looks at the node selectors of Pods that wait for a place, as far as they speak of a segment's keys.
func (d *diagnosis) podMayBeIn(labels map[string]string) bool {
	for _, pod := range d.Pods.Value {
		for key, value := range pod.Spec.NodeSelector {
			if have, ok := labels[key]; ok && have != value && pod.Spec.NodeName == "" {
				return false
			}
		}
	}
	return true
}

// capacity says where there is room. It decides where the scheduler places a Pod, and for nothing else; so it holds up only claims that wait
// for that.
func (d *diagnosis) capacity() []note {
	if !d.pending() || d.Rooms.Sight != Seen || d.Class.Sight != Seen {
		return nil
	}
	if len(d.Rooms.Value) == 0 {
		return d.noCapacity()
	}
	rooms := d.rooms()
	fitting := slices.IndexFunc(rooms, func(r room) bool { return !r.does() })
	if fitting < 0 {
		fitting = len(rooms)
	}
	want := d.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	head := info(aboutCapacity, fmt.Sprintf("%d of %s fit a volume of %s", fitting, count(len(rooms), "segment", "segments"), size(want)))
	if d.Rooms.Partial {
		head.Text += ", among those looked at: there are more"
	}
	if fitting == 0 && !d.Rooms.Partial {
		head.Text = fmt.Sprintf("None of %s fits a volume of %s", count(len(rooms), "segment", "segments"), size(want))
		head.Severity, head.Do = Warning, d.moreRoom(rooms)
		if d.schedulerMinds() && d.node == "" {
			head.Severity = Problem
			head.cause = fmt.Sprintf("no place has room for %s%s", size(want), d.best(rooms))
		}
	}
	notes := []note{head}
	for _, r := range rooms[:min(shownRooms, len(rooms))] {
		notes = append(notes, info(aboutCapacity, r.String()))
	}
	if more := len(rooms) - shownRooms; more > 0 {
		notes = append(notes, info(aboutCapacity, fmt.Sprintf("And %s more", count(more, "segment", "segments"))))
	}
	return notes
}

// noCapacity: a scheduler that minds capacity takes no figures for no room.
func (d *diagnosis) noCapacity() []note {
	if !d.schedulerMinds() || d.Rooms.Partial {
		return nil
	}
	class := d.Class.Value.Name
	if d.node != "" {
		return nil
	}
	return []note{problem(aboutCapacity, fmt.Sprintf("CSIDriver %s has the scheduler mind capacity (storageCapacity: true), and none is published for class %q: "+
		"it finds no node good enough", d.Driver, class),
		"See that whoever publishes capacity for the driver runs, or have an administrator set storageCapacity: false in the CSIDriver").
		because(fmt.Sprintf("the scheduler minds capacity, and none is published for class %q", class))}
}

// schedulerMinds: the scheduler looks at capacity for this claim.
func (d *diagnosis) schedulerMinds() bool {
	driver := d.CSIDriver.Value
	return d.delayed && driver != nil && driver.Spec.StorageCapacity != nil && *driver.Spec.StorageCapacity
}

// best is how large a volume could be where the claim's may be.
func (d *diagnosis) best(rooms []room) string {
	var best *resource.Quantity
	for _, r := range rooms {
		if limit := cmp.Or(r.largest, r.free); r.allowed && r.podMay && limit != nil && (best == nil || limit.Cmp(*best) > 0) {
			best = limit
		}
	}
	if best == nil {
		return " where it may be"
	}
	return fmt.Sprintf("; the most there is where it may be is %s", size(*best))
}

// moreRoom says what would help: it depends on what stands in the way.
func (d *diagnosis) moreRoom(rooms []room) string {
	switch {
	case slices.ContainsFunc(rooms, func(r room) bool { return r.fits && r.allowed }):
		return "Loosen the Pod's node selector, or have storage freed or added where the Pod may run"
	case slices.ContainsFunc(rooms, func(r room) bool { return r.fits }):
		return "Make the claim again with a class that allows the segments that have room, or have storage freed or added where this one allows volumes"
	}
	return "Make the claim again with a smaller request, or have storage freed or added"
}
