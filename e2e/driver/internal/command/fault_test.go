package command_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/e2e/driver/internal/admin"
	"github.com/berth-csi/berth/e2e/driver/internal/calls"
	"github.com/berth-csi/berth/e2e/driver/internal/fault"
)

// TestFaults sends a call into each fault and then the same call without it: the volume is there or not, as the fault
// says, the second call finds it or makes it, and there is never a second one.
func TestFaults(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	origin := d.create("origin")
	for _, c := range []struct {
		fault string
		code  codes.Code
		done  bool
		check func(*csipb.CreateVolumeResponse) bool
	}{
		{`{"method":"CreateVolume","action":"error","code":"Internal","message":"no luck"}`, codes.Internal, false, nil},
		{`{"method":"*","action":"error","code":"DEADLINE_EXCEEDED"}`, codes.DeadlineExceeded, false, nil},
		{`{"method":"CreateVolume","action":"hang"}`, codes.DeadlineExceeded, false, nil},
		{`{"method":"CreateVolume","latency":"1m"}`, codes.DeadlineExceeded, false, nil},
		{`{"method":"CreateVolume","action":"late","latency":"1m"}`, codes.DeadlineExceeded, true, nil},
		{`{"method":"CreateVolume","action":"late","latency":"1ms"}`, codes.OK, true, nil},
		{`{"method":"CreateVolume","action":"lost","code":"Aborted"}`, codes.Aborted, true, nil},
		{`{"method":"CreateVolume","action":"drop"}`, codes.Unavailable, true, nil},
		{`{"method":"CreateVolume","action":"drop-before"}`, codes.Unavailable, false, nil},
		{`{"method":"CreateVolume","action":"smaller"}`, codes.OK, true, func(r *csipb.CreateVolumeResponse) bool { return r.GetVolume().GetCapacityBytes() == gi/2 }},
		{`{"method":"CreateVolume","action":"no-source"}`, codes.OK, true, func(r *csipb.CreateVolumeResponse) bool { return r.GetVolume().GetContentSource() == nil }},
		{`{"method":"CreateVolume","action":"empty-volume-id"}`, codes.OK, true, func(r *csipb.CreateVolumeResponse) bool {
			return r.GetVolume() != nil && r.GetVolume().GetVolumeId() == ""
		}},
		{`{"method":"CreateVolume","action":"nil-volume"}`, codes.OK, true, func(r *csipb.CreateVolumeResponse) bool { return r.GetVolume() == nil }},
	} {
		t.Run(c.fault, func(t *testing.T) {
			before := len(d.volumes())
			d.admin("PUT", "/faults", json.RawMessage(c.fault), nil)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if c.code == codes.DeadlineExceeded {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			}
			defer cancel()
			req := volumeRequest(t.Name(), from(origin.GetVolumeId()))
			resp, err := d.ctl.CreateVolume(ctx, req)
			if status.Code(err) != c.code {
				t.Errorf("got %v, want %s", err, c.code)
			}
			if c.check != nil && !c.check(resp) {
				t.Errorf("the answer is %v", resp)
			}
			if strings.Contains(c.fault, "message") && status.Convert(err).Message() != "no luck" {
				t.Errorf("message %q", status.Convert(err).Message())
			}
			want := before
			if c.done {
				want++
			}
			if got := len(d.volumes()); got != want {
				t.Errorf("there are %d volumes, want %d", got, want)
			}
			d.admin("DELETE", "/faults", nil, nil)
			d.ready()
			again := d.createEventually(req)
			if again.GetVolume().GetCapacityBytes() != gi || again.GetVolume().GetContentSource() == nil || again.GetVolume().GetVolumeId() == "" {
				t.Errorf("without the fault the answer is %v", again)
			}
			if got := len(d.volumes()); got != before+1 {
				t.Errorf("there are %d volumes in the end, want %d", got, before+1)
			}
		})
	}
}

// createEventually repeats a call as long as it is answered that an operation is pending: a caller that gives up may come
// back before the driver has noticed.
func (d *driver) createEventually(r *csipb.CreateVolumeRequest) *csipb.CreateVolumeResponse {
	d.t.Helper()
	for {
		resp, err := d.ctl.CreateVolume(d.t.Context(), r)
		if status.Code(err) == codes.Aborted {
			continue
		}
		if err != nil {
			d.t.Fatal(err)
		}
		return resp
	}
}

