package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options say what to measure.
type Options struct {
	Subjects  []string
	Scenarios []string
	// Claims is how many claims create and delete are about, WFFCClaims how many wffc works through one by one.
	Claims     int
	WFFCClaims int
	// StockClaims is how many claims create-stock is about, StockPods how many Pods wffc-stock makes at once.
	StockClaims int
	StockPods   int
	// Stops and Kills are how often failover ends the leader in each way.
	Stops, Kills int
	// MemoryNodes and MemoryClaims are what memory fills the cluster with, MemoryRest how long it waits then.
	MemoryNodes, MemoryClaims int
	MemoryRest                time.Duration
	// Latencies of the driver's CreateVolume and DeleteVolume; everything is measured at each.
	Latencies []time.Duration
	// Rounds is how often every subject is measured.
	Rounds int
	// JSON is the file that the figures are written to; empty for none.
	JSON string
	// Settle is how long to leave the subject alone between the warm-up and the first scenario, so that its own limits
	// recover and everybody is done with the warm-up.
	Settle time.Duration
	// Keep is the directory in which the logs and data of every run stay; empty for none.
	Keep string
	// Capacity is about capacity, burst and immediate-placement.
	Capacity CapacityOptions
	// BerthFlags are given to Berth beside those it is deployed with, to find out what a flag costs or to profile it.
	BerthFlags []string
}

func defaultOptions() Options {
	return Options{
		Subjects:  defaultSubjects(),
		Scenarios: defaultScenarios(),
		Claims:    1000, WFFCClaims: 50, StockClaims: 200, StockPods: 100, Stops: 20, Kills: 20,
		MemoryNodes: 5000, MemoryClaims: 20000, MemoryRest: memoryRest,
		Latencies: []time.Duration{0},
		Rounds:    2,
		Settle:    3 * time.Second,
		Capacity:  defaultCapacityOptions(),
	}
}

// smokeOptions are the smallest run that uses everything on Berth's path. Its figures mean nothing.
func smokeOptions() Options {
	o := defaultOptions()
	o.Subjects, o.Scenarios = []string{subjectBerth}, scenarioNames()
	o.Stops, o.Kills, o.MemoryNodes, o.MemoryClaims, o.MemoryRest = 1, 0, 5, 20, 0
	o.Claims, o.WFFCClaims, o.StockClaims, o.StockPods, o.Rounds, o.Settle = 20, 3, 5, 5, 1, 0
	o.Capacity = smokeCapacityOptions()
	return o
}

// Validate reports everything that is wrong.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(len(o.Subjects) > 0, "no subjects")
	for _, name := range o.Subjects {
		check(slices.Contains(subjectNames(), name), "no subject %q, there are %s", name, strings.Join(subjectNames(), ", "))
	}
	check(len(o.Scenarios) > 0, "no scenarios")
	for _, name := range o.Scenarios {
		check(slices.Contains(scenarioNames(), name), "no scenario %q, there are %s", name, strings.Join(scenarioNames(), ", "))
	}
	check(o.Claims > 0, "claims must be more than 0, not %d", o.Claims)
	check(o.WFFCClaims > 0, "wffc-claims must be more than 0, not %d", o.WFFCClaims)
	check(o.StockClaims > 0, "stock-claims must be more than 0, not %d", o.StockClaims)
	check(o.StockPods > 0, "stock-pods must be more than 0, not %d", o.StockPods)
	check(o.Stops >= 0 && o.Kills >= 0 && o.Stops+o.Kills > 0, "stops and kills must not be below 0, nor both 0")
	check(o.MemoryNodes > 0, "memory-nodes must be more than 0, not %d", o.MemoryNodes)
	check(o.MemoryClaims > 0, "memory-claims must be more than 0, not %d", o.MemoryClaims)
	check(o.MemoryRest >= 0, "memory-rest must not be below 0, as %s is", o.MemoryRest)
	check(len(o.Latencies) > 0, "no latency")
	for _, latency := range o.Latencies {
		check(latency >= 0, "latency must not be below 0, as %s is", latency)
	}
	o.Capacity.validate(check)
	check(o.Rounds > 0, "rounds must be more than 0, not %d", o.Rounds)
	return errors.Join(errs...)
}

// parseOptions reads the command line. --smoke only changes the defaults, wherever it stands.
func parseOptions(args []string, usage io.Writer) (Options, error) {
	o := defaultOptions()
	if slices.ContainsFunc(args, isSmokeFlag) {
		o = smokeOptions()
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.Var(listFlag{&o.Subjects}, "subjects", "`LIST` of subjects")
	flags.Var(listFlag{&o.Scenarios}, "scenarios", "`LIST` of scenarios")
	flags.IntVar(&o.Claims, "claims", o.Claims, "how many claims create and delete are about")
	flags.IntVar(&o.WFFCClaims, "wffc-claims", o.WFFCClaims, "how many claims wffc works through one by one")
	flags.IntVar(&o.StockClaims, "stock-claims", o.StockClaims, "how many claims create-stock is about")
	flags.IntVar(&o.StockPods, "stock-pods", o.StockPods, "how many Pods wffc-stock makes at once")
	flags.IntVar(&o.Stops, "stops", o.Stops, "how often failover stops the leader")
	flags.IntVar(&o.Kills, "kills", o.Kills, "how often failover kills the leader")
	flags.IntVar(&o.MemoryNodes, "memory-nodes", o.MemoryNodes, "how many nodes there are in memory")
	flags.IntVar(&o.MemoryClaims, "memory-claims", o.MemoryClaims, "how many claims there are in memory")
	flags.DurationVar(&o.MemoryRest, "memory-rest", o.MemoryRest, "how long memory waits before it looks")
	flags.Var(durationsFlag{&o.Latencies}, "latency", "`LIST` of latencies of the driver, such as 0,50ms")
	o.Capacity.addFlags(flags)
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "how often every subject is measured")
	flags.StringVar(&o.JSON, "json", "", "`FILE` to write the figures to")
	flags.StringVar(&o.Keep, "keep", "", "`DIR` in which the logs and data of every run stay")
	flags.Var(listFlag{&o.BerthFlags}, "berth-flags", "`LIST` of further flags for berth, such as --enable-pprof,--http-endpoint=127.0.0.1:6060")
	flags.Bool("smoke", false, "small defaults: berth only, 20 claims, one round")
	if err := flags.Parse(args); err != nil {
		return Options{}, err
	}
	if flags.NArg() > 0 {
		return Options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, o.Validate()
}

func isSmokeFlag(arg string) bool {
	name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return strings.HasPrefix(arg, "-") && name == "smoke" && value != "false"
}

// listFlag is a list of names, separated by commas.
type listFlag struct{ names *[]string }

func (f listFlag) String() string {
	if f.names == nil {
		return ""
	}
	return strings.Join(*f.names, ",")
}

func (f listFlag) Set(value string) error {
	*f.names = splitList(value)
	return nil
}

// durationsFlag is a list of durations, separated by commas; 0 needs no unit.
type durationsFlag struct{ durations *[]time.Duration }

func (f durationsFlag) String() string {
	if f.durations == nil {
		return ""
	}
	var out []string
	for _, d := range *f.durations {
		out = append(out, d.String())
	}
	return strings.Join(out, ",")
}

func (f durationsFlag) Set(value string) error {
	*f.durations = nil
	for _, item := range splitList(value) {
		d, err := time.ParseDuration(item)
		if err != nil {
			return err
		}
		*f.durations = append(*f.durations, d)
	}
	return nil
}

// splitList also drops repetitions, which would measure the same thing twice under one name.
func splitList(value string) []string {
	var out []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}
