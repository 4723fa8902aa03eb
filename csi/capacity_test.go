package csi

import (
	"context"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/berth-csi/berth/topology"
)

func TestGetCapacity(t *testing.T) {
	zone := topology.NewSegment(map[string]string{"zone": "a"})
	for name, c := range map[string]struct {
		segment topology.Segment
		answer  *csipb.GetCapacityResponse
		asked   *csipb.GetCapacityRequest
		want    Capacity
	}{
		"of a segment": {
			zone, &csipb.GetCapacityResponse{AvailableCapacity: 5},
			&csipb.GetCapacityRequest{Parameters: map[string]string{"tier": "gold"}, AccessibleTopology: &csipb.Topology{Segments: map[string]string{"zone": "a"}}},
			Capacity{Available: 5},
		},
		"of everything": {
			topology.Segment{}, &csipb.GetCapacityResponse{AvailableCapacity: 5, MaximumVolumeSize: wrapperspb.Int64(3)},
			&csipb.GetCapacityRequest{Parameters: map[string]string{"tier": "gold"}},
			Capacity{Available: 5, Largest: 3, Limited: true},
		},
		"a largest volume of nothing is no missing one": {
			zone, &csipb.GetCapacityResponse{AvailableCapacity: 5, MaximumVolumeSize: wrapperspb.Int64(0)}, nil, Capacity{Available: 5, Limited: true},
		},
		"less than nothing is nothing": {
			zone, &csipb.GetCapacityResponse{AvailableCapacity: -5, MaximumVolumeSize: wrapperspb.Int64(-1)}, nil, Capacity{Limited: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			driver := complete()
			var asked *csipb.GetCapacityRequest
			driver.capacity = func(_ context.Context, r *csipb.GetCapacityRequest) (*csipb.GetCapacityResponse, error) {
				asked = r
				return c.answer, nil
			}
			got, err := NewController(dial(t, driver), time.Minute, 1).GetCapacity(t.Context(), map[string]string{"tier": "gold"}, c.segment)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
			if diff := cmp.Diff(c.asked, asked, protocmp.Transform()); c.asked != nil && diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGetCapacityIsCutOffAfterTheTimeout(t *testing.T) {
	driver := complete()
	driver.capacity = func(ctx context.Context, _ *csipb.GetCapacityRequest) (*csipb.GetCapacityResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, err := NewController(dial(t, driver), 10*time.Millisecond, 1).GetCapacity(t.Context(), nil, topology.Segment{})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}
