package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// Relay passes connections of the outside on to the API server's address inside, until ctx ends, and has no goroutine left when it returns. The same
// port is served inside, so that one kubeconfig is good in both.
func Relay(ctx context.Context, place Place, to string) error {
	outer, err := net.FileListener(os.NewFile(listenerFile, "listener"))
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	inner, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(place.Port)))
	if err != nil {
		return errors.Join(fmt.Errorf("relay: %w", err), outer.Close())
	}
	var relaying sync.WaitGroup
	for _, listener := range []net.Listener{outer, inner} {
		context.AfterFunc(ctx, func() { listener.Close() })
		relaying.Go(func() {
			for {
				connection, err := listener.Accept()
				if errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EMFILE) {
					continue
				}
				if err != nil {
					return // closed
				}
				relaying.Go(func() { pass(ctx, connection, to) })
			}
		})
	}
	relaying.Wait()
	return nil
}

// pass copies both ways until both ends have said all, or ctx ends. While nobody listens at the other end the connection is closed, as if refused.
func pass(ctx context.Context, connection net.Conn, to string) {
	defer connection.Close()
	other, err := (&net.Dialer{}).DialContext(ctx, "tcp4", to)
	if err != nil {
		return
	}
	defer other.Close()
	defer context.AfterFunc(ctx, func() {
		connection.Close()
		other.Close()
	})()
	var copying sync.WaitGroup
	for _, way := range [][2]net.Conn{{connection, other}, {other, connection}} {
		copying.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // whatever ended it, the reader learns that there is no more
			if half, ok := way[0].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	copying.Wait()
}
