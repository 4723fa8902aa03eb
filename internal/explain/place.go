package explain

import (
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/topology"
)

// indexSelected puts the selected node into the index, as far as it was seen.
func (d *diagnosis) indexSelected() {
	if d.node == "" {
		return
	}
	if d.Node.Sight == Seen {
		d.index.SetNode(d.node, d.Node.Value)
	}
	if keys, registered := registration(d.CSINode.Value, d.Driver); registered {
		d.index.SetRegistration(d.node, topology.NewKeySet(keys))
	} else if d.CSINode.Sight == Seen {
		d.index.DeleteRegistration(d.node)
	}
}

// registration is what a CSINode says of a driver.
func registration(node *storagev1.CSINode, driver string) (keys []string, registered bool) {
	if node == nil {
		return nil, false
	}
	for _, d := range node.Spec.Drivers {
		if d.Name == driver {
			return d.TopologyKeys, true
		}
	}
	return nil, false
}

// selectedNode says where the scheduler placed the first Pod, and whether the volume can be there.
func (d *diagnosis) selectedNode() []note {
	if !d.pending() || d.node == "" {
		return nil
	}
	about, chosen := aboutNode, fmt.Sprintf("The scheduler selected node %q", d.node)
	keys, registered := registration(d.CSINode.Value, d.Driver)
	switch {
	case d.Node.Sight == Hidden || d.CSINode.Sight == Hidden || d.Driver == "":
		return []note{info(about, chosen)}
	case d.distributed() && (d.Node.Sight == Absent || d.CSINode.Sight == Absent || !registered):
		return []note{problem(about, fmt.Sprintf("Node %q is selected, and driver %s is not there, so nobody can make the volume", d.node, d.Driver),
			fmt.Sprintf("Berth on another node takes the node off the claim within some minutes, and another one is selected. If Pods are placed on such nodes again and again, have capacity published (storageCapacity: true in CSIDriver %s), or keep them off by labels", d.Driver)).
			because(fmt.Sprintf("driver %s is not on the selected node %q", d.Driver, d.node))}
	case d.Node.Sight == Absent || d.CSINode.Sight == Absent:
		gone := "node"
		if d.Node.Sight != Absent {
			gone = "CSINode"
		}
		return []note{problem(about, fmt.Sprintf("%s, and %s %q does not exist any more", chosen, gone, d.node),
			"Berth gives the claim back to the scheduler by itself. If that does not happen within minutes, remove the annotation "+
				"volume.kubernetes.io/selected-node from the claim").
			because(fmt.Sprintf("the scheduler selected node %q for it, and that is gone", d.node))}
	case !registered:
		return []note{problem(about, fmt.Sprintf("%s, where driver %s is not registered at the moment", chosen, d.Driver),
			fmt.Sprintf("See that the node part of the driver runs on %q (its DaemonSet's Pod there); the claim then goes on by itself", d.node)).
			because(fmt.Sprintf("driver %s is not registered on the selected node %q", d.Driver, d.node))}
	case len(keys) == 0:
		return []note{info(about, fmt.Sprintf("%s, where the driver is registered without a topology", chosen))}
	}
	segment, err := d.index.NodeSegment(d.node)
	if err != nil {
		return []note{problem(about, upper(err.Error()),
			fmt.Sprintf("Restart the node part of the driver on %q, which has the label set again, or set it by hand", d.node)).because(err.Error())}
	}
	notes := []note{info(about, fmt.Sprintf("%s, which is in %s", chosen, segment))}
	// Whether --strict-topology is set cannot be seen. Where the class has terms it makes no difference to whether there is a place; where it has
	// none, the selected segment itself is one.
	_, err = topology.Require(topology.Need{
		ClaimName: d.Claim.Name, Selected: segment, Allowed: d.allowed(), Candidates: []topology.Segment{segment}, Immediate: true,
	})
	if err != nil {
		notes = append(notes, problem(about, "No place for the volume: "+err.Error(), placeMismatch).because("no place for the volume: "+err.Error()))
	}
	return notes
}

const placeMismatch = "Have the Pod run where the class allows volumes (its node selector, affinity, or the nodes' labels), or make the claim again with a class that allows more"

func (d *diagnosis) allowed() []topology.Segment {
	if d.Class.Sight != Seen {
		return nil
	}
	return topology.Allowed(d.Class.Value.AllowedTopologies)
}

// allows reports whether the class lets a volume be in a segment.
func allows(allowed []topology.Segment, segment topology.Segment) bool {
	return allowed == nil || slices.ContainsFunc(allowed, segment.Contains)
}

// hint says where the claim would rather have its volume: an annotation that the admission webhook or a person has written.
func (d *diagnosis) hint() []note {
	key := topology.HintKey(d.Driver)
	text, ok := d.Claim.Annotations[key]
	if !ok || !d.pending() || d.Driver == "" {
		return nil
	}
	segments, err := topology.ParseHint(text)
	switch {
	case err != nil:
		return []note{warning(aboutHint, fmt.Sprintf("Annotation %s is no topology hint: %v", key, err), "Correct the annotation, or take it off")}
	case d.delayed:
		return []note{info(aboutHint, fmt.Sprintf("Annotation %s has no effect: with WaitForFirstConsumer the scheduler chooses the place", key))}
	}
	return []note{info(aboutHint, "It would rather be in "+few(segmentNames(segments), 4))}
}

// places says where the driver is, for a claim that no node was selected for.
func (d *diagnosis) places() []note {
	if !d.pending() || d.node != "" || d.Nodes.Sight != Seen {
		return nil
	}
	var registered int
	for _, node := range d.Nodes.Value {
		if node.Registered {
			registered++
		}
	}
	of := fmt.Sprintf("%s of %s", count(registered, "node", "nodes"), fmt.Sprint(len(d.Nodes.Value)))
	if d.Nodes.Partial {
		of = fmt.Sprintf("%d of the first %d nodes", registered, len(d.Nodes.Value))
	}
	segments := d.index.RegisteredSegments()
	switch allowed := d.allowed(); {
	case registered == 0 && d.Nodes.Partial:
		return []note{warning(aboutPlaces, fmt.Sprintf("Driver %s is registered on %s", d.Driver, of), "")}
	case registered == 0:
		n := problem(aboutPlaces, fmt.Sprintf("Driver %s is registered on no node, so no Pod could use a volume of it", d.Driver),
			"See that the node part of the driver runs (its DaemonSet)").because(fmt.Sprintf("driver %s is registered on no node", d.Driver))
		if !d.delayed { // a driver without a topology may well create it
			n.Severity = Warning
		}
		return []note{n}
	case len(segments) == 0:
		return []note{info(aboutPlaces, fmt.Sprintf("Driver %s is registered on %s, without a topology", d.Driver, of))}
	case allowed != nil && !d.Nodes.Partial && !slices.ContainsFunc(segments, func(s topology.Segment) bool { return allows(allowed, s) }):
		return []note{problem(aboutPlaces, fmt.Sprintf("The driver's nodes are in %s, and the class allows none of these: only %s",
			few(segmentNames(segments), 4), few(segmentNames(allowed), 4)), placeMismatch).
			because("no node of its driver is in a place that its class allows (" + few(segmentNames(allowed), 2) + ")")}
	}
	return []note{info(aboutPlaces, fmt.Sprintf("Driver %s is registered on %s, in %s: %s", d.Driver, of,
		count(len(segments), "segment", "segments"), few(segmentNames(segments), 4)))}
}
