package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// AddFiles counts the log at path and those rotated away from it, which lie beside it as NAME-TIMESTAMP.EXT.
func (c *Counter) AddFiles(path string) error {
	extension := filepath.Ext(path)
	rotated, err := filepath.Glob(strings.TrimSuffix(path, extension) + "-*" + extension)
	if err != nil {
		return fmt.Errorf("find audit logs: %w", err)
	}
	for _, file := range append(rotated, path) {
		if err := c.addFile(file); err != nil {
			return err
		}
	}
	return nil
}

func (c *Counter) addFile(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s does not exist: was the control plane started with --audit=false?", path)
	}
	if err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	defer file.Close()
	return c.Add(file)
}
