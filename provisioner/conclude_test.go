package provisioner

import (
	"fmt"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/berth-csi/berth/csi"
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
		"infeasible":                          {testSettings(), makeAttempt(scheduled), is(csi.Infeasible, codes.InvalidArgument), `fail, infeasible=true: the driver refuses the request as it is; change the claim or its class "fast"`},
		"any other failure":                   {testSettings(), makeAttempt(scheduled), is(csi.Failed, codes.Internal), "fail, infeasible=false: the driver could not create the volume: Internal: words"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketchStep(Conclude(tt.settings, tt.attempt, tt.result)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}
