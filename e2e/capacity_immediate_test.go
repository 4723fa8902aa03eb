//go:build e2e

package e2e

import (
	"testing"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestCapacityPlacesImmediateVolumesWhereThereIsRoom(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "place", withCapacity, berthFlags("--capacity-for-immediate-binding"), poolsOf("3Gi"), func(options *harness.WorldOptions) {
		options.Driver.Config.Pools[1].Size = "1Ti"
	})
	for _, zone := range []string{"zone-a", "zone-b", "zone-c"} {
		must(t, harness.CreateNode(t.Context(), s.Client(), s.NodeIn(zone)))
	}
	class := s.class()
	s.wantCapacities(map[string]string{class + " in zone-a": "3Gi", class + " in zone-b": "1Ti", class + " in zone-c": "3Gi"})
	for _, name := range []string{"one", "two", "three", "four"} {
		claim := s.claim(name, class)
		s.bound(name)
		preferred := s.asked(claim).AccessibilityRequirements.Preferred
		if len(preferred) != 3 || preferred[0].Segments[s.ZoneKey()] != "zone-b" {
			t.Errorf("%s: the driver was asked to try %v, want zone-b first", name, preferred)
		}
	}
}
