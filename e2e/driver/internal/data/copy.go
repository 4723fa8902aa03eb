package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// copyAll copies a file or a directory with all it holds, owners, modes and times included: whoever wrote it shall be able to go on with the copy. A source
// that does not exist is a volume without data and copies to nothing. It stops soon after ctx ends. Nobody is kept from writing meanwhile;
// what is written then is in the copy or not, file by file.
func copyAll(ctx context.Context, from, to string) error {
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var directories []copied
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != from {
			return nil // removed since its parent was read
		}
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
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) && path != from {
			return nil
		}
		if err != nil {
			return err
		}
		this := copied{filepath.Join(to, rel), info}
		switch entry.Type() {
		case fs.ModeDir:
			directories = append(directories, this) // finished last: what is put into it changes its time, and needs its mode to allow it
			return os.Mkdir(this.path, 0o700)
		case fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return errors.Join(os.Symlink(link, this.path), this.own())
		case 0:
			err := copyFile(ctx, path, this.path)
			if errors.Is(err, fs.ErrNotExist) && path != from {
				return nil
			}
			return errors.Join(err, this.finish())
		case fs.ModeSocket:
			return nil // means nothing without the process that serves it
		case fs.ModeNamedPipe:
			return errors.Join(syscall.Mkfifo(this.path, 0o600), this.finish())
		default:
			return fmt.Errorf("%s: cannot copy a file of type %s", rel, entry.Type())
		}
	})
	for _, directory := range slices.Backward(directories) {
		err = errors.Join(err, directory.finish())
	}
	return err
}

// copied is what has been made, and what it is a copy of.
type copied struct {
	path string
	of   fs.FileInfo
}

func (c copied) own() error {
	owner := c.of.Sys().(*syscall.Stat_t)
	return os.Lchown(c.path, int(owner.Uid), int(owner.Gid))
}

// finish gives the copy its owner, mode and time. The mode comes after the owner, which takes away setuid and setgid.
func (c copied) finish() error {
	if err := c.own(); err != nil {
		return err
	}
	if err := os.Chmod(c.path, c.of.Mode()); err != nil {
		return err
	}
	return os.Chtimes(c.path, c.of.ModTime(), c.of.ModTime())
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
		if _, err := io.CopyN(dst, src, end-start); errors.Is(err, io.EOF) {
			return nil // somebody has made it shorter
		} else if err != nil {
			return err
		}
		at = end
	}
	return nil
}
