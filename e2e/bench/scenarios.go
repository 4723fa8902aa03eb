package main

import (
	"context"
	"fmt"
	"time"
)

// A scenario is work for a provisioner, and what is worth knowing about how it was done.
type scenario struct {
	name string
	run  func(ctx context.Context, e *environment, o Options) ([]reading, error)
}

// A group is scenarios that follow each other in one environment. Those before the last one asked for are run even if
// they were not asked for, because the later ones go on with what the earlier ones left.
type group struct {
	name      string
	warm      func(ctx context.Context, e *environment) error
	scenarios []scenario
	// onRequest leaves it out unless it is asked for by name, because it takes long.
	onRequest bool
	// controllers of the controller-manager; empty: those that storage needs.
	controllers string
	// stock leaves the controller-manager's client its own limits, as in a cluster that nobody has tuned.
	stock bool
	// world is what there is instead of three zones with a large pool each; nil: those.
	world *world
	// once: one round is enough, since it is counts that matter, or differences larger than any machine's moods.
	once bool
	// only says which subjects it says something about; nil: all.
	only func(subject string) bool
	// estimate is about how long the scenarios take with a subject.
	estimate func(subject, Options) time.Duration
}

// groups are all there is to measure; README.md says how to add to them.
func groups() []group {
	return []group{
		{
			name: "immediate",
			warm: warmImmediate,
			scenarios: []scenario{
				{name: "create", run: runCreate},
				{name: "delete", run: runDelete},
			},
			estimate: func(s subject, o Options) time.Duration {
				return time.Duration(o.Claims) * (s.pace + s.deletePace)
			},
		},
		{
			name:      "wffc",
			warm:      warmWFFC,
			scenarios: []scenario{{name: "wffc", run: runWFFC}},
			estimate: func(s subject, o Options) time.Duration {
				return time.Duration(o.WFFCClaims) * (s.pace + 100*time.Millisecond)
			},
		},
		{
			name:      "immediate-stock",
			warm:      warmImmediate,
			stock:     true,
			scenarios: []scenario{{name: "create-stock", run: runCreateStock}},
			estimate: func(s subject, o Options) time.Duration {
				return time.Duration(o.StockClaims) * max(s.pace, stockPace)
			},
		},
		{
			name:      "single-stock",
			warm:      warmImmediate,
			stock:     true,
			scenarios: []scenario{{name: "single-stock", run: runSingleStock}},
			estimate: func(s subject, o Options) time.Duration {
				return time.Duration(o.WFFCClaims) * max(s.pace, stockPace)
			},
		},
		{
			name:      "behind-stock",
			warm:      warmImmediate,
			stock:     true,
			scenarios: []scenario{{name: "behind-stock", run: runBehindStock}},
			estimate: func(s subject, o Options) time.Duration {
				return time.Duration(o.Claims) * max(s.pace, stockPace) / 3
			},
		},
		{
			name:      "wffc-stock",
			warm:      warmWFFC,
			stock:     true,
			scenarios: []scenario{{name: "wffc-stock", run: runWFFCStock}},
			estimate: func(s subject, o Options) time.Duration {
				return time.Duration(o.StockPods) * max(s.pace, stockPace)
			},
		},
		capacityGroup(),
		burstGroup(),
		placementGroup(),
		{
			name:      "failover",
			warm:      warmImmediate,
			scenarios: []scenario{{name: "failover", run: runFailover}},
			only:      hasReplicas,
			onRequest: true,
			estimate:  failoverEstimate,
		},
		{
			name:        "memory",
			warm:        warmMemory,
			scenarios:   []scenario{{name: "memory", run: runMemory}},
			only:        hasReplicas,
			controllers: withoutBinder,
			onRequest:   true,
			estimate:    memoryEstimate,
		},
	}
}

// defaultScenarios are those that are run if nobody says which.
func defaultScenarios() []string {
	var names []string
	for _, g := range groups() {
		for _, s := range g.scenarios {
			if !g.onRequest {
				names = append(names, s.name)
			}
		}
	}
	return names
}

func scenarioNames() []string {
	var names []string
	for _, g := range groups() {
		for _, s := range g.scenarios {
			names = append(names, s.name)
		}
	}
	return names
}

// stockPace is about what a controller-manager with its stock limits takes for a claim.
const stockPace = 250 * time.Millisecond

// stallAfter is how long nothing at all may happen before a scenario has failed: longer than any pause a working
// provisioner makes, even with a busy machine under it.
const stallAfter = 90 * time.Second

// claimNames of a scenario, which nothing else in the environment has.
func claimNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%05d", claimPrefix, i)
	}
	return names
}
