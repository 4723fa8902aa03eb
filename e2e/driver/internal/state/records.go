// Package state holds what the driver must not forget: volumes, snapshots, where they are published, and the pools
// they fill. It decides (compatible with an existing volume or not, which pool) and records; it knows no gRPC.
//
// A Store is safe for concurrent use. What it has acknowledged survives the death of the process: every change is
// handed to the kernel with write() before the method returns. It is not synced to the disk, so a crash of the machine
// may lose the last changes; what is tested here are processes that die.
//
// Records are immutable: a change replaces the record, so whatever a method returned stays valid to read.
package state

import (
	"maps"
	"slices"
	"time"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

// Capability is how a volume may be used: a CSI volume capability without its mount flags, as a comparable value.
type Capability struct {
	Mode   string `json:"mode"`             // access mode by its CSI name
	Block  bool   `json:"block,omitempty"`  // raw block instead of a mounted file system
	FSType string `json:"fsType,omitempty"` // "" leaves it to the driver
}

// Source is what a volume is made from. The zero value is nothing.
type Source struct {
	VolumeID   string `json:"volumeId,omitempty"`
	SnapshotID string `json:"snapshotId,omitempty"`
}

// Publication is how a volume is published to a node, or to a path on this node.
type Publication struct {
	Capability Capability `json:"capability"`
	Readonly   bool       `json:"readonly,omitempty"`
}

// Volume is a volume as recorded.
type Volume struct {
	Seq               int64                  `json:"seq"` // order of creation, for listing page by page
	ID                string                 `json:"id"`
	Name              string                 `json:"name"`
	Bytes             int64                  `json:"bytes"`
	Segments          map[string]string      `json:"segments,omitempty"`
	Capabilities      []Capability           `json:"capabilities"`
	Parameters        map[string]string      `json:"parameters,omitempty"`
	CreatedWith       map[string]string      `json:"createdWith,omitempty"` // mutable parameters of the creation
	MutableParameters map[string]string      `json:"mutableParameters,omitempty"`
	Source            Source                 `json:"source"`
	Created           time.Time              `json:"created"`
	Published         map[string]Publication `json:"published,omitempty"` // by node id
	Targets           map[string]Publication `json:"targets,omitempty"`   // by target path on this node
}

// Nodes lists where the volume is published, sorted.
func (v *Volume) Nodes() []string { return slices.Sorted(maps.Keys(v.Published)) }

// Supports says whether the volume was created to be used like that.
func (v *Volume) Supports(c Capability) bool { return slices.Contains(v.Capabilities, c) }

// Block says whether the volume is there to be used as a device, perhaps among others.
func (v *Volume) Block() bool {
	return slices.ContainsFunc(v.Capabilities, func(c Capability) bool { return c.Block })
}

func (v *Volume) pool() pool.Key { return pool.KeyOf(v.Segments) }

// Snapshot is a snapshot as recorded. It is independent of its source, which may be gone.
type Snapshot struct {
	Seq            int64             `json:"seq"`
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	SourceVolumeID string            `json:"sourceVolumeId"`
	Bytes          int64             `json:"bytes"`
	Parameters     map[string]string `json:"parameters,omitempty"`
	Created        time.Time         `json:"created"`
}

// record is one line of the log. Exactly one field is set.
type record struct {
	Volume         *Volume   `json:"volume,omitempty"`
	Snapshot       *Snapshot `json:"snapshot,omitempty"`
	DeleteVolume   string    `json:"deleteVolume,omitempty"`
	DeleteSnapshot string    `json:"deleteSnapshot,omitempty"`
}
