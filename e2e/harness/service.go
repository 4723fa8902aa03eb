package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Service stands for the Service in front of replicas: it forwards TCP connections to one of them after the other. It has no nodes and no
// EndpointSlices; instead a replica whose port refuses a connection is passed over, as one is that the endpoints have left. What it cannot
// hide is what no Service can: a connection that a replica holds as it dies breaks, and what was asked on it has no answer.
type Service struct {
	// Address to call.
	Address string

	listener net.Listener
	replicas []string
	stop     context.CancelFunc
	ctx      context.Context //nolint:containedctx // of the connections, which outlast every call
	running  sync.WaitGroup

	mu   sync.Mutex
	next int
	open map[string]int  // connections by replica
	left map[string]bool // replicas that get no new connections
}

const (
	// routing is how long a connection waits for a replica that takes it: about what kube-proxy needs to hear of new endpoints.
	routing = 2 * time.Second
	// routeAgain is the pause after all replicas have refused.
	routeAgain = 10 * time.Millisecond
)

// StartService starts to forward to the addresses of replicas, whether they are there yet or not.
func StartService(ctx context.Context, replicas ...string) (*Service, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start service: %w", err)
	}
	s := &Service{Address: listener.Addr().String(), listener: listener, replicas: slices.Clone(replicas), open: map[string]int{}, left: map[string]bool{}}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(s.accept)
	return s, nil
}

// Close ends all connections, and waits for it.
func (s *Service) Close() error {
	s.stop()
	err := s.listener.Close()
	s.running.Wait()
	return err
}

// Leave has a replica get no new connections: it is not ready any more, upon which endpoints go.
func (s *Service) Leave(replica string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[replica] = true
}

// Return has a replica that left get connections again.
func (s *Service) Return(replica string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.left, replica)
}

// Open is how many connections there are to a replica.
func (s *Service) Open(replica string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[replica]
}

func (s *Service) accept() {
	for {
		client, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.running.Go(func() { s.forward(client) })
	}
}

func (s *Service) forward(client net.Conn) {
	defer func() { _ = client.Close() }()
	replica, server := s.dial()
	if server == nil {
		return
	}
	defer s.count(replica, -1)
	defer func() { _ = server.Close() }()
	// Whichever side ends, ends both: what came last has been passed on by then.
	ended := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	s.running.Go(func() { pass(server, client) })
	s.running.Go(func() { pass(client, server) })
	select {
	case <-ended:
	case <-s.ctx.Done():
	}
}

// dial finds a replica that takes a connection; nil: there is none.
func (s *Service) dial() (string, net.Conn) {
	ctx, cancel := context.WithTimeout(s.ctx, routing)
	defer cancel()
	for {
		for range s.replicas {
			replica, left := s.turn()
			if left {
				continue
			}
			if server, err := new(net.Dialer).DialContext(ctx, "tcp", replica); err == nil {
				s.count(replica, 1)
				return replica, server
			}
		}
		select {
		case <-ctx.Done():
			return "", nil
		case <-time.After(routeAgain):
		}
	}
}

// turn is whose turn it is, and whether that one has left.
func (s *Service) turn() (replica string, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	replica = s.replicas[s.next%len(s.replicas)]
	return replica, s.left[replica]
}

func (s *Service) count(replica string, change int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[replica] += change
}
