package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Options say what to break, and how often.
type Options struct {
	Subjects []string
	// Runs is how often Berth has to stand it, PeerRuns how often the established provisioner is shown beside it.
	Runs, PeerRuns int
	// Seed of the first run's schedule; each further run of a subject has the next. 0 takes one from the clock.
	Seed uint64
	// Claims is how many are created, one in three of them deleted, within Spread.
	Claims int
	Spread time.Duration
	// KillEvery bounds the time between two kills of the subject.
	KillEvery span
	// DriverRestarts and APIServerRestarts are how many there are within Spread.
	DriverRestarts, APIServerRestarts int
	// Election holds the durations of the subject's lease.
	Election election
	// Quiet is how long nothing may change before the end is believed; Settle is how long to wait for another change while
	// things are not as they should be.
	Quiet, Settle time.Duration
	// JSON is the file that the figures are written to; empty for none.
	JSON string
	// Keep is the directory in which the logs and data of every run stay; empty keeps only those of failed runs.
	Keep string
	// BerthFlags are given to Berth beside its own.
	BerthFlags []string
}

// election is short, because a process that is killed releases nothing.
type election struct{ LeaseDuration, RenewDeadline, RetryPeriod time.Duration }

func (e election) flags() []string {
	return []string{
		"--leader-election-lease-duration=" + e.LeaseDuration.String(),
		"--leader-election-renew-deadline=" + e.RenewDeadline.String(),
		"--leader-election-retry-period=" + e.RetryPeriod.String(),
	}
}

func defaultOptions() Options {
	return Options{
		Subjects: []string{subjectBerth},
		Runs:     5, PeerRuns: 1,
		Claims: 500, Spread: time.Minute,
		KillEvery:      span{2 * time.Second, 5 * time.Second},
		DriverRestarts: 3, APIServerRestarts: 2,
		Election: election{LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 500 * time.Millisecond},
		Quiet:    5 * time.Second, Settle: 3 * time.Minute,
	}
}

// shortOptions are for every "make test": everything is broken at least once.
func shortOptions() Options {
	o := defaultOptions()
	o.Runs, o.Claims, o.Spread = 1, 60, 10*time.Second
	o.KillEvery = span{2500 * time.Millisecond, 4 * time.Second}
	o.DriverRestarts, o.APIServerRestarts = 1, 1
	o.Quiet = 2 * time.Second
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
	check(o.Runs > 0, "runs must be more than 0, not %d", o.Runs)
	check(o.PeerRuns > 0, "peer-runs must be more than 0, not %d", o.PeerRuns)
	check(o.Claims > 0, "claims must be more than 0, not %d", o.Claims)
	check(o.Spread > 0, "spread must be more than 0, not %s", o.Spread)
	check(o.KillEvery.Min > 0 && o.KillEvery.Min <= o.KillEvery.Max, "kill-every must be like 2s-5s, not %s", o.KillEvery)
	check(o.DriverRestarts >= 0 && o.APIServerRestarts >= 0, "restarts must not be below 0")
	check(o.Settle > o.Quiet, "settle (%s) must be longer than quiet (%s)", o.Settle, o.Quiet)
	return errors.Join(errs...)
}

func parseOptions(args []string, usage io.Writer) (Options, error) {
	o := defaultOptions()
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.Var(listFlag{&o.Subjects}, "subjects", "`LIST` of subjects: berth, peer")
	flags.IntVar(&o.Runs, "runs", o.Runs, "how often berth has to stand it")
	flags.IntVar(&o.PeerRuns, "peer-runs", o.PeerRuns, "how often the peer has to, if it is a subject")
	flags.Uint64Var(&o.Seed, "seed", 0, "of the first run's schedule, each further run has the next; 0 takes one from the clock")
	flags.IntVar(&o.Claims, "claims", o.Claims, "how many claims are created; a third of them is deleted")
	flags.DurationVar(&o.Spread, "spread", o.Spread, "how long claims are created and deleted, and everything is broken")
	flags.Var(&o.KillEvery, "kill-every", "`MIN-MAX` between two kills of the subject")
	flags.IntVar(&o.DriverRestarts, "driver-restarts", o.DriverRestarts, "how often the driver is killed or stopped, and started")
	flags.IntVar(&o.APIServerRestarts, "apiserver-restarts", o.APIServerRestarts, "how often the API server is killed, and started")
	flags.DurationVar(&o.Election.LeaseDuration, "lease-duration", o.Election.LeaseDuration, "of the subject's leader election")
	flags.DurationVar(&o.Election.RenewDeadline, "renew-deadline", o.Election.RenewDeadline, "of the subject's leader election")
	flags.DurationVar(&o.Election.RetryPeriod, "retry-period", o.Election.RetryPeriod, "of the subject's leader election")
	flags.DurationVar(&o.Quiet, "quiet", o.Quiet, "how long nothing may change before the end is believed")
	flags.DurationVar(&o.Settle, "settle", o.Settle, "how long to wait for the next change while something is wrong")
	flags.StringVar(&o.JSON, "json", "", "`FILE` to write the figures to")
	flags.StringVar(&o.Keep, "keep", "", "`DIR` in which the logs and data of every run stay")
	flags.Var(listFlag{&o.BerthFlags}, "berth-flags", "`LIST` of further flags for berth, such as --journal=false")
	if err := flags.Parse(args); err != nil {
		return Options{}, err
	}
	if flags.NArg() > 0 {
		return Options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, o.Validate()
}

// span is the shortest and the longest time of something, written 2s-5s.
type span struct{ Min, Max time.Duration }

func (s span) String() string { return s.Min.String() + "-" + s.Max.String() }

// Set reads a span. A single duration is both ends.
func (s *span) Set(value string) error {
	low, high, found := strings.Cut(value, "-")
	if !found {
		high = low
	}
	var err error
	if s.Min, err = time.ParseDuration(low); err != nil {
		return err
	}
	s.Max, err = time.ParseDuration(high)
	return err
}

// pick is a time within the span.
func (s span) pick(random *rand.Rand) time.Duration { return s.Min + share(random, s.Max-s.Min) }

// share is a part of a time, from none to nearly all of it.
func share(random *rand.Rand, of time.Duration) time.Duration {
	return time.Duration(random.Float64() * float64(of))
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
	*f.names = nil
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(*f.names, item) {
			*f.names = append(*f.names, item)
		}
	}
	return nil
}
