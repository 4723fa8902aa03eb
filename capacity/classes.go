package capacity

import (
	"slices"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/topology"
)

// class is what matters here of a StorageClass.
type class struct {
	parameters string             // that the driver gets to see, as a key
	allowed    []topology.Segment // as topology.Allowed makes them
	published  bool               // it wants objects
}

// classOf reads a class, and reports false if it is not of the driver. Only with WaitForFirstConsumer does the scheduler look at what is
// published, so objects for Immediate binding are for people and other tools (--capacity-for-immediate-binding). A class without binding mode is
// Immediate to the API server, which fills that in.
func (b *book) classOf(object *storagev1.StorageClass) (class, map[string]string, bool) {
	if object.Provisioner != b.driver {
		return class{}, nil, false
	}
	parameters := b.parameters(object.Parameters)
	immediate := object.VolumeBindingMode == nil || *object.VolumeBindingMode == storagev1.VolumeBindingImmediate
	return class{
		parameters: parametersKey(parameters),
		allowed:    topology.Allowed(object.AllowedTopologies),
		published:  object.DeletionTimestamp == nil && (!immediate || b.immediate),
	}, parameters, true
}

func (c *class) equal(other *class) bool {
	return c.parameters == other.parameters && c.published == other.published &&
		(c.allowed == nil) == (other.allowed == nil) && slices.Equal(c.allowed, other.allowed)
}
