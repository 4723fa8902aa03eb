package state

import (
	"fmt"
	"maps"
	"slices"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

// Reason is why something is refused. The server gives each its gRPC code.
type Reason string

const (
	NotFound     Reason = "NotFound"     // the volume or the source does not exist
	Incompatible Reason = "Incompatible" // it exists, and is not what is asked for
	InUse        Reason = "InUse"        // it is published
	OutOfRange   Reason = "OutOfRange"   // a size the driver does not offer, however empty its pools
	Exhausted    Reason = "Exhausted"    // no room now
	Unsupported  Reason = "Unsupported"  // the volume was not made to be used like that
)

// Refusal is a decision not to do something; nil is none. It is a result, not an error: nothing went wrong.
type Refusal struct {
	Reason Reason
	Why    string
}

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Why: fmt.Sprintf(format, args...)}
}

// Range is a requested capacity; 0 leaves an end open.
type Range struct{ Required, Limit int64 }

// size is the capacity to create for a range: what is required, else the fallback as far as the limit lets it.
func (r Range) size(fallback int64) int64 {
	switch {
	case r.Required > 0:
		return r.Required
	case r.Limit > 0:
		return min(r.Limit, fallback)
	default:
		return fallback
	}
}

func (r Range) allows(bytes int64) bool {
	return bytes >= r.Required && (r.Limit == 0 || bytes <= r.Limit)
}

// NewVolume is what a creation asks for.
type NewVolume struct {
	Name              string
	Range             Range
	Capabilities      []Capability
	Parameters        map[string]string
	MutableParameters map[string]string
	Source            Source
	// Requisite and Preferred are the accessibility requirements, as the CSI specification defines them.
	Requisite, Preferred []map[string]string
	// OnlyFirst leaves all but the first preferred segment alone.
	OnlyFirst bool
}

// defaultBytes is the size of a volume whose creator does not care.
const defaultBytes = 1 << 30

// createFacts is all that decides a creation.
type createFacts struct {
	want        NewVolume
	existing    *Volume // of this name, or nil
	sourceFound bool    // meaningless if want has no source
	sourceBytes int64
	pools       *pool.Table // only read
}

// decideCreate answers with the existing volume, a refusal, or a place and size for a new one.
func decideCreate(f createFacts) (existing *Volume, place pool.Chosen, bytes int64, no *Refusal) {
	w := f.want
	if f.existing != nil {
		// The source is not looked for: it may be gone since, and the volume is still the one that was asked for.
		if why := incompatible(f.existing, w); why != "" {
			return nil, place, 0, refuse(Incompatible, "volume %q exists with %s", w.Name, why)
		}
		return f.existing, place, 0, nil
	}
	fallback := int64(defaultBytes)
	if w.Source != (Source{}) {
		if !f.sourceFound {
			return nil, place, 0, refuse(NotFound, "%s does not exist", w.Source)
		}
		fallback = f.sourceBytes
	}
	bytes = w.Range.size(fallback)
	if w.Source != (Source{}) && bytes < f.sourceBytes {
		return nil, place, 0, refuse(OutOfRange, "%d bytes are less than the %d of %s", bytes, f.sourceBytes, w.Source)
	}
	switch c := f.pools.Choose(pool.Want{Bytes: bytes, Requisite: w.Requisite, Preferred: w.Preferred, OnlyFirst: w.OnlyFirst}).(type) {
	case pool.Chosen:
		return nil, c, bytes, nil
	case pool.TooLarge:
		return nil, place, 0, refuse(OutOfRange, "%d bytes are more than the maximum volume size of %d", bytes, c.MaxVolumeSize)
	case pool.Full:
		if !c.Acceptable {
			return nil, place, 0, refuse(Exhausted, "there is no pool in the requisite topology")
		}
		return nil, place, 0, refuse(Exhausted, "no pool of the requisite topology has room for %d bytes, the largest possible volume is %d", bytes, c.Largest)
	}
	panic("unreachable: pool.Choice is a closed set")
}

