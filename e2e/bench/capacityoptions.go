package main

import (
	"flag"
	"time"
)

// CapacityOptions say what capacity, burst and immediate-placement are about.
type CapacityOptions struct {
	// Nodes, each a segment of its own, and Classes, each with parameters of its own.
	Nodes, Classes int
	// Latency of the driver's GetCapacity, and the one that it is slowed down to in capacity-slow.
	Latency, SlowLatency time.Duration
	// PollInterval of both subjects in capacity-polls and capacity-slow, and how many of them are measured.
	PollInterval time.Duration
	Polls        int
	// BurstPods is how many Pods come at once; their volumes just fit. Early: the driver takes a volume's room when the call begins, and not when it
	// ends.
	BurstPods int
	Early     bool
	// Placements is how many claims with Immediate binding come at once; they just fit.
	Placements int
	// Limit is when to stop waiting for a subject, and tell how far it has come.
	Limit time.Duration
}

func defaultCapacityOptions() CapacityOptions {
	return CapacityOptions{
		Nodes: 1840, Classes: 2, Latency: 5 * time.Millisecond, SlowLatency: 50 * time.Millisecond,
		PollInterval: 6 * time.Second, Polls: 10, BurstPods: 30, Placements: 100, Limit: time.Minute,
	}
}

func smokeCapacityOptions() CapacityOptions {
	c := defaultCapacityOptions()
	c.Nodes, c.Classes, c.SlowLatency, c.PollInterval, c.Polls, c.BurstPods, c.Placements = 12, 2, 5*time.Millisecond, time.Second, 2, 6, 10
	return c
}

func (c *CapacityOptions) addFlags(flags *flag.FlagSet) {
	flags.IntVar(&c.Nodes, "capacity-nodes", c.Nodes, "how many nodes capacity is about, each a segment of its own")
	flags.IntVar(&c.Classes, "capacity-classes", c.Classes, "how many classes capacity is about, each with parameters of its own")
	flags.DurationVar(&c.Latency, "capacity-latency", c.Latency, "latency of the driver's GetCapacity in capacity and capacity-polls")
	flags.DurationVar(&c.SlowLatency, "capacity-slow-latency", c.SlowLatency, "latency of the driver's GetCapacity in capacity-slow")
	flags.DurationVar(&c.PollInterval, "capacity-poll-interval", c.PollInterval, "poll interval of the subjects in capacity-polls and capacity-slow")
	flags.IntVar(&c.Polls, "capacity-polls", c.Polls, "how many poll intervals capacity-polls and capacity-slow watch")
	flags.IntVar(&c.BurstPods, "burst-pods", c.BurstPods, "how many Pods burst makes at once; their volumes just fit")
	flags.BoolVar(&c.Early, "burst-early", c.Early, "in burst the driver takes a volume's room when the call begins, not when it ends (with --latency)")
	flags.IntVar(&c.Placements, "placement-claims", c.Placements, "how many claims immediate-placement makes at once; they just fit")
	flags.DurationVar(&c.Limit, "capacity-limit", c.Limit, "when to stop waiting in capacity, burst and immediate-placement, and to tell how far the subject has come")
}

func (c CapacityOptions) validate(check func(ok bool, format string, args ...any)) {
	check(c.Nodes > 0 && c.Nodes <= 10_000, "capacity-nodes must be 1 to 10000, not %d", c.Nodes)
	check(c.Classes > 0, "capacity-classes must be more than 0, not %d", c.Classes)
	check(c.Latency > 0, "capacity-latency must be more than 0, not %s", c.Latency)
	check(c.SlowLatency > 0, "capacity-slow-latency must be more than 0, not %s", c.SlowLatency)
	check(c.PollInterval > 0, "capacity-poll-interval must be more than 0, not %s", c.PollInterval)
	check(c.Polls > 0, "capacity-polls must be more than 0, not %d", c.Polls)
	check(c.BurstPods >= len(zones), "burst-pods must be at least %d, not %d", len(zones), c.BurstPods)
	check(c.Placements >= minPlacements, "placement-claims must be at least %d, not %d", minPlacements, c.Placements)
	check(c.Limit > 0, "capacity-limit must be more than 0, not %s", c.Limit)
}
