package main

import (
	"slices"
	"strings"

	"github.com/berth-csi/berth/e2e/harness"
)

// requestKind is the verb and the resource of requests, as metric names have them.
func requestKind(r harness.RequestCount) string {
	name := r.Verb + "/" + r.Resource
	if r.Subresource != "" {
		name += "/" + r.Subresource
	}
	return name
}

var writeVerbs = []string{"create", "update", "patch", "delete", "deletecollection"}

// isVolumeWrite reports whether the request changed something on behalf of a volume: leases are renewed however many
// volumes there are. A write that was refused counts, because the API server had to refuse it.
func isVolumeWrite(r harness.RequestCount) bool {
	return slices.Contains(writeVerbs, r.Verb) && !strings.HasPrefix(r.Resource, "leases")
}

// countWrites adds up the writes of the user agents that matter.
func countWrites(requests []harness.RequestCount, matters func(userAgent string) bool) int {
	n := 0
	for _, r := range requests {
		if isVolumeWrite(r) && matters(r.UserAgent) {
			n += r.Count
		}
	}
	return n
}

// requestReadings are the figures that come from the audit log. The system's writes are everybody's but our own: the
// claims and Pods that the bench makes are the work, not the cost.
func requestReadings(requests []harness.RequestCount, userAgent string, volumes int) []reading {
	subject := countWrites(requests, func(ua string) bool { return ua == userAgent })
	system := countWrites(requests, func(ua string) bool { return ua != benchUserAgent })
	readings := []reading{
		{"api_writes_per_volume", unitPerVolume, perVolume(subject, volumes)},
		{"system_api_writes_per_volume", unitPerVolume, perVolume(system, volumes)},
	}
	writers := map[string]int{}
	for _, r := range requests {
		if isVolumeWrite(r) && r.UserAgent != benchUserAgent {
			writers[r.UserAgent] += r.Count
		}
	}
	for writer, count := range writers {
		readings = append(readings, reading{"system_api_writes_per_volume/" + writer, unitPerVolume, perVolume(count, volumes)})
	}
	total, kinds := 0, map[string]int{}
	for _, r := range requests {
		if r.UserAgent == userAgent {
			total += r.Count
			kinds[requestKind(r)] += r.Count
		}
	}
	readings = append(readings, reading{"api_requests", unitRequests, float64(total)})
	for kind, count := range kinds {
		readings = append(readings, reading{"api_requests/" + kind, unitRequests, float64(count)})
	}
	return readings
}
