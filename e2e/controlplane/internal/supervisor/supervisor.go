// Package supervisor starts the components, keeps count of them, and stops them: the work of `up`.
//
// A Supervisor is made by Run and lives as long. Requests that come in through its control socket may be concurrent;
// each component has one operation at a time, different components do not wait for each other. All goroutines are
// gone when Run returns.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/component-base/version"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
	portlocks "github.com/berth-csi/berth/e2e/controlplane/internal/ports"
)

// Config is what `up` can be told.
type Config struct {
	Dir directory.Dir
	// Executable runs as a component when called with "component NAME FLAGS...".
	Executable string
	// QPS and Burst are the controller-manager's client limits; 0 leaves Kubernetes' own.
	QPS   float64
	Burst int
	// Controllers is the controller-manager's list.
	Controllers []string
	Overrides   component.Overrides
	// Definitions installs the VolumeSnapshot custom resource definitions.
	Definitions bool
	// Audit records requests.
	Audit bool
	// Timeout bounds the start of everything, and later that of each component.
	Timeout time.Duration
	// Report takes a line about progress, or about a component that failed. It may be called concurrently.
	Report func(line string)
	// OnReady is called once everything answers.
	OnReady func(Ready)
}

// Supervisor is a running control plane. It implements control.Plane.
type Supervisor struct {
	config     Config
	facts      facts
	units      map[component.Name]*unit
	watchers   sync.WaitGroup
	operations turnstile
	prober     *prober
	admin      *rest.Config
	lifeline   *os.File
	down       context.CancelCauseFunc

	// readyMutex guards ready, which is nil until everything has answered for the first time and after stopping began.
	readyMutex sync.Mutex
	ready      *Ready
}

var _ control.Plane = (*Supervisor)(nil)

// errDown is the cause of an end that `down` asked for.
var errDown = errors.New("asked to stop")

// Run starts the control plane and keeps it until ctx ends or `down` asks for it; both are success. It returns when
// everything has stopped.
func Run(ctx context.Context, config Config) error {
	begin := time.Now()
	if err := config.Dir.Create(); err != nil {
		return err
	}
	lock, err := config.Dir.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := RemoveLeftovers(config.Dir); err != nil {
		return err
	}
	reservation, err := portlocks.Reserve(portlocks.DefaultLockDir())
	if err != nil {
		return err
	}
	defer reservation.Release()
	lifeline, held, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("create lifeline: %w", err)
	}
	defer lifeline.Close()
	defer held.Close()

	s, err := newSupervisor(config, reservation, lifeline)
	if err != nil {
		return err
	}
	ctx, s.down = context.WithCancelCause(ctx)
	defer s.down(nil)

	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() {
		err := control.Serve(serving, config.Dir.Socket(), s)
		if err != nil {
			s.down(err)
		}
		served <- err
	}()

	err = s.start(ctx, begin)
	if err == nil {
		<-ctx.Done()
	} else if ctx.Err() != nil {
		err = nil // stopped while starting, which is what was wanted
	}
	stopErr := s.stop()
	stopServing()
	return errors.Join(err, stopErr, <-served)
}

func newSupervisor(config Config, reservation *portlocks.Reservation, lifeline *os.File) (*Supervisor, error) {
	s := &Supervisor{
		config: config,
		facts: facts{
			dir: config.Dir,
			ports: ports{
				apiServer:         reservation.Port(0),
				etcd:              reservation.Port(1),
				etcdPeer:          reservation.Port(2),
				controllerManager: reservation.Port(3),
				scheduler:         reservation.Port(4),
			},
			controllers: config.Controllers,
			audit:       config.Audit,
			limits:      limits{qps: config.QPS, burst: config.Burst},
		},
		units:    map[component.Name]*unit{},
		lifeline: lifeline,
	}
	for _, name := range component.All() {
		u := &unit{
			name:      name,
			log:       config.Dir.Log(name),
			onFailure: s.failed,
			watchers:  &s.watchers,
			turn:      make(chan struct{}, 1),
		}
		u.record = record{state: control.Down, flags: flagsFor(name, s.facts).With(config.Overrides[name])}
		s.units[name] = u
	}
	if err := s.writeFiles(); err != nil {
		return nil, err
	}
	return s, nil
}

