package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-csi/berth/e2e/controlplane/internal/ports"
)

// Config is what Up needs.
type Config struct {
	Place Place
	// Executable is this program, Args what `up` was called with.
	Executable string
	Args       []string
	// Owner is the locked directory. The keeper has it open as well, so that DIR is nobody else's before all is removed.
	Owner *os.File
}

// Call is a hidden way to call the program; Args are those of `up`.
type Call string

// The hidden calls.
const (
	keeperCall Call = "node-keeper"
	initCall   Call = "node-init"
)

// ParseCall reports whether the program is called as part of a node.
func ParseCall(args []string) (call Call, rest []string, ok bool) {
	if len(args) < 2 {
		return "", nil, false
	}
	switch call := Call(args[1]); call {
	case keeperCall, initCall:
		return call, args[2:], true
	}
	return "", nil, false
}

// Run runs the process's part and returns its exit code.
func (c Call) Run(args []string) int {
	run := keep
	if c == initCall {
		run = begin
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane: node:", err)
		return max(code, 1)
	}
	return code
}

// The files that the keeper inherits, and of which init and the supervisor inherit the first.
const (
	listenerFile = 3 + iota
	lifelineFile
	ownerFile
)

// Up runs `up` inside of namespaces of its own, until it ends or ctx does, and returns its exit code when nothing is left of them. What there was to say
// about an exit code has been written by then.
func Up(ctx context.Context, config Config) (code int, err error) {
	reservation, err := ports.Reserve(ports.DefaultLockDir())
	if err != nil {
		return 0, err
	}
	defer reservation.Release()
	config.Place.Port = reservation.Port(0)
	listener, err := listen(ctx, config.Place.Port)
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	lifeline, held, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("create lifeline: %w", err)
	}
	defer lifeline.Close()
	defer held.Close()

	environment, err := config.Place.environment()
	if err != nil {
		return 0, err
	}
	keeper := &exec.Cmd{
		Path:       config.Executable,
		Args:       append([]string{"controlplane", string(keeperCall)}, config.Args...),
		Env:        environment,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: []*os.File{listener, lifeline, config.Owner},
		// It survives us, and what a terminal or a supervisor sends to our group.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := keeper.Start(); err != nil {
		return 0, fmt.Errorf("start keeper: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- keeper.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = keeper.Process.Signal(syscall.SIGTERM) // it may have ended
		err = <-ended
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(exit.ProcessState), nil
	}
	return 0, err
}

// listen makes the socket in the network namespace of the outside. The port is reserved, for who shares it.
func listen(ctx context.Context, port int) (*os.File, error) {
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failed)
	}}
	listener, err := share.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for the outside: %w", err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return nil, fmt.Errorf("listen for the outside: %w", err)
	}
	return file, nil
}

// started is a child that gets a signal of the kernel when we end. That is about the parent's thread, which therefore does nothing else.
type started struct {
	process *os.Process
	ended   chan *os.ProcessState
}

func start(child *exec.Cmd) (started, error) {
	s := started{ended: make(chan *os.ProcessState, 1)}
	begun := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := child.Start(); err != nil {
			begun <- err
			return
		}
		s.process = child.Process
		begun <- nil
		_ = child.Wait() // the state says more
		s.ended <- child.ProcessState
	}()
	err := <-begun
	return s, err
}

// exitCode is a shell's: that of a process ended by a signal is not negative.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
