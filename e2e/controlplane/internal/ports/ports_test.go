package ports

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func reserve(t *testing.T, lockDir string, start int) *Reservation {
	t.Helper()
	r, err := reserveFrom(lockDir, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Release)
	return r
}

func TestReservationsMadeAtTheSameTimeNeverShareAPort(t *testing.T) {
	lockDir := filepath.Join(t.TempDir(), "locks")
	const n = 20
	reservations := make([]*Reservation, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { reservations[i] = reserve(t, lockDir, 700) })
	}
	group.Wait()
	seen := map[int]bool{}
	for _, r := range reservations {
		for i := range Size {
			port := r.Port(i)
			if seen[port] || port < first || port > last {
				t.Errorf("port %d is reserved twice or out of range", port)
			}
			seen[port] = true
		}
	}
}

func TestTheRangeWrapsAround(t *testing.T) {
	lockDir := t.TempDir()
	if a, b := reserve(t, lockDir, blocks-1), reserve(t, lockDir, blocks-1); a.Port(0) == b.Port(0) {
		t.Errorf("both have port %d", a.Port(0))
	}
}

func TestABlockWithAPortInUseIsPassedOver(t *testing.T) {
	free := reserve(t, t.TempDir(), 800)
	taken := free.Port(3)
	free.Release()
	listener, err := net.Listen("tcp4", address(taken))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if r := reserve(t, t.TempDir(), 800); r.Port(3) == taken {
		t.Errorf("port %d is reserved although someone listens there", taken)
	}
}

func TestAReservedPortIsForThoseWhoShare(t *testing.T) {
	r := reserve(t, t.TempDir(), 900)
	if conn, err := net.Dial("tcp4", address(r.Port(0))); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			conn.Close()
		}
		t.Errorf("nobody listens yet, but connecting gives %v", err)
	}
	if listener, err := net.Listen("tcp4", address(r.Port(0))); err == nil {
		listener.Close()
		t.Error("a stranger can listen")
	}
	sharing := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		return errors.Join(conn.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	for range 3 { // a component that comes back listens again
		listener, err := sharing.Listen(context.Background(), "tcp4", address(r.Port(0)))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // no connection is lost to the socket that only holds the port
			conn, err := net.Dial("tcp4", address(r.Port(0)))
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			accepted.Close()
			conn.Close()
		}
		listener.Close()
	}
}

func TestReleaseLeavesNothingBehind(t *testing.T) {
	lockDir := filepath.Join(t.TempDir(), "locks")
	a := reserve(t, lockDir, 1000)
	b := reserve(t, lockDir, 1000)
	port := a.Port(0)
	a.Release()
	a.Release() // a second time does nothing
	if again := reserve(t, lockDir, (port-first)/Size); again.Port(0) != port {
		t.Errorf("port %d is not free after its release", port)
	} else {
		again.Release()
	}
	b.Release()
	if _, err := os.Stat(lockDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock directory is still there (%v)", err)
	}
}

func TestLocksOfTheDeadAreSweptAndThoseOfTheLivingKept(t *testing.T) {
	lockDir := t.TempDir()
	living := reserve(t, lockDir, 1100)
	dead := filepath.Join(lockDir, "31000")
	if err := os.WriteFile(dead, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Reserve(lockDir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead one's lock is still there (%v)", err)
	}
	if _, err := os.Stat(filepath.Join(lockDir, strconv.Itoa(living.Port(0)))); err != nil {
		t.Error(err)
	}
}
