// Package data makes, copies and removes what stands behind volumes and snapshots: a directory, a sparse file, or
// nothing. It knows ids and sizes only. What an id names is decided elsewhere, and Sweep removes what nobody knows of.
package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Kind is how new volumes are made, or what one is.
type Kind int

const (
	Nothing Kind = iota
	Directories
	SparseFiles
)

// Dir is the directory with all data of a driver. Calls for different ids may run concurrently, also from several processes: a controller makes
// volumes, and the node plugins that see the same directory mount them and leave word that they do.
type Dir struct {
	root string
	kind Kind
}

// Open prepares a directory.
func Open(root string, kind Kind) (Dir, error) {
	d := Dir{root: root, kind: kind}
	for _, sub := range []string{d.volumes(), d.snapshots(), d.uses()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return Dir{}, fmt.Errorf("create data directory: %w", err)
		}
	}
	return d, nil
}

func (d Dir) volumes() string           { return filepath.Join(d.root, "volumes") }
func (d Dir) snapshots() string         { return filepath.Join(d.root, "snapshots") }
func (d Dir) uses() string              { return filepath.Join(d.root, "uses") }
func (d Dir) volume(id string) string   { return filepath.Join(d.volumes(), id) }
func (d Dir) snapshot(id string) string { return filepath.Join(d.snapshots(), id) }

// Origin names what a volume is copied from; the zero value is nothing.
type Origin struct{ VolumeID, SnapshotID string }

// New is what is asked for. A block volume is a file, also where others are directories.
type New struct {
	ID    string
	Bytes int64
	Block bool
	From  Origin
}

// Create makes the data of a volume. If it fails, what it made so far is removed. A copy is of the kind that its origin is.
func (d Dir) Create(ctx context.Context, want New) (err error) {
	id, bytes, from := want.ID, want.Bytes, want.From
	path := d.volume(id)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make data of volume %s: %w", id, err), os.RemoveAll(path))
		}
	}()
	switch {
	case from.VolumeID != "":
		err = copyAll(ctx, d.volume(from.VolumeID), path)
	case from.SnapshotID != "":
		err = copyAll(ctx, d.snapshot(from.SnapshotID), path)
	case d.kind == Directories && !want.Block:
		if err = os.Mkdir(path, 0o755); err == nil {
			err = os.Chmod(path, 0o755) // as a new file system's, whatever the process's umask
		}
		return err
	case d.kind == SparseFiles, d.kind == Directories:
		return makeSparse(path, sectors(bytes))
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return d.Grow(id, bytes)
}

// Grow makes a sparse file as large as its volume. There is nothing to do for other kinds, and never anything to shrink.
func (d Dir) Grow(id string, bytes int64) error {
	info, err := os.Stat(d.volume(id))
	if errors.Is(err, fs.ErrNotExist) || (err == nil && (info.IsDir() || info.Size() >= sectors(bytes))) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Truncate(d.volume(id), sectors(bytes))
}

// sectors rounds up to what a block device is counted in, so that none is smaller than its volume.
func sectors(bytes int64) int64 {
	const sector = 4096
	return (bytes + sector - 1) / sector * sector
}

// Remove removes the data of a volume, if there is any.
func (d Dir) Remove(id string) error { return os.RemoveAll(d.volume(id)) }

// isName says whether an id can be the name of a file, and of one in our directory only.
func isName(id string) bool {
	return id != "" && id != "." && id != ".." && !strings.ContainsAny(id, "/\x00")
}

// Volume is where the data of a volume is, and of what kind; Nothing if there is none. The id may be anything: it comes from a caller.
func (d Dir) Volume(id string) (string, Kind, error) {
	if !isName(id) {
		return "", Nothing, nil
	}
	info, err := os.Lstat(d.volume(id))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENAMETOOLONG):
		return "", Nothing, nil
	case err != nil:
		return "", Nothing, err
	case info.IsDir():
		return d.volume(id), Directories, nil
	default:
		return d.volume(id), SparseFiles, nil
	}
}

// Snapshot copies a volume's data for a snapshot. If it fails, what it copied so far is removed.
func (d Dir) Snapshot(ctx context.Context, id, volumeID string) error {
	if err := copyAll(ctx, d.volume(volumeID), d.snapshot(id)); err != nil {
		return errors.Join(fmt.Errorf("copy data for snapshot %s: %w", id, err), d.RemoveSnapshot(id))
	}
	return nil
}

// RemoveSnapshot removes the data of a snapshot, if there is any.
func (d Dir) RemoveSnapshot(id string) error { return os.RemoveAll(d.snapshot(id)) }

// Sweep removes the data of volumes and snapshots that are not known: a process died between making data and recording
// the volume, or between recording a deletion and removing data. Call it before anything is created.
func (d Dir) Sweep(volume, snapshot func(id string) bool) error {
	for dir, known := range map[string]func(string) bool{d.volumes(): volume, d.snapshots(): snapshot} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("sweep data directory: %w", err)
		}
		for _, entry := range entries {
			if known(entry.Name()) {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				return fmt.Errorf("sweep data directory: %w", err)
			}
		}
	}
	return nil
}

func makeSparse(path string, bytes int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Truncate(bytes), file.Close())
}
