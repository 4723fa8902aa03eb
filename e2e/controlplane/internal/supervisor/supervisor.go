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
	"slices"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/component-base/version"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
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
	// Node says that this is inside of a node's namespaces, where a node is to run as well; nil without. Then `+"`up`"+` outside owns the directory.
	Node *node.Place
	// Images are archives to import into the node's containerd.
	Images []string
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
	if config.Node == nil {
		lock, err := Own(config.Dir)
		if err != nil {
			return err
		}
		defer lock.Close()
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

	var relayed sync.WaitGroup
	if config.Node != nil {
		relayed.Go(func() {
			if err := node.Relay(serving, *config.Node, s.facts.ports.apiServerAddress()); err != nil {
				s.down(err)
			}
		})
	}

	err = s.start(ctx, begin)
	if err == nil {
		<-ctx.Done()
	} else if ctx.Err() != nil {
		err = nil // stopped while starting, which is what was wanted
	}
	stopErr := s.stop()
	stopServing()
	relayed.Wait()
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
			node:        config.Node,
		},
		units:    map[component.Name]*unit{},
		lifeline: lifeline,
	}
	if config.Node != nil {
		s.facts.ports.apiServer = nodeAPIServerPort
	}
	for _, name := range s.names() {
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

// names lists the components that there are.
func (s *Supervisor) names() []component.Name {
	if s.config.Node == nil {
		return component.All()
	}
	return slices.Concat(component.All(), component.Node())
}

// Own makes the directory, takes it, and removes what an earlier owner that was killed has left in it.
func Own(dir directory.Dir) (*os.File, error) {
	if err := dir.Create(); err != nil {
		return nil, err
	}
	lock, err := dir.Lock()
	if err != nil {
		return nil, err
	}
	if err := RemoveLeftovers(dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// start brings everything up, in parallel where one component does not need another's answer.
func (s *Supervisor) start(ctx context.Context, begin time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.Timeout, fmt.Errorf("not ready within %s", s.config.Timeout))
	defer cancel()

	// One after the other: a connection to etcd that fails at first is tried again only after a second.
	plane := func(ctx context.Context) error {
		for _, name := range []component.Name{component.Etcd, component.APIServer} {
			if err := s.Start(ctx, control.Start{Component: name}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := together(ctx, plane, s.startRuntime); err != nil {
		return err
	}
	if s.config.Definitions {
		asked := time.Now()
		if err := installDefinitions(ctx, s.admin); err != nil {
			return err
		}
		s.reportf("VolumeSnapshot definitions installed in %.1f s", time.Since(asked).Seconds())
	}
	last := []component.Name{component.ControllerManager, component.Scheduler}
	if s.config.Node != nil {
		last = append(last, component.Kubelet)
	}
	if err := s.each(ctx, last); err != nil {
		return err
	}

	ready := Ready{
		PID:          os.Getpid(),
		Server:       s.server(),
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
	var starts []func(context.Context) error
	for _, name := range names {
		starts = append(starts, func(ctx context.Context) error { return s.Start(ctx, control.Start{Component: name}) })
	}
	return together(ctx, starts...)
}

func together(ctx context.Context, steps ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(steps))
	for _, step := range steps {
		go func() { errs <- step(ctx) }()
	}
	var first error
	for range steps {
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
		{[]component.Name{component.Kubelet, component.Containerd, component.Scheduler, component.ControllerManager}, 300 * time.Millisecond},
		{[]component.Name{component.APIServer}, 800 * time.Millisecond},
		{[]component.Name{component.Etcd}, 800 * time.Millisecond},
	} {
		var stopping sync.WaitGroup
		for _, name := range step.names {
			u := s.units[name]
			if u == nil {
				continue
			}
			if p := u.detach(); p != nil {
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
		about := ReadyComponent{Log: u.log, Address: s.facts.ports.address(name)}
		if p := u.read().process; p != nil {
			about.PID = p.pid
		}
		ready.Components[name] = about
	}
	return writeReady(s.config.Dir.Ready(), ready)
}
