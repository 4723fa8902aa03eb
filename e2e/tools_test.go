//go:build e2e

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/berth-csi/berth/e2e/harness"
)

// What the tests, the demo and the benchmarks are built on has to tell the truth. Not parallel: one restarts the
// controller-manager, the other counts the requests of everybody.

func TestControlPlaneTellsWhatItCostsAndWasAsked(t *testing.T) {
	s := newStory(t, shared)
	must(t, s.ControlPlane.SetLimits(t.Context(), harness.ClientLimits{QPS: 999, Burst: 1999}))
	since := time.Now()
	s.fence()
	until := time.Now()

	status, err := s.ControlPlane.Status(t.Context())
	must(t, err)
	var names []string
	for _, component := range status {
		names = append(names, component.Component)
		if component.State != "running" || component.CPUSeconds <= 0 || component.ResidentBytes <= 0 {
			t.Errorf("status is %+v, want it running and at some cost", component)
		}
	}
	slices.Sort(names)
	want := []string{harness.Etcd, harness.APIServer, harness.ControllerManager, harness.Scheduler}
	if !slices.Equal(names, want) {
		t.Errorf("components are %v, want %v", names, want)
	}
	usage, err := s.Berth.Usage()
	must(t, err)
	if usage.CPU <= 0 || usage.RSS <= 0 || usage.PeakRSS < usage.RSS {
		t.Errorf("Berth's cost is %+v", usage)
	}

	created := func(filter harness.RequestFilter) (count int) {
		requests, err := s.ControlPlane.Requests(t.Context(), filter)
		must(t, err)
		for _, request := range requests {
			if request.Verb == "create" && request.Resource == "persistentvolumes" && request.Code == 201 {
				count += request.Count
			}
		}
		return count
	}
	if got := created(harness.RequestFilter{UserAgent: "^berth/", Since: since, Until: until}); got != 1 {
		t.Errorf("Berth has created %d volumes meanwhile, want 1", got)
	}
	if got := created(harness.RequestFilter{UserAgent: "^harness", Since: since, Until: until}); got != 0 {
		t.Errorf("the harness has created %d volumes meanwhile, want none", got)
	}
	if got := created(harness.RequestFilter{Since: until.Add(time.Hour)}); got != 0 {
		t.Errorf("%d volumes have been created in the future", got)
	}
}

func TestDriverTakesOrdersWhileItRuns(t *testing.T) {
	s := inOwnWorld(t, "orders")
	must(t, s.Driver.AddFault(t.Context(), harness.Fault{Method: harness.CreateVolume, Latency: "1ms"}))
	must(t, s.Driver.AddFault(t.Context(), harness.Fault{Method: harness.DeleteVolume, Action: "error", Code: "Internal", Times: 1}))
	s.fence()
	faults, err := s.Driver.Faults(t.Context())
	must(t, err)
	if len(faults) != 2 || faults[0].Used != 1 || faults[1].Used != 1 {
		t.Errorf("faults are %+v, want two, each used once", faults)
	}
	must(t, s.Driver.ClearFaults(t.Context()))

	zone := s.Zones[1]
	for _, other := range s.Zones {
		size := "1Mi"
		if other == zone {
			size = "10Gi"
		}
		must(t, s.Driver.SetPools(t.Context(), harness.DriverPool{
			Segments: map[string]string{s.ZoneKey(): other}, Size: size,
		}))
	}
	s.claim("data", s.class())
	_, volume := s.bound("data")
	wantAffinity(s, volume, zone)

	must(t, s.Driver.Restart(t.Context()))
	volumes, err := s.Driver.Volumes(t.Context())
	must(t, err)
	if len(volumes) != 1 || volumes[0].ID != volume.Spec.CSI.VolumeHandle {
		t.Errorf("after a restart the driver has %v, want the volume of the claim", volumes)
	}
}
