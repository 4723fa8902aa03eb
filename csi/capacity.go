package csi

import (
	"context"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/berth-csi/berth/topology"
)

// Capacity is what a driver says about the room in a segment.
type Capacity struct {
	Available int64 // bytes; never negative
	// Largest is the size of the largest volume that there is room for, if Limited. Otherwise the driver did not say.
	Largest int64
	Limited bool
}

// GetCapacity asks the driver how much room there is in a segment for volumes with the given parameters (CSI spec, GetCapacity). The zero Segment
// asks for all there is.
func (c *Controller) GetCapacity(ctx context.Context, parameters map[string]string, segment topology.Segment) (Capacity, error) {
	request := &csipb.GetCapacityRequest{Parameters: parameters}
	if !segment.IsZero() {
		request.AccessibleTopology = &csipb.Topology{Segments: segment.Map()}
	}
	var answer *csipb.GetCapacityResponse
	err := c.Capacities.Do(ctx, func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		Sent(ctx)
		answer, err = c.client.GetCapacity(ctx, request)
		return err
	})
	if err != nil {
		return Capacity{}, err
	}
	return capacityOf(answer), nil
}

// capacityOf reads an answer. Less than nothing, which the specification forbids, and which the API server would refuse, is nothing.
func capacityOf(answer *csipb.GetCapacityResponse) Capacity {
	capacity := Capacity{Available: max(0, answer.GetAvailableCapacity())}
	if largest := answer.GetMaximumVolumeSize(); largest != nil {
		capacity.Largest, capacity.Limited = max(0, largest.GetValue()), true
	}
	return capacity
}
