// Package node stages and publishes volumes on this node: it decides from what the kernel says is mounted, and mounts. A volume is a directory, which
// is bind mounted, or a file, which becomes a loop device whose device file is bind mounted over the target.
//
// There is no record of what is published, so none can be wrong: not after a kill, nor after a start of the machine. The one thing written is that
// this node uses a volume, for the controller to see. Calls for different volumes may run concurrently; those for one must not overlap.
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-csi/berth/e2e/driver/internal/data"
	"github.com/berth-csi/berth/e2e/driver/internal/mounts"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// Node mounts the volumes that are in a directory. All fields are needed.
type Node struct {
	ID     string // of this node
	Data   data.Dir
	Stages bool // volumes are staged before they are published
}

// found is what there is of a volume on this node.
type found struct {
	facts
	source string // its directory or file
	loops  []mounts.Loop
}

// find gathers the facts for a call about a path. The staging path is given where a call knows it: what is mounted there is no publication.
func (n *Node) find(id, path, staging string) (found, error) {
	f := found{facts: facts{id: id, path: resolve(path), staged: !n.Stages}}
	staging = resolve(staging)
	var err error
	if f.source, f.kind, err = n.Data.Volume(id); err != nil {
		return found{}, err
	}
	all, err := mounts.All()
	if err != nil {
		return found{}, err
	}
	if f.kind == data.SparseFiles {
		if f.loops, err = mounts.Loops(f.source); err != nil {
			return found{}, err
		}
		f.staged = f.staged || len(f.loops) > 0
	}
	for _, m := range all {
		ours, locked := f.is(m)
		switch m.Path {
		case f.path: // of several the last one is on top
			f.at, f.ours, f.locked = &m, ours, locked
		case staging:
		default:
			if ours {
				f.others = append(f.others, m.Path)
			}
		}
		if ours && m.Path == staging && staging != "" {
			f.staged = true
		}
	}
	return f, nil
}

// is says whether a mount is of the volume, and whether nothing can be written through it. The end of a directory's path is enough, because no two volumes of this world have one id; a device has its
// name in whatever /dev it comes from.
func (f *found) is(m mounts.Mount) (ours, locked bool) {
	switch f.kind {
	case data.Directories:
		return strings.HasSuffix(m.Root, "/volumes/"+f.id), m.Readonly()
	case data.SparseFiles:
		for _, loop := range f.loops {
			if m.Root == "/"+filepath.Base(loop.Device) {
				return true, loop.Readonly
			}
		}
	case data.Nothing:
	}
	return false, false
}

// resolve is a path as the kernel lists it: without symbolic links on the way.
func resolve(path string) string {
	if path == "" {
		return ""
	}
	if directory, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(directory, filepath.Base(path))
	}
	return filepath.Clean(path)
}

// Stage makes a volume ready on this node: mounted at the staging path, or attached to a device.
func (n *Node) Stage(id, path string, want Publication) (*state.Refusal, error) {
	f, err := n.find(id, path, path)
	if err != nil {
		return nil, err
	}
	already, no := decideStage(f.facts, want)
	if already || no != nil {
		return no, nil
	}
	if err := n.Data.Use(id, n.ID); err != nil {
		return nil, err
	}
	if want.Block {
		_, err := mounts.AttachLoop(f.source, want.Readonly)
		return nil, err
	}
	return nil, mounts.Bind(f.source, path, want.options())
}

// Publish mounts a volume at a target path, whose parent exists.
func (n *Node) Publish(id, staging, path string, want Publication) (*state.Refusal, error) {
	f, err := n.find(id, path, staging)
	if err != nil {
		return nil, err
	}
	already, no := decidePublish(f.facts, want)
	if already || no != nil {
		return no, nil
	}
	if err := n.Data.Use(id, n.ID); err != nil {
		return nil, err
	}
	if err := MakeTarget(path, want.Block); err != nil {
		return nil, err
	}
	if want.Block {
		loop, err := f.loop(want.readonly())
		if err != nil {
			return nil, err
		}
		return nil, mounts.Bind(loop.Device, path, want.Options)
	}
	source := f.source
	if n.Stages {
		source = staging
	}
	return nil, mounts.Bind(source, path, want.options())
}