// start brings everything up, in parallel where one component does not need another's answer.
func (s *Supervisor) start(ctx context.Context, begin time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.Timeout, fmt.Errorf("not ready within %s", s.config.Timeout))
	defer cancel()

	// One after the other: a connection to etcd that fails at first is tried again only after a second.
	for _, name := range []component.Name{component.Etcd, component.APIServer} {
		if err := s.Start(ctx, control.Start{Component: name}); err != nil {
			return err
		}
	}
	if s.config.Definitions {
		asked := time.Now()
		if err := installDefinitions(ctx, s.admin); err != nil {
			return err
		}
		s.reportf("VolumeSnapshot definitions installed in %.1f s", time.Since(asked).Seconds())
	}
	if err := s.each(ctx, []component.Name{component.ControllerManager, component.Scheduler}); err != nil {
		return err
	}

	ready := Ready{
		PID:          os.Getpid(),
		Server:       s.admin.Host,
		Version:      version.Get().GitVersion,
		ReadySeconds: float64(time.Since(begin).Milliseconds()) / 1000,
	}
	s.readyMutex.Lock()
	s.ready = &ready
	s.readyMutex.Unlock()
	if err := s.refreshReady(); err != nil {
		return err
	}
	s.config.OnReady(ready)
	return nil
}

// each starts the components at the same time and returns the first error, after all have ended trying.
func (s *Supervisor) each(ctx context.Context, names []component.Name) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(names))
	for _, name := range names {
		go func() { errs <- s.Start(ctx, control.Start{Component: name}) }()
	}
	var first error
	for range names {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// stop ends the components, those that need others first. Grace is short: nothing here is worth waiting for except
// that etcd gets to close its files.
func (s *Supervisor) stop() error {
	s.operations.close()
	s.readyMutex.Lock()
	s.ready = nil
	s.readyMutex.Unlock()
	err := os.Remove(s.config.Dir.Ready())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	for _, step := range []struct {
		names []component.Name
		grace time.Duration
	}{
		{[]component.Name{component.Scheduler, component.ControllerManager}, 300 * time.Millisecond},
		{[]component.Name{component.APIServer}, 800 * time.Millisecond},
		{[]component.Name{component.Etcd}, 800 * time.Millisecond},
	} {
		var stopping sync.WaitGroup
		for _, name := range step.names {
			if p := s.units[name].detach(); p != nil {
				stopping.Go(func() { p.stop(context.Background(), syscall.SIGTERM, step.grace) })
			}
		}
		stopping.Wait()
	}
	s.watchers.Wait()
	return err
}

// failed tells whoever watches `up` about a component that ended on its own.
func (s *Supervisor) failed(name component.Name, reason string) {
	s.reportf("!!! %s ended on its own: %s; its log is %s", name, reason, s.units[name].log)
	if err := s.refreshReady(); err != nil {
		s.reportf("!!! %v", err)
	}
}

func (s *Supervisor) reportf(format string, args ...any) {
	s.config.Report(fmt.Sprintf(format, args...))
}

// refreshReady writes the ready file with the present processes, if there should be one.
func (s *Supervisor) refreshReady() error {
	s.readyMutex.Lock()
	defer s.readyMutex.Unlock()
	if s.ready == nil {
		return nil
	}
	ready := *s.ready
	ready.Components = map[component.Name]ReadyComponent{}
	for name, u := range s.units {
		about := ReadyComponent{Log: u.log, Address: loopback(s.facts.ports.of(name))}
		if p := u.read().process; p != nil {
			about.PID = p.pid
		}
		ready.Components[name] = about
	}
	return writeReady(s.config.Dir.Ready(), ready)
}
