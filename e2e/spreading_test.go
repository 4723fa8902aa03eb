//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestClaimsOfAStatefulSetSpreadOverTheZones(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	for i := range s.Zones {
		s.claim(fmt.Sprintf("data-web-%d", i), class)
	}
	var zones []string
	for i := range s.Zones {
		claim, volume := s.bound(fmt.Sprintf("data-web-%d", i))
		zone := s.asked(claim).AccessibilityRequirements.Preferred[0].Segments[s.ZoneKey()]
		wantAffinity(s, volume, zone)
		zones = append(zones, zone)
	}
	slices.Sort(zones)
	if diff := cmp.Diff(s.Zones, zones); diff != "" {
		t.Errorf("zones of the volumes (-want +got):\n%s", diff)
	}
}

func TestVolumeIsMadeWhereItsClassAllows(t *testing.T) {
	s := inSharedWorld(t)
	zone := s.Zones[1]
	class := s.class(harness.AllowedTopologies(s.ZoneKey(), zone))
	for _, name := range []string{"one", "two"} { // of which no more than one can have been lucky
		s.claim(name, class)
	}
	for _, name := range []string{"one", "two"} {
		claim, volume := s.bound(name)
		only := []harness.Segments{{Segments: map[string]string{s.ZoneKey(): zone}}}
		want := &harness.TopologyRequirement{Requisite: only, Preferred: only}
		if diff := cmp.Diff(want, s.asked(claim).AccessibilityRequirements); diff != "" {
			t.Errorf("requirement for %s (-want +got):\n%s", name, diff)
		}
		wantAffinity(s, volume, zone)
	}
}
