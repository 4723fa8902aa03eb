package capacity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/topology"
)

// Key names what is published: the room for one class in one segment. An object that says nothing of one segment has a key of its own, so
// that it is found and deleted.
type Key struct {
	Class   string
	Segment topology.Segment
	Stray   string // the name of an object that has no other key
}

// String is the key in log lines.
func (k Key) String() string {
	if k.Stray != "" {
		return "object " + k.Stray
	}
	return fmt.Sprintf("class %s, %s", k.Class, place(k.Segment))
}

// Pool names one question to the driver. Classes whose parameters are the same to the driver get the same answer.
type Pool struct {
	Parameters string // as JSON, which has the keys in order
	Segment    topology.Segment
}

// String is the pool in log lines.
func (p Pool) String() string {
	return fmt.Sprintf("parameters %s, %s", p.Parameters, place(p.Segment))
}

func place(segment topology.Segment) string {
	if segment.IsZero() {
		return "everywhere"
	}
	return "segment " + segment.String()
}

// parametersKey is a map of strings as a comparable value.
func parametersKey(parameters map[string]string) string {
	if len(parameters) == 0 {
		return "{}"
	}
	encoded, err := json.Marshal(parameters)
	if err != nil {
		return fmt.Sprint(parameters) // sorted, too; a map of strings has no such error
	}
	return string(encoded)
}

// keyOf says what an object is about.
func keyOf(object *storagev1.CSIStorageCapacity) Key {
	where := object.NodeTopology
	if where == nil || len(where.MatchExpressions) > 0 {
		return Key{Stray: object.Name}
	}
	return Key{Class: object.StorageClassName, Segment: topology.NewSegment(where.MatchLabels)}
}

// name is what a new object of a key is called. It is always the same, so that a creation whose answer was lost can be repeated.
func (k Key) name(driver, manager string) string {
	h := sha256.New()
	parts := []string{driver, k.Class}
	if manager != ManagedBy { // two nodes may be in one segment
		parts = append(parts, manager)
	}
	for _, part := range parts {
		_, _ = fmt.Fprintf(h, "%d/%s/", len(part), part) // never fails
	}
	for key, value := range k.Segment.All() {
		_, _ = fmt.Fprintf(h, "%d/%s/%d/%s/", len(key), key, len(value), value)
	}
	return namePrefix + hex.EncodeToString(h.Sum(nil)[:10])
}

// namePrefix begins the names of all objects, also of those that the established provisioner makes.
const namePrefix = "csisc-"
