package calls

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func request(terms int) *csipb.CreateVolumeRequest {
	r := &csipb.CreateVolumeRequest{
		Name: "pvc \"1\"\n", CapacityRange: &csipb.CapacityRange{RequiredBytes: 5},
		Parameters: map[string]string{"a": "b"}, Secrets: map[string]string{"password": "hunter2"},
		AccessibilityRequirements: &csipb.TopologyRequirement{},
	}
	for i := range terms {
		t := &csipb.Topology{Segments: map[string]string{"example.com/zone": fmt.Sprintf("z%d", i), "odd \"key\"": "ü\\"}}
		r.AccessibilityRequirements.Requisite = append(r.AccessibilityRequirements.Requisite, t)
		r.AccessibilityRequirements.Preferred = append(r.AccessibilityRequirements.Preferred, t)
	}
	return r
}

// TestRender covers the ordinary way and the one for long requirements: both give protojson of the request without secrets.
func TestRender(t *testing.T) {
	for _, terms := range []int{0, 1, 100} {
		in := request(terms)
		raw := render(in)
		if strings.Contains(string(raw), "hunter2") || !strings.Contains(string(raw), `"password":"***stripped***"`) {
			t.Errorf("%d terms: the secret is not stripped: %s", terms, raw)
		}
		if !strings.Contains(string(raw), `"capacity_range":{"required_bytes":"5"}`) {
			t.Errorf("%d terms: not protojson with proto names: %s", terms, raw)
		}
		var out csipb.CreateVolumeRequest
		if err := protojson.Unmarshal(raw, &out); err != nil {
			t.Fatalf("%d terms: %v: %s", terms, err, raw)
		}
		want := proto.Clone(in).(*csipb.CreateVolumeRequest)
		want.Secrets["password"] = stripped
		if diff := cmp.Diff(want, &out, protocmp.Transform()); diff != "" {
			t.Errorf("%d terms (-want +got):\n%s", terms, diff)
		}
		if in.Secrets["password"] != "hunter2" {
			t.Error("the request itself was changed")
		}
	}
}

func TestLinesFromManyCalls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	began := time.Now().UTC()
	for range 100 {
		wg.Go(func() {
			for range 20 {
				l.Add(Call{
					Method: "CreateVolume", Request: request(0), Code: codes.NotFound, Error: "no \"such\" thing",
					Started: began, Ended: began.Add(1500 * time.Millisecond), Fault: "error",
				})
			}
		})
	}
	wg.Wait()
	l.Add(Call{Method: "Probe", Request: &csipb.ProbeRequest{}, Response: &csipb.ProbeResponse{}, Started: began, Ended: began})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Count{{"CreateVolume", "NotFound", 2000}, {"Probe", "OK", 1}}, l.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	var n int64
	for in.Scan() {
		n++
		var e line
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			t.Fatalf("line %d: %v: %s", n, err, in.Text())
		}
		if e.Seq != n || e.PID != os.Getpid() {
			t.Fatalf("line %d has seq %d and pid %d", n, e.Seq, e.PID)
		}
		if n == 1 && (e.Code != "NotFound" || e.Error != "no \"such\" thing" || e.Seconds != 1.5 || e.Fault != "error" || string(e.Response) != "null" || !e.Time.Equal(began.Add(1500*time.Millisecond))) {
			t.Errorf("line 1 is %s", in.Text())
		}
	}
	if n != 2001 {
		t.Errorf("%d lines", n)
	}
}
