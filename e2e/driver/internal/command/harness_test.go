package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/berth-csi/berth/e2e/driver/internal/admin"
	"github.com/berth-csi/berth/e2e/driver/internal/command"
)

// asPoold makes the test binary a poold, so that tests can kill a real process.
const asPoold = "POOLD_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asPoold) == "" {
		m.Run()
		return
	}
	if err := command.New().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "poold: %v\n", err)
	}
}

// place is the files of one driver. Its path is short because a unix socket's has to be.
type place struct{ dir string }

func newPlace(tb testing.TB, config string) place {
	tb.Helper()
	dir, err := os.MkdirTemp("", "poold") //nolint:usetesting // TempDir has the test's name in it, too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	p := place{dir}
	p.write(tb, "config.yaml", config)
	return p
}

func (p place) path(name string) string { return filepath.Join(p.dir, name) }

func (p place) write(tb testing.TB, name, content string) {
	tb.Helper()
	if err := os.WriteFile(p.path(name), []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func (p place) options() command.Options {
	return command.Options{
		Config: p.path("config.yaml"), Endpoint: "unix://" + p.path("csi.sock"), State: p.path("state"),
		Admin: "unix://" + p.path("admin.sock"), Calls: p.path("calls.jsonl"), NodeID: "node-1", Seed: 1, Mode: "all", Grace: 10 * time.Second,
	}
}

// driver is a running driver with clients.
type driver struct {
	place
	t     testing.TB
	conn  *grpc.ClientConn
	ctl   csipb.ControllerClient
	node  csipb.NodeClient
	ident csipb.IdentityClient
	stop  func() error
}

// serve runs a driver in this process.
func serve(tb testing.TB, p place, change ...func(*command.Options)) *driver {
	tb.Helper()
	o := p.options()
	for _, f := range change {
		f(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- command.Serve(ctx, o, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	d := connect(tb, p)
	d.stop = stop
	tb.Cleanup(func() {
		if err := d.stop(); err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	d.ready()
	return d
}

// connect makes clients for the driver of a place, which need not be there yet.
func connect(tb testing.TB, p place) *driver {
	tb.Helper()
	conn, err := grpc.NewClient("unix://"+p.path("csi.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond}, MinConnectTimeout: time.Second}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return &driver{place: p, t: tb, conn: conn, ctl: csipb.NewControllerClient(conn), node: csipb.NewNodeClient(conn), ident: csipb.NewIdentityClient(conn)}
}

// ready waits for the first answer.
func (d *driver) ready() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := d.ident.Probe(ctx, &csipb.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
		d.t.Fatalf("the driver does not answer: %v", err)
	}
}

// start runs a driver as a process of its own, with more flags, and returns it with a function that kills it.
func start(tb testing.TB, p place, more ...string) (*driver, func()) {
	tb.Helper()
	o := p.options()
	cmd := exec.Command(os.Args[0], "serve", "--config", o.Config, "--endpoint", o.Endpoint, "--state", o.State,
		"--admin", o.Admin, "--calls", o.Calls, "--node-id", o.NodeID)
	cmd.Args = append(cmd.Args, more...)
	cmd.Env = append(os.Environ(), asPoold+"=1")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	tb.Cleanup(func() {
		kill()
		if tb.Failed() {
			tb.Logf("poold said: %s", errs.String())
		}
	})
	d := connect(tb, p)
	d.ready()
	return d, kill
}

// run runs another poold command in this process and returns what it prints.
func run(args ...string) (string, error) {
	c := command.New()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(io.Discard)
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

// admin asks the admin socket and decodes the answer into into, unless that is nil.
func (d *driver) admin(method, path string, body, into any) {
	d.t.Helper()
	if err := d.tryAdmin(method, path, body, into); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driver) tryAdmin(method, path string, body, into any) error {
	raw, err := admin.NewClient(d.path("admin.sock")).Do(context.Background(), method, path, body)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// fault adds a fault given as JSON.
func (d *driver) fault(text string) {
	d.t.Helper()
	d.admin("POST", "/faults", json.RawMessage(text), nil)
}

func (d *driver) volumes() []admin.Volume {
	d.t.Helper()
	var list []admin.Volume
	d.admin("GET", "/volumes", nil, &list)
	return list
}

// call is a line of the call log.
type call struct {
	Seq      int64           `json:"seq"`
	PID      int             `json:"pid"`
	Time     time.Time       `json:"time"`
	Method   string          `json:"method"`
	Request  json.RawMessage `json:"request"`
	Response json.RawMessage `json:"response"`
	Code     string          `json:"code"`
	Error    string          `json:"error"`
	Seconds  float64         `json:"seconds"`
	Fault    string          `json:"fault"`
}

// logged reads the call log, as it is on file.
func (p place) logged(tb testing.TB, method string) []call {
	tb.Helper()
	raw, err := os.ReadFile(p.path("calls.jsonl"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Fatal(err)
	}
	var list []call
	for text := range strings.SplitSeq(strings.TrimSpace(string(raw)), "\n") {
		if text == "" {
			continue
		}
		var c call
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			tb.Fatalf("call log: %v: %s", err, text)
		}
		if c.Method == method {
			list = append(list, c)
		}
	}
	return list
}

const zone = "topology.pool.csi.berth.dev/zone"

const gi = int64(1) << 30

func seg(value string) *csipb.Topology {
	return &csipb.Topology{Segments: map[string]string{zone: value}}
}

// volumeRequest is a good request for a volume of 1Gi.
func volumeRequest(name string, change ...func(*csipb.CreateVolumeRequest)) *csipb.CreateVolumeRequest {
	r := &csipb.CreateVolumeRequest{
		Name:          name,
		CapacityRange: &csipb.CapacityRange{RequiredBytes: gi},
		VolumeCapabilities: []*csipb.VolumeCapability{{
			AccessMode: &csipb.VolumeCapability_AccessMode{Mode: csipb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
			AccessType: &csipb.VolumeCapability_Mount{Mount: &csipb.VolumeCapability_MountVolume{}},
		}},
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func (d *driver) create(name string, change ...func(*csipb.CreateVolumeRequest)) *csipb.Volume {
	d.t.Helper()
	r, err := d.ctl.CreateVolume(d.t.Context(), volumeRequest(name, change...))
	if err != nil {
		d.t.Fatalf("create %s: %v", name, err)
	}
	return r.GetVolume()
}

const threeZones = `
node: {segments: {topology.pool.csi.berth.dev/zone: zone-a}}
pools:
- {segments: {topology.pool.csi.berth.dev/zone: zone-a}, size: 100Gi}
- {segments: {topology.pool.csi.berth.dev/zone: zone-b}, size: 200Gi}
- {segments: {topology.pool.csi.berth.dev/zone: zone-c}, size: 100Gi, maxVolumeSize: 50Gi}
`
