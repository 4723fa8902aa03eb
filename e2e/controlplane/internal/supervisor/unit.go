package supervisor

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
)

// unit is what is known about one component over all its processes.
//
//	          launched            healthy            SIGSTOP
//	Down ----------------> Starting -----> Running <---------> Frozen
//	  ^                       |               |       SIGCONT     |
//	  |  stopped on purpose   |               |                   |
//	  +-----------------------+---------------+-------------------+
//	                          |               |                   |
//	            Failed <------+---------------+-------------------+   ended on its own; launching again is possible
type unit struct {
	name component.Name
	log  string
	// onFailure is told when the component ends without having been asked to.
	onFailure func(name component.Name, reason string)
	// watchers counts the goroutines that wait for processes.
	watchers *sync.WaitGroup
	// turn holds the right to start or stop the component, one operation at a time.
	turn chan struct{}

	mu     sync.Mutex
	record record
}

// record is the part of a unit that changes.
type record struct {
	state    control.State
	process  *process
	flags    component.Flags
	launches int
	// spent is the CPU time of processes that have ended.
	spent time.Duration
}

// read returns a copy.
func (u *unit) read() record {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.record
}

func (u *unit) setFlags(flags component.Flags) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.record.flags = flags
}

// launched installs a new process with its flags, watches it, and returns the flags from before.
func (u *unit) launched(p *process, flags component.Flags) component.Flags {
	u.mu.Lock()
	before := u.record.flags
	u.record.state = control.Starting
	u.record.process = p
	u.record.flags = flags
	u.record.launches++
	u.mu.Unlock()
	u.watchers.Go(func() {
		<-p.ended
		before := u.conclude(p)
		if before == control.Down {
			return
		}
		u.note(fmt.Sprintf("%s (pid %d) ended on its own: %s", u.name, p.pid, p.reason))
		if before != control.Starting { // else whoever started it reports that
			u.onFailure(u.name, p.reason)
		}
	})
	return before
}

// conclude books a process that has ended, and returns the state it has ended from: Down if that was wanted.
func (u *unit) conclude(p *process) control.State {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.record.spent += p.cpu
	if u.record.process != p {
		return control.Down
	}
	before := u.record.state
	u.record.process = nil
	u.record.state = control.Failed
	return before
}

// healthy marks the process as running, unless it has ended since.
func (u *unit) healthy(p *process) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.record.process == p {
		u.record.state = control.Running
	}
}

// detach takes the process out of the unit, so that its end counts as wanted. It returns nil if none runs.
func (u *unit) detach() *process {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.record.process
	if p != nil {
		u.record.process = nil
		u.record.state = control.Down
	}
	return p
}

// reattach puts a process back that was detached but would not end.
func (u *unit) reattach(p *process) {
	u.mu.Lock()
	defer u.mu.Unlock()
	select {
	case <-p.ended:
		return
	default:
	}
	if u.record.process == nil {
		u.record.process = p
		u.record.state = control.Running
	}
}

// freeze stops or continues the process's execution.
func (u *unit) freeze(s syscall.Signal) error {
	r := u.read()
	if r.process == nil || !r.process.signal(s) {
		return fmt.Errorf("%s is not running", u.name)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.record.process != r.process {
		return fmt.Errorf("%s has just ended", u.name)
	}
	if s == syscall.SIGSTOP {
		u.record.state = control.Frozen
	} else {
		u.record.state = control.Running
	}
	return nil
}

// note writes a line to the component's log that cannot be missed among the component's own.
func (u *unit) note(line string) {
	log, err := os.OpenFile(u.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // the supervisor's own output has it too
	}
	defer log.Close()
	fmt.Fprintf(log, "======== controlplane: %s %s ========\n", time.Now().Format(time.RFC3339), line)
}

// status is the unit as `status` shows it.
func (u *unit) status() control.Status {
	r := u.read()
	s := control.Status{
		Component:  u.name,
		State:      r.state,
		Restarts:   max(0, r.launches-1),
		Log:        u.log,
		CPUSeconds: r.spent.Seconds(),
	}
	if r.process != nil {
		used := readUsage(r.process.pid)
		s.PID = r.process.pid
		s.CPUSeconds += used.cpu.Seconds()
		s.ResidentBytes = used.resident
	}
	return s
}
