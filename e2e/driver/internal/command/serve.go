package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/berth-csi/berth/e2e/driver/internal/admin"
	"github.com/berth-csi/berth/e2e/driver/internal/calls"
	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/csidriver"
	"github.com/berth-csi/berth/e2e/driver/internal/data"
	"github.com/berth-csi/berth/e2e/driver/internal/fault"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// Options are the flags of serve.
type Options struct {
	Config   string
	Endpoint string
	State    string
	Admin    string // "" for no admin socket
	Calls    string // "" for no call log
	NodeID   string
	Seed     uint64 // of the faults' probabilities and jitter
	Grace    time.Duration
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
	f.StringVar(&o.NodeID, "node-id", host, "id of this node")
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
	if o.NodeID == "" {
		return errors.New("--node-id: is empty")
	}
	store, err := state.Open(o.State, c.Pools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	files, err := openData(o.State, c.Data, store)
	if err != nil {
		return err
	}
	record, err := calls.Open(o.Calls)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	faults := fault.NewList(csidriver.Methods(), o.Seed)
	driver := csidriver.New(csidriver.Parts{
		Config: c, NodeID: o.NodeID, Version: version(), Store: store, Data: files, Faults: faults, Calls: record, Log: log,
	})
	var web *http.Server
	var webListener net.Listener
	if o.Admin != "" {
		path, err := socketPath("--admin", o.Admin)
		if err != nil {
			return err
		}
		if path == endpoint {
			return fmt.Errorf("--admin: is the same socket as --endpoint")
		}
		if webListener, err = listen(ctx, "--admin", path); err != nil {
			return err
		}
		defer webListener.Close()
		web = admin.NewServer(admin.Sources{Store: store, Faults: faults, Calls: record})
	}
	listener, err := listen(ctx, "--endpoint", endpoint)
	if err != nil {
		return err
	}
	log.Info("serving", "driver", c.DriverName, "endpoint", endpoint, "pools", len(c.Pools), "volumes", len(store.Volumes()), "node", o.NodeID)
	return run(ctx, servers{driver: driver, csi: driver.Server(), listener: listener, web: web, webListener: webListener, grace: o.Grace, log: log})
}

func openData(dir string, kind config.Data, store *state.Store) (data.Dir, error) {
	kinds := map[config.Data]data.Kind{config.Directory: data.Directories, config.Sparse: data.SparseFiles, config.None: data.Nothing}
	files, err := data.Open(filepath.Clean(dir), kinds[kind])
	if err != nil {
		return data.Dir{}, err
	}
	return files, files.Sweep(
		func(id string) bool { return store.Volume(id) != nil },
		func(id string) bool { return store.Snapshot(id) != nil },
	)
}

// servers is what run starts and stops. web may be nil.
type servers struct {
	driver      *csidriver.Driver
	csi         *grpc.Server
	listener    net.Listener
	web         *http.Server
	webListener net.Listener
	grace       time.Duration
	log         *slog.Logger
}

// run serves until ctx ends or a server fails, and returns when both servers have stopped.
func run(ctx context.Context, s servers) error {
	ended := make(chan error, 2)
	running := 1
	go func() { ended <- s.csi.Serve(s.listener) }()
	if s.web != nil {
		running++
		go func() { ended <- s.web.Serve(s.webListener) }()
	}
	var errs []error
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case err := <-ended:
		running--
		errs = append(errs, err)
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
