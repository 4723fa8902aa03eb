package provisioner

import (
	"fmt"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
)

func sketchStep(step Step) string {
	switch s := step.(type) {
	case Accept:
		return "accept " + s.Volume.GetVolumeId()
	case Repeat:
		return "repeat: " + s.Message
	case Reject:
		return "reject " + s.Volume.GetVolumeId() + ": " + s.Message
	case Fail:
		return fmt.Sprintf("fail, infeasible=%v: %s", s.Infeasible, s.Message)
	case Reschedule:
		return "reschedule: " + s.Message
	}
	return "nothing"
}

func TestConclude(t *testing.T) {
	done := func(id string, bytes int64) Result {
		return Result{Volume: &csipb.Volume{VolumeId: id, CapacityBytes: bytes}}
	}
	is := func(class csi.Class, code codes.Code) Result {
		return Result{Outcome: csi.Outcome{Class: class, Code: code, Message: "words"}}
	}
	scheduled := func(a *Attempt) { a.SelectedNode = "node-1" }
	noTopology := testSettings()
	noTopology.Driver.Topology = false
	tests := map[string]struct {
		settings Settings
		attempt  *Attempt
		result   Result
		want     string
	}{
		"a volume of the size asked for":      {testSettings(), makeAttempt(), done("h", 1<<30), "accept h"},
		"a larger volume":                     {testSettings(), makeAttempt(), done("h", 2<<30), "accept h"},
		"a volume of unknown size":            {testSettings(), makeAttempt(), done("h", 0), "accept h"},
		"a smaller volume":                    {testSettings(), makeAttempt(), done("h", 1<<30-1), "reject h: the driver created a volume of 1073741823 bytes where at least 1073741824"},
		"unknown":                             {testSettings(), makeAttempt(), is(csi.Unknown, codes.Unavailable), "repeat: the outcome of CreateVolume is unknown, the same request will be sent again: Unavailable: words"},
		"no room, node selected":              {testSettings(), makeAttempt(scheduled), is(csi.Exhausted, codes.ResourceExhausted), `reschedule: no room for the volume near node "node-1"`},
		"no room, Immediate binding":          {testSettings(), makeAttempt(), is(csi.Exhausted, codes.ResourceExhausted), "fail, infeasible=false: the driver has no room"},
		"no room, node selected, no topology": {noTopology, makeAttempt(scheduled), is(csi.Exhausted, codes.ResourceExhausted), "fail, infeasible=false: the driver has no room"},
		"infeasible":                          {testSettings(), makeAttempt(scheduled), is(csi.Infeasible, codes.InvalidArgument), `fail, infeasible=true: the driver refuses the request as it is; make the claim again, or its class "fast"`},
		"any other failure, after a call of unknown outcome":  {testSettings(), makeAttempt(func(a *Attempt) { a.unsure = true }), is(csi.Failed, codes.PermissionDenied), "repeat: the driver failed, and whether an earlier call has created the volume is unknown"},
		"any other failure, of an attempt of a leader before": {testSettings(), makeAttempt(func(a *Attempt) { a.restored = true }), is(csi.Failed, codes.Internal), "repeat: the driver failed"},
		"infeasible, after a call of unknown outcome":         {testSettings(), makeAttempt(func(a *Attempt) { a.unsure = true }), is(csi.Infeasible, codes.InvalidArgument), "fail, infeasible=true"},
		"any other failure": {testSettings(), makeAttempt(scheduled), is(csi.Failed, codes.Internal), "fail, infeasible=false: the driver could not create the volume: Internal: words"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketchStep(Conclude(tt.settings, tt.attempt, tt.result)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestConcludeOnWhatTheDriverMade(t *testing.T) {
	const small = "reject h: the driver created a volume of "
	asked := func(a *Attempt) {
		a.Request.VolumeContentSource = csi.ContentSource("snapshot-handle", "")
		a.Source, _ = datasource.Resolve(makeClaim(fromSnapshot))
	}
	answer := func(changes ...func(*csipb.Volume)) *csipb.Volume {
		volume := &csipb.Volume{VolumeId: "h", CapacityBytes: 1 << 30}
		for _, change := range changes {
			change(volume)
		}
		return volume
	}
	bytes := func(n int64) func(*csipb.Volume) { return func(v *csipb.Volume) { v.CapacityBytes = n } }
	at := func(pairs ...string) func(*csipb.Volume) {
		return func(v *csipb.Volume) {
			v.AccessibleTopology = append(v.AccessibleTopology, &csipb.Topology{Segments: makeClass(parameters(pairs...)).Parameters})
		}
	}
	nothing := func(a *Attempt) { a.Request.CapacityRange.RequiredBytes = 0 }
	noTopology := testSettings()
	noTopology.Driver.Topology = false
	tests := map[string]struct {
		settings Settings
		attempt  *Attempt
		answer   *csipb.Volume
		want     string
	}{
		"of one byte":          {testSettings(), makeAttempt(), answer(bytes(1)), small + "1 bytes where at least 1073741824 were asked for"},
		"of less than nothing": {testSettings(), makeAttempt(), answer(bytes(-1)), small + "-1 bytes"},
		"of less than nothing, as little as was asked for": {testSettings(), makeAttempt(nothing), answer(bytes(-1)), small + "-1 bytes where at least 0"},
		"of any size, where none was asked for":            {testSettings(), makeAttempt(nothing), answer(bytes(1)), "accept h"},
		"without its source":                               {testSettings(), makeAttempt(asked), answer(), "reject h: the driver created a volume without saying that it was filled from VolumeSnapshot ns/snap: it may be empty"},
		"with its source":                                  {testSettings(), makeAttempt(asked), answer(func(v *csipb.Volume) { v.ContentSource = csi.ContentSource("snapshot-handle", "") }), "accept h"},
		"with a source nobody asked for":                   {testSettings(), makeAttempt(), answer(func(v *csipb.Volume) { v.ContentSource = csi.ContentSource("snapshot-handle", "") }), "accept h"},
		"too small and without its source":                 {testSettings(), makeAttempt(asked), answer(bytes(1)), small + "1 bytes"},
		"in a place":                                       {testSettings(), makeAttempt(), answer(at("zone", "a"), at("zone", "b")), "accept h"},
		"in a place without a name":                        {testSettings(), makeAttempt(), answer(at()), "accept h"},
		"in a place that no node can be in":                {testSettings(), makeAttempt(), answer(at("zone", "a"), at("zone", "not a label")), "reject h: the driver created a volume that no PersistentVolume can be made for: accessible_topology: value \"not a label\""},
		"in a place with a key no node has":                {testSettings(), makeAttempt(), answer(at("a/b/c", "a")), "reject h: the driver created a volume that no PersistentVolume can be made for: accessible_topology: topology key \"a/b/c\""},
		"in no place, as places don't matter":              {noTopology, makeAttempt(), answer(at("a/b/c", "a")), "accept h"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketchStep(Conclude(tt.settings, tt.attempt, Result{Volume: tt.answer})); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestOnlyForWantOfRoomAreOtherSegmentsTried(t *testing.T) {
	for class, want := range map[csi.Class]bool{csi.Exhausted: true, csi.Infeasible: false, csi.Failed: false} {
		fail, ok := Conclude(testSettings(), makeAttempt(), Result{Outcome: csi.Outcome{Class: class}}).(Fail)
		if !ok || fail.NoRoom != want {
			t.Errorf("%s: %v", class, fail)
		}
	}
}