// incompatible says in what an existing volume differs from the one asked for under the same name ("" for nothing).
// These are the points the CSI specification lists under ALREADY_EXISTS of CreateVolume, and the mutable parameters it
// was created with. What was changed on purpose since then (by expansion, by modification) is no difference.
func incompatible(v *Volume, w NewVolume) string {
	switch {
	case !w.Range.allows(v.Bytes):
		return fmt.Sprintf("another capacity: %d bytes", v.Bytes)
	case !supportsAll(v, w.Capabilities):
		return "other volume capabilities"
	case !maps.Equal(v.Parameters, w.Parameters):
		return "other parameters"
	case !maps.Equal(v.CreatedWith, w.MutableParameters):
		return "other mutable parameters"
	case v.Source != w.Source:
		return fmt.Sprintf("another content source: %s", v.Source)
	case len(w.Requisite) > 0 && !slices.ContainsFunc(w.Requisite, func(term map[string]string) bool { return pool.Matches(v.Segments, term) }):
		return fmt.Sprintf("another accessible topology: %s", v.pool())
	default:
		return ""
	}
}

func supportsAll(v *Volume, wanted []Capability) bool {
	for _, c := range wanted {
		if !v.Supports(c) {
			return false
		}
	}
	return true
}

// String names a source in messages.
func (s Source) String() string {
	switch {
	case s.VolumeID != "":
		return fmt.Sprintf("source volume %q", s.VolumeID)
	case s.SnapshotID != "":
		return fmt.Sprintf("source snapshot %q", s.SnapshotID)
	default:
		return "no source"
	}
}

// decideExpand answers with the new size of a volume, which is the old one if that is enough already.
// known is false for a volume whose pool is no longer configured.
func decideExpand(v *Volume, r Range, p pool.Status, known bool) (int64, *Refusal) {
	if r.allows(v.Bytes) {
		return v.Bytes, nil
	}
	if r.Limit > 0 && v.Bytes > r.Limit {
		return 0, refuse(OutOfRange, "volume %q has %d bytes, more than the limit of %d, and does not shrink", v.ID, v.Bytes, r.Limit)
	}
	if known && p.MaxVolumeSize > 0 && r.Required > p.MaxVolumeSize {
		return 0, refuse(OutOfRange, "%d bytes are more than the maximum volume size of %d", r.Required, p.MaxVolumeSize)
	}
	if !known || r.Required-v.Bytes > p.Free() {
		return 0, refuse(Exhausted, "pool %s has no room for %d more bytes", v.pool(), r.Required-v.Bytes)
	}
	return r.Required, nil
}

// decidePublish answers whether a volume can be published to a node; already says that it is, in this very way.
func decidePublish(v *Volume, node string, want Publication, nodeHas, nodeMax int64) (already bool, no *Refusal) {
	if !v.Supports(want.Capability) {
		return false, refuse(Unsupported, "volume %q was not created with this volume capability", v.ID)
	}
	if got, ok := v.Published[node]; ok {
		if got != want {
			return false, refuse(Incompatible, "volume %q is published to node %q in another way", v.ID, node)
		}
		return true, nil
	}
	if len(v.Published) > 0 {
		if !multiNode(want.Capability) {
			return false, refuse(InUse, "volume %q is published to node %q", v.ID, v.Nodes()[0])
		}
		for other, p := range v.Published {
			if !multiNode(p.Capability) {
				return false, refuse(InUse, "volume %q is published to node %q for a single node", v.ID, other)
			}
		}
	}
	if nodeMax > 0 && nodeHas >= nodeMax {
		return false, refuse(Exhausted, "node %q has its maximum of %d volumes", node, nodeMax)
	}
	return false, nil
}

// decideTarget is decidePublish for paths on this node: the table under NodePublishVolume in the CSI specification.
func decideTarget(v *Volume, path string, want Publication) (already bool, no *Refusal) {
	if !v.Supports(want.Capability) {
		return false, refuse(Unsupported, "volume %q was not created with this volume capability", v.ID)
	}
	if got, ok := v.Targets[path]; ok {
		if got != want {
			return false, refuse(Incompatible, "volume %q is published at %s in another way", v.ID, path)
		}
		return true, nil
	}
	if len(v.Targets) > 0 && !want.Capability.Shared() {
		return false, refuse(InUse, "volume %q is published at another path and %s allows one", v.ID, want.Capability.Mode)
	}
	return false, nil
}

// Shared says whether a volume may be published at several paths of a node.
func (c Capability) Shared() bool { return multiNode(c) || c.Mode == "SINGLE_NODE_MULTI_WRITER" }

func multiNode(c Capability) bool {
	return c.Mode == "MULTI_NODE_READER_ONLY" || c.Mode == "MULTI_NODE_SINGLE_WRITER" || c.Mode == "MULTI_NODE_MULTI_WRITER"
}
