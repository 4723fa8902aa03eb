package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stopGrace is how long Stop waits between SIGTERM and SIGKILL when the caller's context allows it.
const stopGrace = 90 * time.Second

// ProcessSpec says what to run.
type ProcessSpec struct {
	// Name is what messages call the process.
	Name string
	// Path of the executable, and its arguments without the name of the program.
	Path string
	Args []string
	// Env is added to the environment of the harness, from which KUBECONFIG is removed: a child that a test
	// starts must never meet the cluster of the person who runs it.
	Env []string
	// Log is the file that standard output and standard error are appended to.
	Log string
	// DeathSignal is what the child gets when the harness ends without stopping it. Zero is SIGKILL.
	DeathSignal syscall.Signal
}

// Process is a child of ours, in a process group of its own. It can be started again after it ended.
type Process struct {
	spec ProcessSpec

	mu  sync.Mutex
	run *run
}

// run is one life of a Process.
type run struct {
	pid   int
	log   int64 // size of the log when this life began
	done  chan struct{}
	state *os.ProcessState // set before done is closed
	err   error            // of Wait, when it is not about the exit code
	peak  atomic.Int64     // resident set at its largest, as last seen in /proc
}

// Exit says how a process ended.
type Exit struct {
	// Code is the exit code, -1 when a signal ended the process.
	Code int
	// Signal that ended the process, 0 when it exited.
	Signal syscall.Signal
}

func (e Exit) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("signal: %s", e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// StartProcess starts the child. That it runs does not mean that it is ready.
func StartProcess(spec ProcessSpec) (*Process, error) {
	p := &Process{spec: spec}
	if err := p.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// Start starts the process again after it has ended, with the same arguments and the same log.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run != nil && !p.run.ended() {
		return fmt.Errorf("start %s: already running as pid %d", p.spec.Name, p.run.pid)
	}
	r, err := startRun(p.spec)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.spec.Name, err)
	}
	p.run = r
	return nil
}

// startRun starts and waits on one locked thread: the kernel sends the death signal when the *thread* that started the
// child ends, and Go ends threads at will.
func startRun(spec ProcessSpec) (*run, error) {
	if err := os.MkdirAll(filepath.Dir(spec.Log), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	size, err := log.Seek(0, 2)
	if err != nil {
		return nil, err
	}

	signal := spec.DeathSignal
	if signal == 0 {
		signal = syscall.SIGKILL
	}
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:noctx // it outlives the context it is started in; Stop and Kill end it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cleanEnv(), spec.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: signal}

	r := &run{log: size, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			r.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			r.err = err
		}
		r.state = cmd.ProcessState
		close(r.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return r, nil
}

func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KUBECONFIG=") {
			env = append(env, v)
		}
	}
	return env
}

func (r *run) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (r *run) exit() Exit {
	if r.state == nil {
		return Exit{Code: -1}
	}
	if status, ok := r.state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return Exit{Code: -1, Signal: status.Signal()}
	}
	return Exit{Code: r.state.ExitCode()}
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// PID of the process, or of its last life.
func (p *Process) PID() int { return p.current().pid }

// Done is closed when the present life of the process has ended.
func (p *Process) Done() <-chan struct{} { return p.current().done }

// Running says whether the process is alive.
func (p *Process) Running() bool { return !p.current().ended() }

// LogFile is where the process writes.
func (p *Process) LogFile() string { return p.spec.Log }

// Signal sends a signal to the process, not to its group. A process that has ended is not an error.
func (p *Process) Signal(signal syscall.Signal) error {
	r := p.current()
	if r.ended() {
		return nil
	}
	_, _ = p.Usage()
	if err := syscall.Kill(r.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to %s: %w", signal, p.spec.Name, err)
	}
	return nil
}

// Wait returns how the process ended, when it has.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	r := p.current()
	select {
	case <-r.done:
		return r.exit(), r.err
	case <-ctx.Done():
		return Exit{Code: -1}, fmt.Errorf("wait for %s to end: %w; %s", p.spec.Name, context.Cause(ctx), p.describeLog())
	}
}

// Stop sends SIGTERM and waits; a process that has not ended when ctx is done, or after a minute and a half, is killed
// with its group, which is an error.
func (p *Process) Stop(ctx context.Context) (Exit, error) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return Exit{Code: -1}, err
	}
	waiting, cancel := context.WithTimeoutCause(ctx, stopGrace, fmt.Errorf("not ended %s after SIGTERM", stopGrace))
	defer cancel()
	exit, err := p.Wait(waiting)
	if err != nil {
		return p.Kill(), fmt.Errorf("stop: killed: %w", err)
	}
	return exit, nil
}

// Kill ends the process and its group with SIGKILL and waits until it is gone.
func (p *Process) Kill() Exit {
	r := p.current()
	if !r.ended() {
		_, _ = p.Usage()
		_ = syscall.Kill(-r.pid, syscall.SIGKILL)
		<-r.done
	}
	return r.exit()
}

// Restart stops the process and starts it again.
func (p *Process) Restart(ctx context.Context) error {
	if _, err := p.Stop(ctx); err != nil {
		return err
	}
	return p.Start()
}

// Usage says what the present life of the process has cost so far, or the whole of it when it has ended. The peak of an
// ended process is the one seen when it was told to end: the kernel's own record of it starts with the size of the
// parent, which may be larger than the child ever was.
func (p *Process) Usage() (Usage, error) {
	r := p.current()
	if !r.ended() {
		usage, err := usageOf(r.pid)
		if err == nil {
			r.peak.Store(usage.PeakRSS)
			return usage, nil
		}
		if !r.ended() {
			return Usage{}, fmt.Errorf("usage of %s: %w", p.spec.Name, err)
		}
	}
	usage := usageAfter(r.state)
	if peak := r.peak.Load(); peak > 0 {
		usage.PeakRSS = peak
	}
	return usage, nil
}

// Log returns what the present life of the process has written.
func (p *Process) Log() string {
	data, err := os.ReadFile(p.spec.Log)
	if err != nil {
		return ""
	}
	return string(data[min(p.current().log, int64(len(data))):])
}

// LogTail returns the last lines of the log, whichever life wrote them.
func (p *Process) LogTail(lines int) string { return tailFile(p.spec.Log, lines) }

func (p *Process) describeLog() string {
	return fmt.Sprintf("%s ends with:\n%s", p.spec.Log, p.LogTail(15))
}
