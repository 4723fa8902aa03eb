package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that nothing answers on the socket.
var ErrNotRunning = errors.New("no control plane is running")

// Client talks to the control plane behind a socket. It keeps no connection.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client for the socket at path; whether anyone is there shows with the first request.
func NewClient(path string) *Client {
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, path)
		},
	}}}
}

// Status describes every component.
func (c *Client) Status(ctx context.Context) ([]Status, error) {
	var statuses []Status
	err := c.do(ctx, http.MethodGet, "/status", nil, &statuses)
	return statuses, err
}

// Kill ends, freezes or thaws a component.
func (c *Client) Kill(ctx context.Context, request Kill) error {
	return c.do(ctx, http.MethodPost, "/kill", request, nil)
}

// Start starts a component and returns once it is healthy.
func (c *Client) Start(ctx context.Context, request Start) error {
	return c.do(ctx, http.MethodPost, "/start", request, nil)
}

// Restart ends and starts a component and returns once it is healthy.
func (c *Client) Restart(ctx context.Context, request Restart) error {
	return c.do(ctx, http.MethodPost, "/restart", request, nil)
}

// SetLimits changes the controller-manager's client limits and returns once it is healthy again.
func (c *Client) SetLimits(ctx context.Context, limits Limits) error {
	return c.do(ctx, http.MethodPost, "/limits", limits, nil)
}

// PID is the supervisor's, as seen from here, whatever namespace it is in.
func (c *Client) PID(ctx context.Context) (int, error) {
	connection, err := dial(ctx, c.path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return 0, fmt.Errorf("%s: %w", c.path, ErrNotRunning)
	}
	if err != nil {
		return 0, fmt.Errorf("talk to the control plane: %w", err)
	}
	defer connection.Close()
	raw, err := connection.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("find the supervisor: %w", err)
	}
	var peer *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, asked); err != nil {
		return 0, fmt.Errorf("find the supervisor: %w", err)
	}
	return int(peer.Pid), nil
}

// Down asks the control plane to stop and returns at once.
func (c *Client) Down(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/down", struct{}{}, nil)
}

func (c *Client) do(ctx context.Context, method, path string, request, into any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	httpRequest, err := http.NewRequestWithContext(ctx, method, "http://controlplane"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	response, err := c.http.Do(httpRequest)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: %w", c.path, ErrNotRunning)
	}
	if err != nil {
		return fmt.Errorf("talk to the control plane: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var refused failure
		if err := json.NewDecoder(response.Body).Decode(&refused); err != nil || refused.Error == "" {
			return fmt.Errorf("the control plane answered %s", response.Status)
		}
		return errors.New(refused.Error)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}
