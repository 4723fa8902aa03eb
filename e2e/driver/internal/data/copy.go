package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// copyAll copies a file or a directory with all it holds. A source that does not exist is a volume without data and
// copies to nothing. It stops soon after ctx ends.
func copyAll(ctx context.Context, from, to string) error {
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch entry.Type() {
		case fs.ModeDir:
			return os.Mkdir(target, 0o700)
		case fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case 0:
			return copyFile(ctx, path, target)
		default:
			return fmt.Errorf("%s: cannot copy a file of type %s", rel, entry.Type())
		}
	})
}

// The whence values of lseek(2) on Linux that find the parts of a sparse file.
const (
	seekData = 3
	seekHole = 4
)

// copyFile copies a file and keeps its holes, so that an empty volume of a terabyte costs nothing to clone.
func copyFile(ctx context.Context, from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := dst.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); at < info.Size(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		start, err := src.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) { // nothing but a hole is left
			return nil
		}
		if err != nil {
			return err
		}
		end, err := src.Seek(start, seekHole)
		if err != nil {
			return err
		}
		// A piece at a time, so that ctx is looked at and no single extent takes for ever.
		end = min(end, start+64<<20)
		if _, err := src.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := dst.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(dst, src, end-start); err != nil {
			return err
		}
		at = end
	}
	return nil
}
