package app

import (
	"testing"

	"k8s.io/client-go/rest"
)

// The established provisioner gives its election the limits that were meant for capacity, because both change one configuration. Here it has none,
// and changes nobody's.
func TestTheElectionHasNoOnesLimits(t *testing.T) {
	shared := &rest.Config{Host: "https://127.0.0.1:1", QPS: 5, Burst: 10}
	options := newLeaderOptions()
	options.Enabled, options.Identity = true, "one"
	config, err := newElection(&options, shared)
	if err != nil {
		t.Fatal(err)
	}
	if limiter := config.Client.CoordinationV1().RESTClient().GetRateLimiter(); limiter != nil {
		t.Errorf("the election is limited to %v requests a second", limiter.QPS())
	}
	if limiter := config.Watcher.CoordinationV1().RESTClient().GetRateLimiter(); limiter != nil {
		t.Errorf("its watch is limited to %v requests a second", limiter.QPS())
	}
	if shared.QPS != 5 || shared.Burst != 10 || shared.Timeout != 0 {
		t.Errorf("the shared configuration was changed: %v, %d, %s", shared.QPS, shared.Burst, shared.Timeout)
	}
}
