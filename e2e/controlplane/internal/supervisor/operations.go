package supervisor

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
)

const (
	// restartGrace is how long a component may take to end on a signal before a restart kills it. The API server
	// waits for requests in flight.
	restartGrace = 10 * time.Second
	// killGrace is how long `kill` waits for a component to end; it never sends another signal than it was told to.
	killGrace = 30 * time.Second
	// limitsGrace is shorter than restartGrace: the controller-manager has nothing to finish.
	limitsGrace = time.Second
)

// Status describes the components in the order in which they start.
func (s *Supervisor) Status() []control.Status {
	statuses := make([]control.Status, 0, len(s.units))
	for _, name := range s.names() {
		statuses = append(statuses, s.units[name].status())
	}
	return statuses
}

// Down asks the supervisor to stop.
func (s *Supervisor) Down() { s.down(errDown) }

// Start launches a component that is down and waits until it is healthy. The flags in request.Set last.
func (s *Supervisor) Start(ctx context.Context, request control.Start) error {
	return s.operate(ctx, request.Component, func(ctx context.Context, u *unit) error {
		r := u.read()
		if r.process != nil {
			return fmt.Errorf("%s is already running (pid %d)", u.name, r.process.pid)
		}
		return s.launch(ctx, u, r.flags.With(request.Set))
	})
}

// Restart ends a component, if it runs, and starts it again. The flags in request.Set last.
func (s *Supervisor) Restart(ctx context.Context, request control.Restart) error {
	sig, err := endingSignal(request.Signal)
	if err != nil {
		return err
	}
	return s.operate(ctx, request.Component, func(ctx context.Context, u *unit) error {
		if p := u.detach(); p != nil {
			p.stop(ctx, sig, restartGrace)
		}
		return s.launch(ctx, u, u.read().flags.With(request.Set))
	})
}

// SetLimits restarts the controller-manager with other client limits; zero values bring back Kubernetes' own.
func (s *Supervisor) SetLimits(ctx context.Context, request control.Limits) error {
	return s.operate(ctx, component.ControllerManager, func(ctx context.Context, u *unit) error {
		if p := u.detach(); p != nil {
			p.stop(ctx, syscall.SIGTERM, limitsGrace)
		}
		wanted := limits{qps: request.QPS, burst: request.Burst}.flags()
		return s.launch(ctx, u, u.read().flags.Without(qpsFlag, burstFlag).With(wanted))
	})
}

// Kill ends a component and leaves it down, or freezes or thaws it.
func (s *Supervisor) Kill(ctx context.Context, request control.Kill) error {
	switch request.Signal {
	case "STOP":
		return s.operate(ctx, request.Component, func(_ context.Context, u *unit) error { return u.freeze(syscall.SIGSTOP) })
	case "CONT":
		return s.operate(ctx, request.Component, func(_ context.Context, u *unit) error { return u.freeze(syscall.SIGCONT) })
	}
	sig, err := endingSignal(request.Signal)
	if err != nil {
		return err
	}
	return s.operate(ctx, request.Component, func(ctx context.Context, u *unit) error {
		p := u.detach()
		if p == nil {
			return fmt.Errorf("%s is not running", u.name)
		}
		p.signal(sig)
		p.signal(syscall.SIGCONT) // a frozen one would not notice anything but KILL
		var err error
		select {
		case <-p.ended:
			return s.refreshReady()
		case <-time.After(killGrace):
			err = fmt.Errorf("%s (pid %d) has not ended within %s of SIG%s", u.name, p.pid, killGrace, request.Signal)
		case <-ctx.Done():
			err = fmt.Errorf("wait for the end of %s (pid %d): %w", u.name, p.pid, context.Cause(ctx))
		}
		u.reattach(p)
		return err
	})
}

var errStopping = errors.New("the control plane is stopping")

// operate does something to a component in its turn. The context ends early when the control plane stops, after
// which nothing begins any more.
func (s *Supervisor) operate(ctx context.Context, name component.Name, do func(context.Context, *unit) error) error {
	name, err := component.Parse(string(name))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	leave, ok := s.operations.begin(func() { cancel(errStopping) })
	if !ok {
		return errStopping
	}
	defer leave()

	u := s.units[name]
	if u == nil {
		return fmt.Errorf("there is no %s: this control plane was started without --node", name)
	}
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
		return do(ctx, u)
	case <-ctx.Done():
		return fmt.Errorf("wait for another operation on %s: %w", name, context.Cause(ctx))
	}
}

// launch starts the component and waits until it is healthy. Flags that it cannot start with are forgotten, so that
// the next attempt is not spoilt. The caller has the turn.
func (s *Supervisor) launch(ctx context.Context, u *unit, flags component.Flags) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.Timeout, fmt.Errorf("not healthy within %s", s.config.Timeout))
	defer cancel()
	begin := time.Now()
	p, err := launch(s.commandOf(u, flags))
	if err != nil {
		return err
	}
	before := u.launched(p, flags)
	err = s.prober.await(ctx, u.name, p.ended)
	if err != nil {
		u.setFlags(before)
	}
	switch {
	case errors.Is(err, errEnded):
		return fmt.Errorf("%s ended while starting: %s; the end of %s:\n%s", u.name, p.reason, u.log, tail(u.log))
	case err != nil:
		return fmt.Errorf("%s (pid %d): %w; the end of %s:\n%s", u.name, p.pid, err, u.log, tail(u.log))
	}
	u.healthy(p)
	s.reportf("%s ready in %.1f s", u.name, time.Since(begin).Seconds())
	return s.refreshReady()
}

func endingSignal(name string) (syscall.Signal, error) {
	switch name {
	case "KILL":
		return syscall.SIGKILL, nil
	case "TERM":
		return syscall.SIGTERM, nil
	case "INT":
		return syscall.SIGINT, nil
	}
	return 0, fmt.Errorf("unknown signal %q, known are KILL, TERM and INT to end a component, and for kill STOP and CONT", name)
}
