// Package ports reserves loopback ports so that control planes starting at the same time never meet, and so that a
// component that is down finds its port free when it comes back.
//
// A reservation is a block of consecutive ports and holds in two ways. An flock on one file a block keeps other
// control planes of this kind away from the moment of choosing. A socket bound to each port with SO_REUSEPORT, but
// never listening, keeps everyone else away afterwards: the kernel refuses others the port, while the components,
// told to share it, can bind and listen. A client that connects while the component is down is refused, as it should.
// Both end with the process, however it ends.
package ports

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// The range lies below Linux's ephemeral ports (from 32768), or an outgoing connection of anyone could hold a
	// port of ours, and above what well-known services use.
	first = 20000
	last  = 31999
	// Size is the number of ports in a block.
	Size = 8

	blocks = (last - first + 1) / Size
)

// Reservation is a block of ports that nobody else has. The zero value holds nothing.
type Reservation struct {
	base int
	lock *os.File
	held []int
}

// Reserve takes a free block, its lock among those in lockDir. It starts at a random one, so that those who know
// nothing of the locks are rarely met either.
func Reserve(lockDir string) (*Reservation, error) {
	sweep(lockDir)
	return reserveFrom(lockDir, rand.IntN(blocks))
}

func reserveFrom(lockDir string, start int) (*Reservation, error) {
	var lastErr error
	for i := range blocks {
		base := first + (start+i)%blocks*Size
		r, err := reserveBlock(lockDir, base)
		if err == nil {
			return r, nil
		}
		lastErr = err
	}
	return nil, fmt.Errorf("reserve ports: no free block between %d and %d: %w", first, last, lastErr)
}

// DefaultLockDir is shared by all control planes of the machine.
func DefaultLockDir() string {
	return filepath.Join(os.TempDir(), "controlplane-ports")
}

// Port is the i-th port of the block, from 0 to Size-1.
func (r *Reservation) Port(i int) int { return r.base + i }

// Release gives the ports up and leaves no file behind.
func (r *Reservation) Release() {
	for _, fd := range r.held {
		unix.Close(fd)
	}
	if r.lock != nil {
		// Removed while still locked: whoever opened the file before sees that it is gone once they have the lock.
		os.Remove(r.lock.Name())
		r.lock.Close()
		os.Remove(filepath.Dir(r.lock.Name())) // fails, as it should, if others have locks there
	}
	*r = Reservation{}
}

func reserveBlock(lockDir string, base int) (*Reservation, error) {
	// For every block anew, since the last to release removes the directory.
	if err := os.MkdirAll(lockDir, 0o777); err != nil {
		return nil, err
	}
	// Other users' control planes take their locks here too. Only the owner may change the mode, and has.
	_ = os.Chmod(lockDir, 0o777|os.ModeSticky)
	lock, err := lockFile(filepath.Join(lockDir, strconv.Itoa(base)))
	if err != nil {
		return nil, err
	}
	r := &Reservation{base: base, lock: lock}
	for i := range Size {
		fd, err := hold(r.Port(i))
		if err != nil {
			r.Release()
			return nil, err
		}
		r.held = append(r.held, fd)
	}
	return r, nil
}

// sweep removes the locks of those that were killed. Who opens one at this moment finds it gone once they have the
// lock, and takes another block.
func sweep(lockDir string) {
	entries, err := os.ReadDir(lockDir)
	if err != nil {
		return // nothing there
	}
	for _, entry := range entries {
		path := filepath.Join(lockDir, entry.Name())
		if lock, err := lockFile(path); err == nil {
			os.Remove(path)
			lock.Close()
		}
	}
}

var errTaken = errors.New("block is taken")

func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, errTaken
	}
	locked, err := file.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(path); err == nil && !os.SameFile(locked, there) {
			err = errTaken
		}
	}
	if err != nil {
		file.Close()
		return nil, errTaken
	}
	return file, nil
}

// hold binds the port and returns the socket. A plain bind comes first: it fails if anyone at all has the port,
// whereas a sharing one would succeed beside another sharing socket of the same user.
func hold(port int) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	if err := listener.Close(); err != nil {
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	return fd, nil
}
