package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// listen binds the socket, in place of one left behind by a process that is gone. The caller owns the directory, so
// nobody can be listening there.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// The short name is good for this process and for now: removing the file is left to who knows the real one.
	listener.SetUnlinkOnClose(false)
	return &unlinkingListener{UnixListener: listener, path: path}, nil
}

type unlinkingListener struct {
	*net.UnixListener
	path string
}

func (l *unlinkingListener) Close() error {
	return errors.Join(l.UnixListener.Close(), ignoreMissing(os.Remove(l.path)))
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	return (&net.Dialer{}).DialContext(ctx, "unix", short)
}

// shorten returns another name of the same file. A socket's name must fit into 108 bytes, which the temporary
// directory of a test with a long name does not; through an open directory, any does. The name is good until done.
func shorten(path string) (short string, done func(), err error) {
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	short = "/proc/self/fd/" + strconv.Itoa(int(directory.Fd())) + "/" + filepath.Base(path)
	return short, func() { directory.Close() }, nil
}
