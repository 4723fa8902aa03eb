package csi

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"github.com/kubernetes-csi/csi-lib-utils/metrics"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// scripted is a driver over a real socket whose answers a test writes.
type scripted struct {
	csipb.UnimplementedIdentityServer
	csipb.UnimplementedControllerServer
	csipb.UnimplementedNodeServer
	probes     atomic.Int32
	probe      func(nth int32) (*csipb.ProbeResponse, error)
	name       string
	plugin     []csipb.PluginCapability_Service_Type
	controller []csipb.ControllerServiceCapability_RPC_Type
	create     func(context.Context, *csipb.CreateVolumeRequest) (*csipb.CreateVolumeResponse, error)
	infos      atomic.Int32
	info       func(nth int32) (*csipb.NodeGetInfoResponse, error) // nil: there is no node service
	capacity   func(context.Context, *csipb.GetCapacityRequest) (*csipb.GetCapacityResponse, error)
}

func (d *scripted) Probe(context.Context, *csipb.ProbeRequest) (*csipb.ProbeResponse, error) {
	nth := d.probes.Add(1)
	if d.probe == nil {
		return &csipb.ProbeResponse{}, nil
	}
	return d.probe(nth)
}

func (d *scripted) GetPluginInfo(context.Context, *csipb.GetPluginInfoRequest) (*csipb.GetPluginInfoResponse, error) {
	return &csipb.GetPluginInfoResponse{Name: d.name}, nil
}

func (d *scripted) GetPluginCapabilities(context.Context, *csipb.GetPluginCapabilitiesRequest) (*csipb.GetPluginCapabilitiesResponse, error) {
	answer := &csipb.GetPluginCapabilitiesResponse{Capabilities: []*csipb.PluginCapability{nil, {}}} // what a careless driver sends
	for _, c := range d.plugin {
		answer.Capabilities = append(answer.Capabilities, &csipb.PluginCapability{
			Type: &csipb.PluginCapability_Service_{Service: &csipb.PluginCapability_Service{Type: c}}})
	}
	return answer, nil
}

func (d *scripted) ControllerGetCapabilities(context.Context, *csipb.ControllerGetCapabilitiesRequest) (*csipb.ControllerGetCapabilitiesResponse, error) {
	answer := &csipb.ControllerGetCapabilitiesResponse{}
	for _, c := range d.controller {
		answer.Capabilities = append(answer.Capabilities, &csipb.ControllerServiceCapability{
			Type: &csipb.ControllerServiceCapability_Rpc{Rpc: &csipb.ControllerServiceCapability_RPC{Type: c}}})
	}
	return answer, nil
}

func (d *scripted) CreateVolume(ctx context.Context, r *csipb.CreateVolumeRequest) (*csipb.CreateVolumeResponse, error) {
	return d.create(ctx, r)
}

func (d *scripted) GetCapacity(ctx context.Context, r *csipb.GetCapacityRequest) (*csipb.GetCapacityResponse, error) {
	return d.capacity(ctx, r)
}

func (d *scripted) NodeGetInfo(context.Context, *csipb.NodeGetInfoRequest) (*csipb.NodeGetInfoResponse, error) {
	return d.info(d.infos.Add(1))
}

