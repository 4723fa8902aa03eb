package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// listen serves a unix socket. A socket file on which nobody answers is what a process that died left behind, and is
// taken over; one on which somebody answers is an error, as is any other file.
func listen(ctx context.Context, flag, path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s: %s exists and is not a socket", flag, path)
	default:
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s: somebody serves %s already", flag, path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) { // a server that is only too busy to answer keeps its socket
			return nil, fmt.Errorf("%s: find out whether somebody serves %s: %w", flag, path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("%s: remove stale socket: %w", flag, err)
		}
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	// Whoever is in the socket's group may call: where a Pod's containers share a group (fsGroup), but not a user, that is how they meet.
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}
