package provisioner

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/topology"
)

// In distributed mode a claim belongs to the node that is selected in its annotation. With WaitForFirstConsumer the scheduler selects it. With
// Immediate binding nobody does, so an instance takes a claim by selecting its own node: after a time that is random, so that all are not at it at once,
// and only if its driver has room. Whoever writes first has it, for the write names the version of the claim that was seen without a node. Nothing
// waits in a worker: the time is the queue's, and a claim that changes comes back by its event.

// Turn is what is known about taking a claim that no node has taken; the zero value where nobody asks.
type Turn struct {
	Left time.Duration // until this node may take it
	Full time.Duration // how long the driver's instance is to be left alone, because it has just said that it has no room
	// SourceElsewhere: the volume that it is to be cloned from, or that its snapshot is of, is on another node.
	SourceElsewhere bool
	Room            *csi.Capacity // what the driver has said of the room here, less what is under way; nil: it was not asked yet
}

// AwaitTurn looks again after a while: it is not this node's turn to take the claim, or to look after it.
type AwaitTurn struct{ For time.Duration }

// AskRoom asks the driver whether it has room here; then it is decided again.
type AskRoom struct{}

// TakeClaim selects this node for the claim, if it still is as it was.
type TakeClaim struct{}

// PassOn leaves the claim to other nodes for a while: there is no room for it here.
type PassOn struct{ Why string }

func (AwaitTurn) action() {}
func (AskRoom) action()   {}
func (TakeClaim) action() {}
func (PassOn) action()    {}

// notThisNode reports whether a claim belongs to another node.
func notThisNode(s Settings, claim *corev1.PersistentVolumeClaim) bool {
	node := selectedNode(claim)
	return !s.Node.IsZero() && node != "" && node != s.Node.Name
}

// untaken reports whether a claim waits for a node to take it, as far as the claim itself tells.
func untaken(s Settings, claim *corev1.PersistentVolumeClaim) bool {
	return !s.Node.IsZero() && selectedNode(claim) == ""
}

// decideUntaken says what to do about a claim that no node has taken. Every node decides that, so nothing is said to people here; a claim that is
// wrong in itself is taken like any other, and the node that has it says what is wrong.
func decideUntaken(in Input) Action {
	node := in.Settings.Node
	reference, _ := datasource.Resolve(in.Claim)
	switch {
	case !node.Immediate:
		return Leave{"no node is selected, and none is to be taken by itself (--node-deployment-immediate-binding)"}
	case in.Class == nil:
		return Leave{"its storage class does not exist"}
	case reference.Kind == datasource.Populator:
		return Leave{"a volume populator is expected to fill its volume"}
	case !topology.Allows(topology.Allowed(in.Class.AllowedTopologies), node.Segment):
		return Leave{fmt.Sprintf("its class does not allow this node's segment %s", node.Segment)}
	case in.Turn.SourceElsewhere:
		return Leave{"what it is to be made from is on another node"}
	}
	if left := in.Static.Left; in.Static.Name != "" && left < binderPatience {
		return LeaveToBinder{in.Static.Name, binderPatience - left}
	}
	if wait := max(in.Turn.Left, in.Turn.Full); wait > 0 {
		return AwaitTurn{wait}
	}
	size := in.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	switch {
	case !in.Settings.Driver.Capacity, size.Sign() <= 0: // nothing to compare
		return TakeClaim{}
	case in.Turn.Room == nil:
		return AskRoom{}
	case !fits(size.Value(), *in.Turn.Room):
		return PassOn{fmt.Sprintf("%s are asked for and there is %s", &size, roomInWords(*in.Turn.Room))}
	}
	return TakeClaim{}
}

// decideForeign says what to do about a claim that is for another node: its instance makes the volume, if there is one. See strays.go.
func decideForeign(in Input) Action {
	switch {
	case in.Stored != nil, in.Class == nil:
		return Leave{notOurs(in)}
	case in.Unattended > 0:
		return AwaitTurn{in.Unattended}
	}
	return LookForDriver{selectedNode(in.Claim)}
}

// fits reports whether there is room for one volume (CSI spec, GetCapacityResponse: maximum_volume_size is the largest that can be made).
func fits(bytes int64, room csi.Capacity) bool {
	return bytes <= room.Available && (!room.Limited || bytes <= room.Largest)
}

func roomInWords(room csi.Capacity) string {
	words := "room for " + resource.NewQuantity(room.Available, resource.BinarySI).String()
	if room.Limited {
		words += ", in volumes of " + resource.NewQuantity(room.Largest, resource.BinarySI).String() + " at most"
	}
	return words
}

// turnDelay is how long a node waits before it tries to take a claim: the base delay, doubled with each round in which it had no room or lost, up to the
// most, less a part of the base delay that chance decides (0 to 1). That is the established provisioner's rule, so that nodes with either take turns.
func turnDelay(node Node, round int, chance float64) time.Duration {
	delay := node.MaxDelay
	if round < 32 {
		if d := node.BaseDelay << round; d >= node.BaseDelay { // else the shift overflowed
			delay = min(delay, d)
		}
	}
	return max(0, delay-time.Duration(chance*float64(node.BaseDelay)))
}