func TestLostAndDroppedCallsAreOnFileAtOnce(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	d.fault(`{"method":"CreateVolume","match":"^dropped$","action":"drop"}`)
	d.fault(`{"method":"CreateVolume","match":"^lost$","action":"lost"}`)
	secret := func(r *csipb.CreateVolumeRequest) { r.Secrets = map[string]string{"key": "hunter2"} }
	for i, name := range []string{"lost", "dropped"} {
		if _, err := d.ctl.CreateVolume(t.Context(), volumeRequest(name, secret)); status.Code(err) != codes.Unavailable {
			t.Fatalf("%s: %v", name, err)
		}
		list := d.logged(t, "CreateVolume")
		if len(list) != i+1 {
			t.Fatalf("%s: %d calls are on file", name, len(list))
		}
		c := list[i]
		id := d.volumes()[i].ID
		if c.Code != "Unavailable" || !strings.HasPrefix(name, c.Fault) || !strings.Contains(string(c.Response), id) ||
			!strings.Contains(string(c.Request), `"key":"***stripped***"`) || strings.Contains(string(c.Request), "hunter2") {
			t.Errorf("%s: logged as %+v", name, c)
		}
	}
	// The connection was dropped under this client only: it comes back by itself.
	d.ready()
	var counts []calls.Count
	d.admin("GET", "/calls", nil, &counts)
	if counts[0] != (calls.Count{Method: "CreateVolume", Code: "Unavailable", Count: 2}) {
		t.Errorf("counts %v", counts)
	}
}

func TestProbeIsNotReadyForAWhile(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	d.fault(`{"method":"Probe","action":"not-ready","times":2}`)
	var got []bool
	for range 3 {
		r, err := d.ident.Probe(t.Context(), &csipb.ProbeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.GetReady().GetValue())
	}
	if got[0] || got[1] || !got[2] {
		t.Errorf("ready: %v", got)
	}
	var used []fault.Usage
	d.admin("GET", "/faults", nil, &used)
	if len(used) != 1 || used[0].Used != 2 || used[0].Seen != 3 {
		t.Errorf("faults %+v", used)
	}
}

// TestOneCallAtATime holds a creation back and sends others meanwhile.
func TestOneCallAtATime(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	v := d.create("other")
	d.fault(`{"method":"CreateVolume","match":"^slow$","action":"hang","times":1}`)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := d.ctl.CreateVolume(ctx, volumeRequest("slow", from(v.GetVolumeId()))); status.Code(err) != codes.Canceled {
			t.Errorf("the slow call: %v", err)
		}
	})
	d.eventually(func() bool {
		var used []fault.Usage
		d.admin("GET", "/faults", nil, &used)
		return used[0].Used == 1
	})
	if _, err := d.ctl.CreateVolume(t.Context(), volumeRequest("slow")); status.Code(err) != codes.Aborted {
		t.Errorf("the same name: %v", err)
	}
	if _, err := d.ctl.DeleteVolume(t.Context(), &csipb.DeleteVolumeRequest{VolumeId: v.GetVolumeId()}); status.Code(err) != codes.Aborted {
		t.Errorf("deleting its source: %v", err)
	}
	d.create("another clone", from(v.GetVolumeId()))
	cancel()
	wg.Wait()
	d.createEventually(volumeRequest("slow"))
	if n := len(d.volumes()); n != 3 {
		t.Errorf("there are %d volumes", n)
	}
}

func (d *driver) eventually(ok func() bool) {
	d.t.Helper()
	timeout, tick := time.After(20*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			d.t.Fatal("it does not happen")
		}
	}
}

func TestStoppingEndsHangingCalls(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	d.fault(`{"method":"CreateVolume","match":"hangs","action":"hang"}`)
	d.fault(`{"method":"CreateVolume","match":"slow","latency":"300ms"}`)
	results := make(chan error, 2)
	for _, name := range []string{"hangs", "slow"} {
		go func() {
			_, err := d.ctl.CreateVolume(context.Background(), volumeRequest(name))
			results <- err
		}()
	}
	d.eventually(func() bool {
		var used []fault.Usage
		d.admin("GET", "/faults", nil, &used)
		return used[0].Used == 1 && used[1].Used == 1
	})
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	// One was made to hang and is let go, the other was only slow and is finished.
	if a, b := <-results, <-results; status.Code(a) != codes.Unavailable || b != nil {
		t.Errorf("the calls ended with %v and %v", a, b)
	}
	if list := d.logged(t, "CreateVolume"); len(list) != 2 {
		t.Errorf("logged are %v", list)
	}
}

func TestAdminRejects(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	for path, body := range map[string]any{
		"/faults": map[string]any{"method": "CreateVolume", "action": "explode"},
		"/pools":  []map[string]any{{"segments": map[string]string{zone: "zone-a"}, "size": "big"}},
	} {
		if err := d.tryAdmin("PUT", path, body, nil); err == nil || !strings.Contains(err.Error(), "PUT "+path+": ") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := d.tryAdmin("PUT", "/faults", strings.Repeat("x", 5<<20), nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge body: %v", err)
	}
	var list []admin.Pool
	d.admin("GET", "/pools", nil, &list)
	if len(list) != 3 || list[0].SizeBytes != 100*gi {
		t.Errorf("pools %+v", list)
	}
}
