package provisioner

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/topology"
)

// Node is the node that a process provisions for in distributed mode (--node-deployment), beside the driver's instance there: one of many that know
// nothing of each other but what they read in claims and volumes. The zero Node: there is one process for the whole cluster.
type Node struct {
	Name    string           // as Kubernetes calls it
	Segment topology.Segment // the only one that the driver's instance makes volumes in

	Immediate bool          // --node-deployment-immediate-binding: claims that nobody selects a node for are taken, too
	BaseDelay time.Duration // --node-deployment-base-delay
	MaxDelay  time.Duration // --node-deployment-max-delay
}

// IsZero reports whether there is one process for the whole cluster.
func (n Node) IsZero() bool { return n.Name == "" }

// Identity is the AttributeIdentity of the volumes of a node, from that of its driver: in the established provisioner's form, which tells the node.
func (n Node) Identity(driver string) string {
	if n.IsZero() {
		return driver
	}
	return driver + "-" + n.Name
}

// whereabouts is where a volume is, as its object tells. It is a closed set.
type whereabouts int

const (
	here      whereabouts = iota // it is ours to look after
	elsewhere                    // another node's instance looks after it
	nowhere                      // the object does not tell: nobody can be sure to be the one
)

// whereIs says whose a volume is. Where one process serves the cluster all are its own.
//
// A volume without node affinity is accessible from everywhere, says its object. A driver that makes volumes on nodes and leaves that out, or an
// administrator who wrote the object by hand, may not mean that; and a driver's instance that is asked to delete a volume that it does not know answers
// that it is deleted (CSI spec, DeleteVolume), which would lose the one on the other node. So what counts then is who made it.
func (s Settings) whereIs(pv *corev1.PersistentVolume) whereabouts {
	switch {
	case s.Node.IsZero():
		return here
	case pv.Spec.NodeAffinity != nil && pv.Spec.NodeAffinity.Required != nil:
		if volumehelpers.CheckNodeAffinity(pv, s.Node.Segment.Map()) != nil {
			return elsewhere
		}
		return here
	case pv.Spec.CSI == nil || pv.Spec.CSI.VolumeAttributes[AttributeIdentity] == "":
		return nowhere
	case madeBy(pv.Spec.CSI.VolumeAttributes[AttributeIdentity]) == s.Node.Identity(s.Driver.Name):
		return here
	}
	return elsewhere
}

// Elsewhere reports whether another node's instance looks after a volume of the driver, as its object tells.
func (s Settings) Elsewhere(pv *corev1.PersistentVolume) bool { return s.whereIs(pv) == elsewhere }

// madeBy takes the part that does not change from one start to the next out of an identity: it begins with a time and a random number.
func madeBy(identity string) string {
	_, rest, _ := strings.Cut(identity, "-")
	_, rest, _ = strings.Cut(rest, "-")
	return rest
}
