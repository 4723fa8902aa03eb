package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func sorted(readings []reading) []reading {
	slices.SortFunc(readings, func(a, b reading) int { return compareMetrics(a.metric, b.metric) })
	return readings
}

func TestRequestReadings(t *testing.T) {
	of := func(userAgent, verb, resource string, count int) harness.RequestCount {
		return harness.RequestCount{UserAgent: userAgent, Verb: verb, Resource: resource, Code: 201, Count: count}
	}
	status := of("kube-controller-manager", "update", "persistentvolumes", 10)
	status.Subresource = "status"
	conflict := of(berthUserAgent, "create", "persistentvolumes", 2)
	conflict.Code = 409

	tests := map[string]struct {
		requests []harness.RequestCount
		want     []reading
	}{
		"the subject's writes are its own, the system's are everybody's but the bench's": {
			requests: []harness.RequestCount{
				of(berthUserAgent, "create", "persistentvolumes", 10),
				of(benchUserAgent, "create", "persistentvolumeclaims", 10),
				status,
			},
			want: []reading{
				{"api_writes_per_volume", unitPerVolume, 1},
				{"system_api_writes_per_volume", unitPerVolume, 2},
				{"system_api_writes_per_volume/berth", unitPerVolume, 1},
				{"system_api_writes_per_volume/kube-controller-manager", unitPerVolume, 1},
				{"api_requests", unitRequests, 10},
				{"api_requests/create/persistentvolumes", unitRequests, 10},
			},
		},
		"reads and leases are requests but not writes for a volume": {
			requests: []harness.RequestCount{
				of(berthUserAgent, "get", "secrets", 5),
				of(berthUserAgent, "update", "leases.coordination.k8s.io", 3),
				of("kube-scheduler", "update", "leases.coordination.k8s.io", 3),
			},
			want: []reading{
				{"api_writes_per_volume", unitPerVolume, 0},
				{"system_api_writes_per_volume", unitPerVolume, 0},
				{"api_requests", unitRequests, 8},
				{"api_requests/get/secrets", unitRequests, 5},
				{"api_requests/update/leases.coordination.k8s.io", unitRequests, 3},
			},
		},
		"a refused write is a write": {
			requests: []harness.RequestCount{of(berthUserAgent, "create", "persistentvolumes", 10), conflict},
			want: []reading{
				{"api_writes_per_volume", unitPerVolume, 1.2},
				{"system_api_writes_per_volume", unitPerVolume, 1.2},
				{"system_api_writes_per_volume/berth", unitPerVolume, 1.2},
				{"api_requests", unitRequests, 12},
				{"api_requests/create/persistentvolumes", unitRequests, 12},
			},
		},
		"nothing was asked": {
			want: []reading{
				{"api_writes_per_volume", unitPerVolume, 0},
				{"system_api_writes_per_volume", unitPerVolume, 0},
				{"api_requests", unitRequests, 0},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := sorted(requestReadings(tc.requests, berthUserAgent, 10))
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(reading{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDriverCallReadings(t *testing.T) {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(offset time.Duration, method string) harness.Call {
		return harness.Call{Time: start.Add(offset), Method: method}
	}
	calls := []harness.Call{
		at(-time.Second, harness.CreateVolume),
		at(0, harness.CreateVolume),
		at(time.Second, harness.CreateVolume),
		at(2*time.Second, harness.CreateVolume),
		at(2*time.Second, "GetCapacity"),
		at(time.Minute, harness.DeleteVolume),
	}
	want := []reading{
		{"driver_calls_per_volume", unitPerVolume, 1.5},
		{"driver_calls_per_volume/CreateVolume", unitPerVolume, 1.5},
		{"driver_calls_per_volume/GetCapacity", unitPerVolume, 0.5},
	}
	got := sorted(driverCallReadings(calls, window{start, start.Add(10 * time.Second)}, harness.CreateVolume, 2))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(reading{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLostEvents(t *testing.T) {
	event := func(claim, reason string) corev1.Event {
		return corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Name: claim + reason},
			InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Name: claim},
			Reason:         reason,
		}
	}
	claims := []string{"a", "b"}
	both := subjects()[subjectPeerDefault].events
	onPod := event("a", "ProvisioningSucceeded")
	onPod.InvolvedObject.Kind = "Pod"

	tests := map[string]struct {
		found   []corev1.Event
		reasons []string
		want    int
	}{
		"all are there": {
			found: []corev1.Event{
				event("a", "Provisioning"), event("a", "ProvisioningSucceeded"),
				event("b", "Provisioning"), event("b", "ProvisioningSucceeded"),
			},
			reasons: both,
		},
		"one reason of one claim is missing": {
			found:   []corev1.Event{event("a", "Provisioning"), event("a", "ProvisioningSucceeded"), event("b", "Provisioning")},
			reasons: both, want: 1,
		},
		"two of a kind do not make up for another": {
			found:   []corev1.Event{event("a", "ProvisioningSucceeded"), event("a", "ProvisioningSucceeded")},
			reasons: subjects()[subjectBerth].events, want: 1,
		},
		"other claims, reasons and kinds do not count": {
			found:   []corev1.Event{event("warm", "ProvisioningSucceeded"), event("a", "ExternalProvisioning"), onPod},
			reasons: subjects()[subjectBerth].events, want: 2,
		},
		"a subject without events loses none": {reasons: subjects()[subjectFloor].events},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := lostEvents(tc.found, claims, tc.reasons); got != tc.want {
				t.Errorf("lost %d, want %d", got, tc.want)
			}
		})
	}
}
