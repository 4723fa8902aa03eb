package capacity

import (
	"fmt"
	"hash/fnv"
)

// maxLabel is the longest value of a label.
const maxLabel = 63

// NodeManager is the value of LabelManagedBy on the objects of one node, in distributed mode: ManagedBy and the node's name. If that is too long it is
// shortened by the established provisioner's rule, so that whoever replaces the other on a node finds its objects.
func NodeManager(node string) string {
	whole := ManagedBy + "-" + node
	if len(whole) <= maxLabel {
		return whole
	}
	const hashed = 2 + 8 // a hash between two dashes
	if left := maxLabel - hashed - len(node); left > 0 {
		return fmt.Sprintf("%s-%s-%s", ManagedBy[:left], shortHash(ManagedBy), node)
	}
	return ManagedBy + "-" + shortHash(whole)
}

func shortHash(text string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text)) // never fails
	return fmt.Sprintf("%08x", h.Sum32())
}
