package main

import (
	"context"
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// minPlacements is how many claims it takes for every pool to have room for one.
const minPlacements = 10

// placementZones are five zones; see placementRooms.
var placementZones = []string{"zone-a", "zone-b", "zone-c", "zone-d", "zone-e"}

// placementRooms is for how many volumes there is room in each zone: very different figures, in no order, and a twentieth more than is needed
// at most.
func placementRooms(claims int) []int {
	rooms := []int{claims * 6 / 100, claims * 60 / 100, claims * 2 / 100, claims * 24 / 100, claims * 12 / 100}
	total := 0
	for i := range rooms {
		rooms[i] = max(1, rooms[i])
		total += rooms[i]
	}
	rooms[1] += max(0, claims-total)
	return rooms
}

// placementGroup has a driver that tries one segment for a volume and no other, as many do that make it where they are told.
func placementGroup() group {
	return group{
		name: "immediate-placement",
		warm: func(context.Context, *environment) error { return nil },
		once: true,
		only: publishers,
		world: &world{
			driver: func(o Options, latency time.Duration) harness.DriverOptions {
				config := harness.ZonesConfig(harness.DefaultDriverName, placementZones...)
				config.OnlyFirst = true
				for i, room := range placementRooms(o.Capacity.Placements) {
					config.Pools[i].Size = fmt.Sprintf("%dGi", room)
				}
				return harness.DriverOptions{Config: config, Faults: slowCreation(latency, false)}
			},
			zones: func(Options) []string { return placementZones },
			classes: func(_ Options, driver string) []*storagev1.StorageClass {
				return []*storagev1.StorageClass{harness.StorageClass(classImmediate, driver)}
			},
			flags: func(o Options) []string { return append(publishing(o), "--capacity-for-immediate-binding") },
		},
		scenarios: []scenario{{name: "immediate-placement", run: runPlacement}},
		estimate:  func(_ subject, o Options) time.Duration { return o.Capacity.Limit / 3 },
	}
}

// runPlacement makes all claims at once, and waits until each is Bound or the time is up.
func runPlacement(ctx context.Context, e *environment, o Options) ([]reading, error) {
	want := map[place]int64{}
	for i, room := range placementRooms(o.Capacity.Placements) {
		want[place{classImmediate, placementZones[i]}] = int64(room) << 30
	}
	if err := e.awaitPublished(ctx, want, o.Capacity.Limit); err != nil {
		return nil, err
	}
	names := claimNames(o.Capacity.Placements)
	return e.measureFitting(ctx, names, o.Capacity.Limit, func(started *stopwatch) error {
		return createClaims(ctx, e, names, classImmediate, started)
	})
}
