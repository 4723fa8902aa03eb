package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
)

// LifelineVariable is the environment variable in which a component finds the number of an open file that ends when
// its supervisor does.
const LifelineVariable = "CONTROLPLANE_LIFELINE"

// command says how to start a component.
type command struct {
	executable string
	// args are all of the command line, the name that the component is called by included.
	name component.Name
	args []string
	// env is added to ours.
	env []string
	log string
	// lifeline is the end to read from; the supervisor alone holds the other.
	lifeline *os.File
}

// process is one running, or ended, component. It comes from launch, and is safe for concurrent use.
type process struct {
	pid int
	// ended is closed once the process is gone and reaped; only then may the fields below be read.
	ended  chan struct{}
	reason string
	cpu    time.Duration
}

// launch starts the component in a process group of its own, so that an interrupt typed at the terminal reaches the
// supervisor alone and the components stop in order.
//
// If the supervisor dies in a way it cannot handle, the kernel kills the component (Pdeathsig); the lifeline does the
// same where the kernel cannot, for a component that runs. Pdeathsig is about the parent's *thread*, hence the
// goroutine that starts the process keeps its thread until the process is gone.
func launch(c command) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	defer log.Close()

	cmd := &exec.Cmd{
		Path:       c.executable,
		Args:       c.args,
		Env:        append(environment(), c.env...),
		Stdout:     log,
		Stderr:     log,
		ExtraFiles: []*os.File{c.lifeline},
		SysProcAttr: &syscall.SysProcAttr{
			Setpgid:   true,
			Pdeathsig: syscall.SIGKILL,
		},
	}
	p := &process{ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("start %s: %w", c.name, err)
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		_ = cmd.Wait() // the state says more
		p.reason = cmd.ProcessState.String()
		p.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// signal reports whether the process was there to receive it.
func (p *process) signal(s syscall.Signal) bool {
	select {
	case <-p.ended:
		return false
	default:
		// Not yet reaped when we looked. The pid can be free by now, but not in use again so soon.
		return syscall.Kill(p.pid, s) == nil
	}
}

// stop ends the process: first, and a SIGKILL if that did not do within grace or before ctx ended. A frozen process
// is thawed, or it would not notice. It returns when the process is gone.
func (p *process) stop(ctx context.Context, first syscall.Signal, grace time.Duration) {
	p.signal(first)
	p.signal(syscall.SIGCONT)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
		return
	case <-timer.C:
	case <-ctx.Done():
	}
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// environment is ours, without what would change etcd's settings behind our back.
func environment() []string {
	lifeline := LifelineVariable + "=" + strconv.Itoa(3) // the first of ExtraFiles
	env := []string{lifeline}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "ETCD_") && !strings.HasPrefix(variable, LifelineVariable+"=") {
			env = append(env, variable)
		}
	}
	return env
}

// usage is what a running process has used so far.
type usage struct {
	cpu      time.Duration
	resident int64
}

// clockTicks is the unit of times in /proc/PID/stat; Linux has shown user space 100 a second on all architectures
// for as long as Go has existed.
const clockTicks = 100

// readUsage returns zeros for a process that is gone.
func readUsage(pid int) usage {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return usage{}
	}
	u, err := parseStat(string(stat))
	if err != nil {
		return usage{}
	}
	return u
}

// parseStat reads utime, stime and rss (fields 14, 15 and 24 of proc(5)). The second field is the command in
// parentheses and may contain anything, so counting starts after the last one.
func parseStat(stat string) (usage, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return usage{}, errors.New("no command in process status")
	}
	fields := strings.Fields(stat[end+1:]) // fields[0] is the third
	if len(fields) < 22 {
		return usage{}, errors.New("process status is too short")
	}
	var numbers [3]int64
	for i, field := range []int{14, 15, 24} {
		n, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("process status field %d: %w", field, err)
		}
		numbers[i] = n
	}
	return usage{
		cpu:      time.Duration(numbers[0]+numbers[1]) * time.Second / clockTicks,
		resident: numbers[2] * int64(os.Getpagesize()),
	}, nil
}
