package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
)

// replicaCalled serves its name to whoever connects, and then waits for the other side to go.
func replicaCalled(t *testing.T, name string) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.WriteString(conn, name)
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return listener
}

// asked connects and reads one letter.
func asked(t *testing.T, address string) (string, net.Conn) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	letter := make([]byte, 1)
	if _, err := io.ReadFull(conn, letter); err != nil {
		t.Fatal(err)
	}
	return string(letter), conn
}

func TestServiceRoutesToReplicasThatListen(t *testing.T) {
	a, b := replicaCalled(t, "a"), replicaCalled(t, "b")
	service, err := StartService(t.Context(), a.Addr().String(), b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	}()
	seen := map[string]int{}
	var last net.Conn
	for range 4 {
		var name string
		name, last = asked(t, service.Address)
		seen[name]++
	}
	if seen["a"] != 2 || seen["b"] != 2 || service.Open(a.Addr().String()) != 2 {
		t.Errorf("asked %v, %d open to a", seen, service.Open(a.Addr().String()))
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if name, _ := asked(t, service.Address); name != "b" {
			t.Errorf("asked %s, which does not listen", name)
		}
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	const left = 2 + 2 + 3 - 1
	if err := Eventually(t.Context(), "the connection is gone on the other side, too", func(context.Context) error {
		if open := service.Open(a.Addr().String()) + service.Open(b.Addr().String()); open != left {
			return fmt.Errorf("%d are open, want %d", open, left)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestServiceWithoutReplicasHangsUp(t *testing.T) {
	gone := replicaCalled(t, "gone")
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	service, err := StartService(t.Context(), gone.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = service.Close() }()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", service.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
}