// dial starts the driver and connects to it.
func dial(t *testing.T, d *scripted) *grpc.ClientConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "csi.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	csipb.RegisterIdentityServer(server, d)
	csipb.RegisterControllerServer(server, d)
	if d.info != nil {
		csipb.RegisterNodeServer(server, d)
	}
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	t.Cleanup(server.Stop)
	conn, err := Dial(path, metrics.NewCSIMetricsManagerForSidecar(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func complete() *scripted {
	return &scripted{
		name:       "driver.example",
		plugin:     []csipb.PluginCapability_Service_Type{csipb.PluginCapability_Service_CONTROLLER_SERVICE, csipb.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS},
		controller: []csipb.ControllerServiceCapability_RPC_Type{csipb.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME, csipb.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER},
	}
}

func TestIdentify(t *testing.T) {
	got, err := Identify(t.Context(), dial(t, complete()), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Driver{Name: "driver.example", Topology: true, SingleNodeMultiWriter: true}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatADriverCanDo(t *testing.T) {
	for capability, want := range map[csipb.ControllerServiceCapability_RPC_Type]Driver{
		csipb.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER: {SingleNodeMultiWriter: true},
		csipb.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME: {PublishUnpublish: true},
		csipb.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT:   {Snapshots: true},
		csipb.ControllerServiceCapability_RPC_CLONE_VOLUME:             {Clones: true},
		csipb.ControllerServiceCapability_RPC_MODIFY_VOLUME:            {Modify: true},
		csipb.ControllerServiceCapability_RPC_GET_CAPACITY:             {Capacity: true},
		csipb.ControllerServiceCapability_RPC_EXPAND_VOLUME:            {},
	} {
		d := complete()
		d.plugin = []csipb.PluginCapability_Service_Type{csipb.PluginCapability_Service_CONTROLLER_SERVICE}
		d.controller = []csipb.ControllerServiceCapability_RPC_Type{csipb.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME, capability}
		got, err := Identify(t.Context(), dial(t, d), time.Second)
		want.Name = "driver.example"
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", capability, err, diff)
		}
	}
}

func TestIdentifyWaitsForADriverThatIsNotReady(t *testing.T) {
	d := complete()
	d.probe = func(nth int32) (*csipb.ProbeResponse, error) {
		switch nth {
		case 1:
			return &csipb.ProbeResponse{Ready: wrapperspb.Bool(false)}, nil
		case 2:
			return nil, status.Error(codes.FailedPrecondition, "still starting")
		}
		return &csipb.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
	}
	if _, err := Identify(t.Context(), dial(t, d), time.Second); err != nil {
		t.Fatal(err)
	}
	if got := d.probes.Load(); got != 3 {
		t.Errorf("%d probes, want 3", got)
	}
}

func TestIdentifyGivesUpWithWhatItSawLast(t *testing.T) {
	d := complete()
	d.probe = func(int32) (*csipb.ProbeResponse, error) { return nil, status.Error(codes.Internal, "no backend") }
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Identify(ctx, dial(t, d), time.Second)
	if err == nil || !strings.Contains(err.Error(), "no backend") {
		t.Errorf("got %v, want an error with what the driver said", err)
	}
	conn, err := Dial(filepath.Join(t.TempDir(), "nobody"), metrics.NewCSIMetricsManagerForSidecar(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Identify(ctx, conn, time.Second); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v, want an error that says the socket is not there", err)
	}
}

func TestIdentifyRefusesADriverThatCannotServe(t *testing.T) {
	tests := map[string]struct {
		change func(*scripted)
		want   string
	}{
		"no name":                 {func(d *scripted) { d.name = "" }, "without a name"},
		"no controller service":   {func(d *scripted) { d.plugin = nil }, "CONTROLLER_SERVICE"},
		"no CREATE_DELETE_VOLUME": {func(d *scripted) { d.controller = nil }, "CREATE_DELETE_VOLUME"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := complete()
			tt.change(d)
			_, err := Identify(t.Context(), dial(t, d), time.Second)
			if !errors.Is(err, ErrNotForUs) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrNotForUs with %q", err, tt.want)
			}
		})
	}
}

func TestCreateVolumeDistrustsItsAnswer(t *testing.T) {
	tests := map[string]struct {
		answer *csipb.CreateVolumeResponse
		err    error
		want   Class
	}{
		"a volume":         {&csipb.CreateVolumeResponse{Volume: &csipb.Volume{VolumeId: "v"}}, nil, Done},
		"no volume":        {&csipb.CreateVolumeResponse{}, nil, Unknown},
		"an empty id":      {&csipb.CreateVolumeResponse{Volume: &csipb.Volume{CapacityBytes: 1}}, nil, Unknown},
		"a nil answer":     {nil, nil, Unknown},
		"a final error":    {nil, status.Error(codes.Internal, "x"), Failed},
		"an unknown error": {nil, status.Error(codes.Aborted, "x"), Unknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := complete()
			d.create = func(context.Context, *csipb.CreateVolumeRequest) (*csipb.CreateVolumeResponse, error) {
				return tt.answer, tt.err
			}
			volume, err := NewController(dial(t, d), time.Second, 10).CreateVolume(t.Context(), &csipb.CreateVolumeRequest{Name: "n"})
			got := Classify(CreateVolume, err).Class
			if tt.answer == nil && tt.err == nil {
				// gRPC itself refuses to send nil; what matters is that it does not count as a volume.
				if got == Done {
					t.Errorf("got %s", got)
				}
				return
			}
			if got != tt.want || (volume != nil) != (tt.want == Done) {
				t.Errorf("got %s and volume %v, want %s", got, volume, tt.want)
			}
		})
	}
}

func TestCallsEndWithTheirTimeout(t *testing.T) {
	d := complete()
	d.create = func(ctx context.Context, _ *csipb.CreateVolumeRequest) (*csipb.CreateVolumeResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, err := NewController(dial(t, d), 50*time.Millisecond, 10).CreateVolume(t.Context(), &csipb.CreateVolumeRequest{Name: "n"})
	if got := Classify(CreateVolume, err); got.Class != Unknown || got.Code != codes.DeadlineExceeded {
		t.Errorf("got %s %s", got.Class, got.Code)
	}
}

// A driver knows nothing of a call that waits for its turn.
func TestACallIsSentWhenItsTurnHasCome(t *testing.T) {
	d := complete()
	arrived, answer := make(chan struct{}), make(chan struct{})
	d.create = func(context.Context, *csipb.CreateVolumeRequest) (*csipb.CreateVolumeResponse, error) {
		arrived <- struct{}{}
		<-answer
		return &csipb.CreateVolumeResponse{Volume: &csipb.Volume{VolumeId: "h"}}, nil
	}
	controller := NewController(dial(t, d), time.Minute, 1)
	sent, ended := make(chan string, 2), make(chan error, 2)
	call := func(name string) {
		_, err := controller.CreateVolume(WhenSent(t.Context(), func() { sent <- name }), &csipb.CreateVolumeRequest{Name: name})
		ended <- err
	}
	go call("first")
	<-arrived
	go call("second")
	for waiting := 0; waiting == 0; runtime.Gosched() {
		controller.Creates.mu.Lock()
		waiting = len(controller.Creates.waiting)
		controller.Creates.mu.Unlock()
	}
	if got := len(sent); got != 1 {
		t.Errorf("%d calls were sent, and the driver knows of one", got)
	}
	answer <- struct{}{}
	<-arrived
	answer <- struct{}{}
	if err := errors.Join(<-ended, <-ended); err != nil || <-sent != "first" || <-sent != "second" {
		t.Errorf("both were not sent in turn: %v", err)
	}
	Sent(t.Context()) // nobody asked
}

func TestTheConnectionComesBackWithTheDriver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "csi.sock")
	start := func() *grpc.Server {
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		d := complete()
		csipb.RegisterIdentityServer(server, d)
		csipb.RegisterControllerServer(server, d)
		go server.Serve(listener) //nolint:errcheck // ends with Stop
		return server
	}
	first := start()
	conn, err := Dial(path, metrics.NewCSIMetricsManagerForSidecar(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := Identify(t.Context(), conn, time.Second); err != nil {
		t.Fatal(err)
	}
	back := make(chan struct{}, 1)
	go WatchConnection(t.Context(), conn, func() { back <- struct{}{} })
	first.Stop()
	defer start().Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := Identify(ctx, conn, time.Second); err != nil {
		t.Errorf("the connection stayed broken: %v", err)
	}
	select {
	case <-back:
	case <-ctx.Done():
		t.Error("nobody was told that the driver is back")
	}
}