// loop is a device to publish. A mount that is read-only does not keep anybody from writing to the device behind it, so the device has to be read-only.
func (f *found) loop(readonly bool) (mounts.Loop, error) {
	for _, loop := range f.loops {
		if loop.Readonly == readonly {
			return loop, nil
		}
	}
	return mounts.AttachLoop(f.source, readonly)
}

// Unpublish removes a target path and what is mounted there. It is done, too, if nothing is there, or no such volume.
func (n *Node) Unpublish(id, path string) (*state.Refusal, error) {
	f, err := n.find(id, path, "")
	if err != nil {
		return nil, err
	}
	if no := decideUnmount(f.facts); no != nil {
		return no, nil
	}
	if err := mounts.Unmount(path); err != nil {
		return nil, err
	}
	// Never more than was made: a directory that is not empty is no longer ours, and stays, with an error.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if n.Stages || len(f.others) > 0 {
		return nil, nil
	}
	return nil, n.release(f)
}

// Unstage takes back what Stage did.
func (n *Node) Unstage(id, path string) (*state.Refusal, error) {
	f, err := n.find(id, path, path)
	if err != nil {
		return nil, err
	}
	if no := decideUnstage(f.facts); no != nil {
		return no, nil
	}
	if err := mounts.Unmount(path); err != nil {
		return nil, err
	}
	return nil, n.release(f)
}

// release frees a volume that is mounted nowhere any more.
func (n *Node) release(f found) error {
	for _, loop := range f.loops {
		if err := mounts.DetachLoop(loop); err != nil {
			return err
		}
	}
	if f.kind == data.Nothing {
		return nil
	}
	return n.Data.Unuse(f.id, n.ID)
}

// Usage is how full a volume is. Inodes are for file systems.
type Usage struct {
	Block                  bool
	Total, Used, Available int64
	Inodes, InodesUsed     int64
	InodesAvailable        int64
}

// Stats measures what is mounted at a path. A directory has the numbers of the file system that it is in, for nothing limits it.
func (n *Node) Stats(id, path string) (Usage, *state.Refusal, error) {
	f, err := n.find(id, path, path)
	if err != nil {
		return Usage{}, nil, err
	}
	if f.kind == data.Nothing {
		return Usage{}, f.missing(), nil
	}
	if !f.ours {
		return Usage{}, refuse(state.NotFound, "volume %q is not mounted at %s", id, path), nil
	}
	if f.kind == data.SparseFiles {
		total, err := mounts.DeviceSize(path)
		return Usage{Block: true, Total: total}, nil, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return Usage{}, nil, fmt.Errorf("statistics of %s: %w", path, err)
	}
	block := fs.Bsize
	return Usage{
		Total: int64(fs.Blocks) * block, Available: int64(fs.Bavail) * block, Used: int64(fs.Blocks-fs.Bfree) * block,
		Inodes: int64(fs.Files), InodesAvailable: int64(fs.Ffree), InodesUsed: int64(fs.Files - fs.Ffree),
	}, nil, nil
}

// Expand makes devices as large as their file; a directory needs nothing. It returns the size of a device.
func (n *Node) Expand(id, path string) (int64, *state.Refusal, error) {
	f, err := n.find(id, path, path)
	if err != nil {
		return 0, nil, err
	}
	switch f.kind {
	case data.Nothing:
		return 0, f.missing(), nil
	case data.Directories:
		if !f.ours {
			return 0, refuse(state.NotFound, "volume %q is not mounted at %s", id, path), nil
		}
		return 0, nil, nil
	case data.SparseFiles:
	}
	if len(f.loops) == 0 {
		return 0, refuse(state.NotFound, "volume %q is neither staged nor published", id), nil
	}
	for _, loop := range f.loops {
		if err := mounts.GrowLoop(loop); err != nil {
			return 0, nil, err
		}
	}
	size, err := mounts.DeviceSize(f.loops[0].Device)
	return size, nil, err
}

// MakeTarget makes a target path whose parent exists: an empty directory, or an empty file for a block volume. One that is there already is left as it is.
func MakeTarget(path string, block bool) error {
	if !block {
		if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	return file.Close()
}
