package explain

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// In distributed mode (--node-deployment) each node has a Berth of its own, and there is no Lease. That is seen from the nodes' journals; or, without
// those, from capacity that nodes have published.

// labelManagedBy is on a driver's CSIStorageCapacity objects; in distributed mode its value ends with the node's name.
const (
	labelManagedBy = "csi.storage.k8s.io/managed-by"
	managedByNode  = "external-provisioner-"
)

// distributed reports whether each node has a Berth of its own.
func (d *diagnosis) distributed() bool {
	return len(d.Journal.Value.Nodes) > 0 || slices.ContainsFunc(d.Rooms.Value, func(object storagev1.CSIStorageCapacity) bool {
		return strings.HasPrefix(object.Labels[labelManagedBy], managedByNode)
	})
}

// eachNode says who provisions in distributed mode.
func (d *diagnosis) eachNode() []note {
	nodes := d.Journal.Value.Nodes
	text := fmt.Sprintf("The provisioner of driver %s runs on each node (--node-deployment)", d.Driver)
	if len(nodes) > 0 {
		text = fmt.Sprintf("Berth for driver %s runs on each node (--node-deployment): %s a journal", d.Driver, count(len(nodes), "node has", "nodes have"))
		if len(nodes) <= shownRooms {
			text += ", " + strings.Join(nodes, ", ")
		}
	}
	notes := []note{info(aboutBerth, text)}
	switch {
	case !d.pending() || d.Class.Sight != Seen:
	case d.node == "" && !d.delayed:
		notes = append(notes, d.untaken())
	case d.node != "" && len(nodes) > 0 && !slices.Contains(nodes, d.node) && !d.Journal.Partial:
		notes = append(notes, warning(aboutBerth, fmt.Sprintf("Node %q has no journal, so Berth has never run there, or without one", d.node),
			fmt.Sprintf("See that the DaemonSet of driver %s has a Pod on %q: only that one can make the volume there", d.Driver, d.node)).
			because(fmt.Sprintf("Berth has never run on the selected node %q", d.node)))
	}
	return notes
}

// untaken is about a claim with Immediate binding that waits for a node to take it. What the nodes found is in their logs and metrics alone: thousands of
// them would otherwise say it on the claim.
func (d *diagnosis) untaken() note {
	text := "No node has taken it yet: nodes try one after the other, each after a random time (20s at first, then up to a minute, unless flags say otherwise), and take it if they have room"
	if d.young() {
		return waiting(aboutBerth, text, "").because("no node has taken it yet, which may take a minute")
	}
	n := problem(aboutBerth, fmt.Sprintf("No node has taken it in %s: those that its class allows have no room for it, or Berth does not run there, or is told not to take claims (--node-deployment-immediate-binding=false)",
		span(d.Now.Sub(d.Claim.CreationTimestamp.Time))),
		"Look at the room that is published below capacity, or with -v=2 for \"Claim not taken\" in the logs of the driver's DaemonSet. A node takes the claim by itself as soon as it has room").
		because("no node has taken it: none has room, or Berth does not run there")
	if want := d.Claim.Spec.Resources.Requests[corev1.ResourceStorage]; len(d.Rooms.Value) > 0 && !d.Rooms.Partial &&
		!slices.ContainsFunc(d.rooms(), func(r room) bool { return r.fits && r.allowed }) {
		n = n.because(fmt.Sprintf("no node has room for %s%s", size(want), d.best(d.rooms())))
	}
	return n
}
