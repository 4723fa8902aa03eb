package csi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/topology"
)

func TestIdentifyNode(t *testing.T) {
	answers := func(segments map[string]string) func(int32) (*csipb.NodeGetInfoResponse, error) {
		return func(int32) (*csipb.NodeGetInfoResponse, error) {
			return &csipb.NodeGetInfoResponse{NodeId: "id-1", AccessibleTopology: &csipb.Topology{Segments: segments}}, nil
		}
	}
	topological := Driver{Name: "driver.example", Topology: true}
	tests := map[string]struct {
		driver Driver
		info   func(nth int32) (*csipb.NodeGetInfoResponse, error)
		want   string // in the error; empty: none
		never  bool   // no waiting will mend it
	}{
		"a node":                  {topological, answers(map[string]string{"zone": "a"}), "", false},
		"without topology at all": {Driver{Name: "driver.example"}, answers(map[string]string{"zone": "a"}), "VOLUME_ACCESSIBILITY_CONSTRAINTS", true},
		"without a segment":       {topological, answers(nil), "without accessible_topology", true},
		"a segment that no node can be in": {topological, answers(map[string]string{"zone": "a b"}),
			`value "a b" of topology key "zone" cannot be a label's`, true},
		"no node service": {topological, nil, "has no node service at this socket", true},
		"not ready at first": {topological, func(nth int32) (*csipb.NodeGetInfoResponse, error) {
			if nth == 1 {
				return nil, status.Error(codes.Unavailable, "starting")
			}
			return answers(map[string]string{"zone": "a"})(nth)
		}, "", false},
		"never ready": {topological, func(int32) (*csipb.NodeGetInfoResponse, error) {
			return nil, status.Error(codes.Unavailable, "starting")
		}, "s: NodeGetInfo: starting", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := complete()
			driver.info = tt.info
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			got, err := IdentifyNode(ctx, dial(t, driver), tt.driver, time.Second)
			switch {
			case tt.want == "" && (err != nil || got != Node{ID: "id-1", Segment: topology.NewSegment(map[string]string{"zone": "a"})}):
				t.Errorf("got %+v, %v", got, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want it to say %q", err, tt.want)
			case errors.Is(err, ErrNotForUs) != tt.never:
				t.Errorf("%v: no waiting mends it: %v", err, !tt.never)
			}
		})
	}
}
