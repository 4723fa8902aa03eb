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
)

// Kind is how new volumes are made.
type Kind int

const (
	Nothing Kind = iota
	Directories
	SparseFiles
)

// Dir is the directory with all data of a driver. Calls for different ids may run concurrently.
type Dir struct {
	root string
	kind Kind
}

// Open prepares a directory.
func Open(root string, kind Kind) (Dir, error) {
	d := Dir{root: root, kind: kind}
	for _, sub := range []string{d.volumes(), d.snapshots()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return Dir{}, fmt.Errorf("create data directory: %w", err)
		}
	}
	return d, nil
}

func (d Dir) volumes() string           { return filepath.Join(d.root, "volumes") }
func (d Dir) snapshots() string         { return filepath.Join(d.root, "snapshots") }
func (d Dir) volume(id string) string   { return filepath.Join(d.volumes(), id) }
func (d Dir) snapshot(id string) string { return filepath.Join(d.snapshots(), id) }

// Origin names what a volume is copied from; the zero value is nothing.
type Origin struct{ VolumeID, SnapshotID string }

// Create makes the data of a volume. If it fails, what it made so far is removed.
func (d Dir) Create(ctx context.Context, id string, bytes int64, from Origin) (err error) {
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
	case d.kind == Directories:
		return os.Mkdir(path, 0o700)
	case d.kind == SparseFiles:
		return makeSparse(path, bytes)
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
	if errors.Is(err, fs.ErrNotExist) || (err == nil && (info.IsDir() || info.Size() >= bytes)) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Truncate(d.volume(id), bytes)
}

// Remove removes the data of a volume, if there is any.
func (d Dir) Remove(id string) error { return os.RemoveAll(d.volume(id)) }

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
