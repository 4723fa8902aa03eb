package command_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/testing/protocmp"
	registrationpb "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/berth-csi/berth/e2e/driver/internal/command"
)

func TestFlagsThatDoNotGoTogetherAreRefused(t *testing.T) {
	for name, row := range map[string]struct {
		config string
		change func(*command.Options)
		says   string
	}{
		"a mode that is none":                   {threeZones, func(o *command.Options) { o.Mode = "both" }, `--mode: "both" is not one of`},
		"a controller that mounts":              {threeZones, func(o *command.Options) { o.Mode, o.Mount = "controller", true }, "--mount: is for the node"},
		"a controller that registers":           {threeZones, func(o *command.Options) { o.Mode, o.Registration = "controller", "unix:///r.sock" }, "--registration-socket: is for"},
		"registering a socket without its path": {threeZones, func(o *command.Options) { o.Registration = "unix:///r.sock" }, "--kubelet-endpoint:"},
		"mounting what has no data":             {threeZones + "data: none\n", func(o *command.Options) { o.Mount = true }, `data is "none"`},
		"mounting files as file systems":        {threeZones + "data: sparse\n", func(o *command.Options) { o.Mode = "node" }, `data is "sparse"`},
		"a node without a name":                 {threeZones, func(o *command.Options) { o.NodeID = "" }, "--node-id: is empty"},
		"a segment that is none":                {threeZones, func(o *command.Options) { o.NodeSegments = map[string]string{"zone": "a b"} }, `--node-segments[zone]: "a b" is not`},
		"segments where there are none":         {"topology: false\npools: [{size: 1Gi}]\n", func(o *command.Options) { o.NodeSegments = map[string]string{"zone": "a"} }, "--node-segments: topology is false"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newPlace(t, row.config).options()
			row.change(&o)
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // what should not have started ends at once
			err := command.Serve(ctx, o, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v: it should say %q", err, row.says)
			}
		})
	}
}

// TestTheKubeletFindsTheDriver plays the kubelet.
func TestTheKubeletFindsTheDriver(t *testing.T) {
	p := newPlace(t, threeZones)
	d := serve(t, p, func(o *command.Options) {
		o.Mode, o.NodeSegments = "node", map[string]string{zone: "zone-c"}
		o.Registration, o.KubeletEndpoint = "unix://"+p.path("reg.sock"), "/var/lib/kubelet/plugins/pool/csi.sock"
	})
	conn, err := grpc.NewClient("unix://"+p.path("reg.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	good(t, err)
	defer conn.Close()
	kubelet := registrationpb.NewRegistrationClient(conn)
	info, err := kubelet.GetInfo(t.Context(), &registrationpb.InfoRequest{})
	good(t, err)
	want := &registrationpb.PluginInfo{
		Type: "CSIPlugin", Name: "pool.csi.berth.dev", Endpoint: "/var/lib/kubelet/plugins/pool/csi.sock", SupportedVersions: []string{"1.0.0"},
	}
	if diff := cmp.Diff(want, info, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for _, registered := range []bool{false, true} {
		_, err := kubelet.NotifyRegistrationStatus(t.Context(), &registrationpb.RegistrationStatus{PluginRegistered: registered, Error: "why"})
		good(t, err)
	}
	node, err := d.node.NodeGetInfo(t.Context(), &csipb.NodeGetInfoRequest{})
	good(t, err)
	if diff := cmp.Diff(&csipb.NodeGetInfoResponse{NodeId: "node-1", AccessibleTopology: seg("zone-c")}, node, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	_, err = d.ctl.CreateVolume(t.Context(), volumeRequest("v"))
	hasCode(t, err, codes.Unimplemented)
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.path("reg.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the kubelet goes on calling, for the socket is left: %v", err)
	}
}

func TestAControllerServesNoNode(t *testing.T) {
	d := serve(t, newPlace(t, threeZones), func(o *command.Options) { o.Mode = "controller" })
	d.create("v")
	_, err := d.node.NodeGetInfo(t.Context(), &csipb.NodeGetInfoRequest{})
	hasCode(t, err, codes.Unimplemented)
}

// TestFaultsStrikeNodesToo: a node plugin has an admin socket, but no volumes to tell of.
func TestFaultsStrikeNodesToo(t *testing.T) {
	d := serve(t, newPlace(t, threeZones), func(o *command.Options) { o.Mode = "node" })
	d.fault(`{"method":"NodeStageVolume","action":"error","code":"ResourceExhausted"}`)
	_, err := d.node.NodeStageVolume(t.Context(), &csipb.NodeStageVolumeRequest{VolumeId: "v"})
	hasCode(t, err, codes.ResourceExhausted)
	if err := d.tryAdmin("GET", "/volumes", nil, nil); err == nil {
		t.Error("a node plugin tells of volumes")
	}
}
