package data

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
)

// A use is a file uses/VOLUME/NODE, there as long as a node has the volume staged or published. Processes tell each other so: only the node plugin
// knows what is mounted on its node, and only the controller deletes.

func (d Dir) use(id string) string { return filepath.Join(d.uses(), id) }

// Use records that a node uses a volume. Call it before the first mount.
func (d Dir) Use(id, node string) error {
	if err := os.MkdirAll(d.use(id), 0o700); err != nil {
		return fmt.Errorf("record use of volume %s: %w", id, err)
	}
	file, err := os.OpenFile(filepath.Join(d.use(id), url.PathEscape(node)), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("record use of volume %s: %w", id, err)
	}
	return file.Close()
}

// Unuse records that a node does not use a volume any more. Call it after the last mount is gone.
func (d Dir) Unuse(id, node string) error {
	err := os.Remove(filepath.Join(d.use(id), url.PathEscape(node)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record the end of the use of volume %s: %w", id, err)
	}
	_ = os.Remove(d.use(id)) // not empty as long as other nodes use the volume
	return nil
}

// UsedBy names a node that uses a volume, or none. The id may be anything.
func (d Dir) UsedBy(id string) (string, error) {
	if !isName(id) {
		return "", nil
	}
	entries, err := os.ReadDir(d.use(id))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG) || (err == nil && len(entries) == 0) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("uses of volume %s: %w", id, err)
	}
	node, err := url.PathUnescape(entries[0].Name())
	if err != nil {
		return "", fmt.Errorf("uses of volume %s: %w", id, err)
	}
	return node, nil
}
