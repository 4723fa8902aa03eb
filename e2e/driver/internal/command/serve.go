package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/berth-csi/berth/e2e/driver/internal/admin"
	"github.com/berth-csi/berth/e2e/driver/internal/calls"
	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/csidriver"
	"github.com/berth-csi/berth/e2e/driver/internal/fault"
	"github.com/berth-csi/berth/e2e/driver/internal/registration"
)

// Options are the flags of serve.
type Options struct {
	Config   string
	Endpoint string
	State    string
	Admin    string // "" for no admin socket
	Calls    string // "" for no call log
	Seed     uint64 // of the faults' probabilities and jitter
	Grace    time.Duration

	Mode         string // modeAll, modeController or modeNode
	Mount        bool
	NodeID       string
	NodeSegments map[string]string // in place of those in the configuration
	Registration string            // "" for no registration
	// KubeletEndpoint is the path of Endpoint as the kubelet sees it.
	KubeletEndpoint string
}

func newServe() *cobra.Command {
	var o Options
	c := &cobra.Command{Use: "serve", Short: "Run the driver until SIGTERM or SIGINT", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return Serve(c.Context(), o, slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil)))
	}}
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	f := c.Flags()
	f.StringVar(&o.Config, "config", "", "configuration file (YAML)")
	f.StringVar(&o.Endpoint, "endpoint", "", "where to serve CSI, unix:///DIR/csi.sock")
	f.StringVar(&o.State, "state", "", "directory for volumes and what is known about them")
	f.StringVar(&o.Admin, "admin", "", "where to serve the admin endpoints, unix:///DIR/admin.sock (default nowhere)")
	f.StringVar(&o.Calls, "calls", "", "file that gets a JSON line for each call (default none)")
	f.StringVar(&o.Mode, "mode", modeAll, "services to serve beside identity: all, controller, or node")
	f.BoolVar(&o.Mount, "mount", false, "mount volumes where they are published, as root (always with --mode=node)")
	f.StringVar(&o.NodeID, "node-id", host, "id of this node")
	f.StringToStringVar(&o.NodeSegments, "node-segments", nil, "topology of this node, KEY=VALUE[,KEY=VALUE] (default as in the configuration)")
	f.StringVar(&o.Registration, "registration-socket", "", "where the kubelet looks for drivers, unix:///var/lib/kubelet/plugins_registry/NAME.sock (default: do not register)")
	f.StringVar(&o.KubeletEndpoint, "kubelet-endpoint", "", "path of the CSI socket on the node, to tell the kubelet")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the faults' probabilities and jitter")
	f.DurationVar(&o.Grace, "grace", 10*time.Second, "how long calls may take to finish when stopping")
	for _, name := range []string{"config", "endpoint", "state"} {
		_ = c.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return c
}

// Serve runs the driver until ctx ends, then lets calls finish, and returns when all of its goroutines are gone.
func Serve(ctx context.Context, o Options, log *slog.Logger) (err error) {
	endpoint, err := socketPath("--endpoint", o.Endpoint)
	if err != nil {
		return err
	}
	c, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	if err := o.checkRole(&c); err != nil {
		return err
	}
	parts := csidriver.Parts{Config: c, NodeID: o.NodeID, Version: version(), Faults: fault.NewList(csidriver.Methods(), o.Seed), Log: log}
	closeState, err := o.openState(&parts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeState()) }()
	if parts.Calls, err = calls.Open(o.Calls); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Calls.Close()) }()
	driver := csidriver.New(parts)
	s := servers{driver: driver, csi: driver.Server(), grace: o.Grace, log: log}
	if o.Admin != "" {
		path, err := socketPath("--admin", o.Admin)
		if err != nil {
			return err
		}
		if path == endpoint {
			return fmt.Errorf("--admin: is the same socket as --endpoint")
		}
		if s.webListener, err = listen(ctx, "--admin", path); err != nil {
			return err
		}
		defer s.webListener.Close()
		s.web = admin.NewServer(admin.Sources{Store: parts.Store, Faults: parts.Faults, Calls: parts.Calls})
	}
	if s.listener, err = listen(ctx, "--endpoint", endpoint); err != nil {
		return err
	}
	defer s.listener.Close()
	if o.Registration != "" {
		path, err := socketPath("--registration-socket", o.Registration)
		if err != nil {
			return err
		}
		if s.registrationListener, err = listen(ctx, "--registration-socket", path); err != nil {
			return err
		}
		defer s.registrationListener.Close()
		s.registration = registration.NewServer(registration.Plugin{Driver: c.DriverName, Endpoint: o.KubeletEndpoint}, log)
	}
	log.Info("serving", "driver", c.DriverName, "mode", o.Mode, "mounts", o.mounts(), "endpoint", endpoint, "pools", len(c.Pools), "node", o.NodeID)
	return run(ctx, s)
}

// servers is what run starts and stops. web and registration may be nil.
type servers struct {
	driver               *csidriver.Driver
	csi                  *grpc.Server
	listener             net.Listener
	web                  *http.Server
	webListener          net.Listener
	registration         *grpc.Server
	registrationListener net.Listener
	grace                time.Duration
	log                  *slog.Logger
}

// run serves until ctx ends or a server fails, and returns when all servers have stopped.
func run(ctx context.Context, s servers) error {
	ended := make(chan error, 3)
	running := 1
	go func() { ended <- s.csi.Serve(s.listener) }()
	if s.web != nil {
		running++
		go func() { ended <- s.web.Serve(s.webListener) }()
	}
	if s.registration != nil {
		running++
		go func() { ended <- s.registration.Serve(s.registrationListener) }()
	}
	var errs []error
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case err := <-ended:
		running--
		errs = append(errs, err)
	}
	if s.registration != nil { // first: the kubelet shall not call a driver that is about to end
		s.registration.Stop()
	}
	s.driver.Stop()
	stopCSI(s.csi, s.grace)
	if s.web != nil { // last, so that a stopping driver can still be looked into
		errs = append(errs, s.web.Close())
	}
	for range running {
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// stopCSI lets calls finish, but not for ever.
func stopCSI(s *grpc.Server, grace time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.GracefulStop()
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.Stop()
		<-done
	}
}

// version is what GetPluginInfo says: the module's, or the commit's.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
