package node

import (
	"fmt"
	"slices"

	"github.com/berth-csi/berth/e2e/driver/internal/data"
	"github.com/berth-csi/berth/e2e/driver/internal/mounts"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// Publication is how a volume is to be staged or published.
type Publication struct {
	Block    bool
	Readonly bool
	Single   bool     // at no other path of the node
	Options  []string // of the mount
}

// facts are what a call finds.
type facts struct {
	id     string
	kind   data.Kind // Nothing: there is no such volume
	path   string    // the path that the call is about
	at     *mounts.Mount
	ours   bool     // it is this volume that is mounted there
	locked bool     // and nothing can be written there
	staged bool     // the volume is, or needs not be
	others []string // target paths where the volume is published as well
}

// decideStage answers whether to stage a volume; already says that it is, in this very way.
func decideStage(f facts, want Publication) (already bool, no *state.Refusal) {
	if no := f.usable(want); no != nil {
		return false, no
	}
	if want.Block { // nothing is mounted at the staging path, the device is made ready
		return f.staged, nil
	}
	return f.mounted(want)
}

// decidePublish answers whether to publish a volume; already says that it is, in this very way. These are the rules under NodePublishVolume in the
// CSI specification, for a target path and for the volume's other ones.
func decidePublish(f facts, want Publication) (already bool, no *state.Refusal) {
	if no := f.usable(want); no != nil {
		return false, no
	}
	if already, no := f.mounted(want); already || no != nil {
		return already, no
	}
	if !f.staged {
		return false, refuse(state.InUse, "volume %q has not been staged", f.id)
	}
	if want.Single && len(f.others) > 0 {
		return false, refuse(state.InUse, "volume %q is published at %s and its access mode allows one path", f.id, f.others[0])
	}
	return false, nil
}

// decideUnmount answers whether the path may be cleared. Nothing there is fine, and so is what is left of a volume that is gone.
func decideUnmount(f facts) *state.Refusal {
	if f.kind != data.Nothing && f.at != nil && !f.ours {
		return f.foreign()
	}
	return nil
}

// decideUnstage adds that a volume is unpublished first: its device would be gone from under whoever has it.
func decideUnstage(f facts) *state.Refusal {
	if len(f.others) > 0 {
		return refuse(state.InUse, "volume %q is published at %s", f.id, f.others[0])
	}
	return decideUnmount(f)
}

// usable refuses a volume that does not exist, or is not what it shall be used as.
func (f facts) usable(want Publication) *state.Refusal {
	switch {
	case f.kind == data.Nothing:
		return f.missing()
	case want.Block && f.kind == data.Directories:
		return refuse(state.Unsupported, "volume %q is a file system and no block device", f.id)
	case !want.Block && f.kind == data.SparseFiles:
		return refuse(state.Unsupported, "volume %q is a block device and no file system", f.id)
	default:
		return nil
	}
}

// mounted answers for a path where something is mounted already.
func (f facts) mounted(want Publication) (already bool, no *state.Refusal) {
	switch {
	case f.at == nil:
		return false, nil
	case !f.ours:
		return false, f.foreign()
	case f.locked != want.readonly(), !want.Block && !f.at.Has(want.Options):
		return false, refuse(state.Incompatible, "volume %q is mounted at %s in another way", f.id, f.path)
	default:
		return true, nil
	}
}

func (f facts) missing() *state.Refusal {
	return refuse(state.NotFound, "volume %q does not exist", f.id)
}

func (f facts) foreign() *state.Refusal {
	return refuse(state.InUse, "something that is not volume %q is mounted at %s: %s", f.id, f.path, f.at.Root)
}

// readonly: by the request, or by a mount option.
func (p Publication) readonly() bool { return p.Readonly || slices.Contains(p.Options, "ro") }

// options are those of the mount.
func (p Publication) options() []string {
	if p.Readonly {
		return append(slices.Clone(p.Options), "ro")
	}
	return p.Options
}

func refuse(reason state.Reason, format string, args ...any) *state.Refusal {
	return &state.Refusal{Reason: reason, Why: fmt.Sprintf(format, args...)}
}
