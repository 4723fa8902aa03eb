package command_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/e2e/driver/internal/admin"
)

// TestKilledInTheMiddle kills a process under load, several times, and checks after each that what it has acknowledged is
// there, what it has acknowledged as deleted is not, and that no name has two volumes.
func TestKilledInTheMiddle(t *testing.T) {
	p := newPlace(t, threeZones)
	var mu sync.Mutex
	acknowledged := map[string]string{} // id by name
	deleted := map[string]bool{}
	for round := range 3 {
		d, kill := start(t, p)
		d.check(acknowledged, deleted)
		d.admin("GET", "/calls", nil, nil) // brings the call log up to date; a kill costs it what is younger than 100 ms
		var wg sync.WaitGroup
		for w := range 10 {
			wg.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("v-%d-%d-%d", round, w, i)
					r, err := d.ctl.CreateVolume(t.Context(), volumeRequest(name, sized(1)))
					if err != nil {
						return
					}
					mu.Lock()
					acknowledged[name] = r.GetVolume().GetVolumeId()
					enough := len(acknowledged) >= 150*(round+1)
					mu.Unlock()
					if enough {
						kill() // in the middle of what the others are doing
					}
					if i%3 == 0 {
						mu.Lock()
						delete(acknowledged, name) // unknown until it is acknowledged
						mu.Unlock()
						if _, err := d.ctl.DeleteVolume(t.Context(), &csipb.DeleteVolumeRequest{VolumeId: r.GetVolume().GetVolumeId()}); err != nil {
							return
						}
						mu.Lock()
						deleted[r.GetVolume().GetVolumeId()] = true
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
	}
	d, _ := start(t, p)
	d.check(acknowledged, deleted)
	if entries, err := os.ReadDir(p.path("state/volumes")); err != nil || len(entries) != len(d.volumes()) {
		t.Errorf("%d volumes have %d directories (%v)", len(d.volumes()), len(entries), err)
	}
	pids := map[int]bool{}
	for _, c := range d.logged(t, "Probe") {
		pids[c.PID] = true
	}
	if len(pids) < 3 {
		t.Errorf("the call log knows the processes %v", pids)
	}
}

func (d *driver) check(acknowledged map[string]string, deleted map[string]bool) {
	d.t.Helper()
	got := map[string]string{}
	for _, v := range d.volumes() {
		if _, twice := got[v.Name]; twice {
			d.t.Errorf("two volumes of name %s", v.Name)
		}
		got[v.Name] = v.ID
		if deleted[v.ID] {
			d.t.Errorf("deleted volume %s is back", v.ID)
		}
	}
	for name, id := range acknowledged {
		if got[name] != id {
			d.t.Errorf("acknowledged volume %s of %s is lost (there is %q)", id, name, got[name])
		}
	}
}

func TestStateAfterACleanRestart(t *testing.T) {
	p := newPlace(t, threeZones)
	d := serve(t, p)
	v := d.create("pvc-1", mutable("iops", "1"), parameter("tier", "fast"))
	snap, err := d.ctl.CreateSnapshot(t.Context(), &csipb.CreateSnapshotRequest{Name: "snap", SourceVolumeId: v.GetVolumeId()})
	if err != nil {
		t.Fatal(err)
	}
	d.create("clone", fromSnapshot(snap.GetSnapshot().GetSnapshotId()))
	if _, err := d.ctl.ControllerPublishVolume(t.Context(), &csipb.ControllerPublishVolumeRequest{
		VolumeId: v.GetVolumeId(), NodeId: "node-1", VolumeCapability: volumeRequest("").GetVolumeCapabilities()[0],
	}); err != nil {
		t.Fatal(err)
	}
	state := func(d *driver) (all []any) {
		var snapshots []admin.Snapshot
		var pools []admin.Pool
		d.admin("GET", "/snapshots", nil, &snapshots)
		d.admin("GET", "/pools", nil, &pools)
		return []any{d.volumes(), snapshots, pools}
	}
	before := state(d)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.path("csi.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if diff := cmp.Diff(before, state(serve(t, p))); diff != "" {
		t.Errorf("state (-before +after):\n%s", diff)
	}
}

func TestStartUpErrorsAreOneLine(t *testing.T) {
	p := newPlace(t, threeZones)
	d := serve(t, p)
	p.write(t, "bad.yaml", "pools: [{segments: {z: a}, size: lots}]\n")
	p.write(t, "file", "")
	flags := func(change ...string) []string {
		args := []string{"serve", "--config", p.path("config.yaml"), "--endpoint", "unix://" + p.path("new.sock"), "--state", p.path("new")}
		return append(args, change...)
	}
	for want, args := range map[string][]string{
		`required flag(s) "config", "endpoint", "state" not set`:                          {"serve"},
		"configuration " + p.path("bad.yaml") + ": pools[0].size: \"lots\" is not a size": flags("--config", p.path("bad.yaml")),
		"read configuration: open " + p.path("none.yaml"):                                 flags("--config", p.path("none.yaml")),
		"--endpoint: \"tcp://localhost:1\" is not a unix socket":                          flags("--endpoint", "tcp://localhost:1"),
		"--endpoint: the path of a unix socket has at most 107 bytes":                     flags("--endpoint", "unix:///"+strings.Repeat("x", 120)),
		"--endpoint: " + p.path("file") + " exists and is not a socket":                   flags("--endpoint", "unix://"+p.path("file")),
		"--endpoint: somebody serves " + p.path("csi.sock") + " already":                  flags("--endpoint", "unix://"+p.path("csi.sock")),
		"--admin: is the same socket as --endpoint":                                       flags("--admin", "unix://"+p.path("new.sock")),
		"state directory " + p.path("state") + " is in use":                               flags("--state", p.path("state")),
		"open call log: ": flags("--calls", p.path("none/calls")),
		"unknown flag":    flags("--what"),
	} {
		_, err := run(args...)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v:\n got %v\nwant %s in one line", args, err, want)
		}
	}
	d.create("still-serving")
}

func TestCommands(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	socket := "unix://" + d.path("admin.sock")
	v := d.create("pvc-1", requisite(seg("zone-a")))
	if _, err := d.ctl.CreateSnapshot(t.Context(), &csipb.CreateSnapshotRequest{Name: "snap-of-1", SourceVolumeId: v.GetVolumeId()}); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string][]string{
		"fault --method CreateVolume --action error --code NotFound --match ^x --times 3 --latency 1ms": nil,
		"resize-pool --segments topology.pool.csi.berth.dev/zone=zone-b --size 7Gi":                     nil,
	} {
		if out, err := run(append(strings.Fields(args), "--admin", socket)...); err != nil || out != "" {
			t.Errorf("%s: %q (%v), want %v", args, out, err, want)
		}
	}
	if _, err := d.ctl.CreateVolume(t.Context(), volumeRequest("xyz")); status.Code(err) != codes.NotFound {
		t.Errorf("the fault does not work: %v", err)
	}
	for args, want := range map[string][]string{
		"volumes":          {"NAME", "pvc-1", v.GetVolumeId(), "1Gi", "zone=zone-a"},
		"volumes --json":   {`"capacityBytes":1073741824`, `"contentSource":null`, `"publishedTo":[]`},
		"snapshots":        {"snap-of-1", v.GetVolumeId()},
		"snapshots --json": {`"sourceVolumeId":"` + v.GetVolumeId()},
		"pools":            {"zone=zone-b", "7Gi", "50Gi"},
		"pools --json":     {`"maxVolumeSizeBytes":53687091200`},
		"calls":            {"CreateVolume", "NotFound", "OK"},
		"calls --json":     {`{"method":"CreateSnapshot","code":"OK","count":1}`},
		"faults":           {"CreateVolume", "error", "NotFound", "^x", "1ms", "3"},
		"faults --json":    {`"used":1`},
	} {
		out, err := run(append(strings.Fields(args), "--admin", socket)...)
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		for _, part := range want {
			if !strings.Contains(out, part) {
				t.Errorf("%s: no %q in\n%s", args, part, out)
			}
		}
	}
	if _, err := run("faults", "--clear", "--admin", socket); err != nil {
		t.Error(err)
	}
	d.create("xyz")
	if _, err := run("volumes", "--admin", "unix://"+d.path("none.sock")); err == nil || !strings.Contains(err.Error(), "none.sock") {
		t.Errorf("nobody there: %v", err)
	}
}
