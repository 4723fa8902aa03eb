package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A task is one run of one subject.
type task struct {
	subject string
	run, of int
	seed    uint64
}

func (t task) String() string {
	return fmt.Sprintf("%s, run %d of %d (--seed %d)", t.subject, t.run, t.of, t.seed)
}

// tasks lists the runs. A subject's nth run has the same schedule as any other's.
func tasks(o Options) []task {
	var all []task
	for _, subject := range o.Subjects {
		runs := o.Runs
		if subject == subjectPeer {
			runs = o.PeerRuns
		}
		for i := range runs {
			all = append(all, task{subject: subject, run: i + 1, of: runs, seed: o.Seed + uint64(i)})
		}
	}
	return all
}

// chaos makes all runs and reports them. It is an error if a run could not be made, or if Berth did not stand one; what
// becomes of the peer is only reported.
func chaos(ctx context.Context, o Options, out, progress io.Writer) error {
	if err := checkBinaries(o.Subjects); err != nil {
		return err
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano() / 1e6 % 1e9)
	}
	all := tasks(o)
	began := time.Now()
	var rows []row
	var failures []error
	for i, t := range all {
		fmt.Fprintf(progress, "[%d/%d] %s\n", i+1, len(all), t)
		found, err := runTask(ctx, t, o, progress)
		if ctx.Err() != nil {
			failures = append(failures, errors.New("interrupted"))
			break
		}
		if found != nil {
			rows = append(rows, *found)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", t, err))
			fmt.Fprintf(progress, "  FAILED: %v\n", err)
		}
	}
	fmt.Fprintf(progress, "%d of %d runs in %s\n", len(rows), len(all), time.Since(began).Round(time.Second))
	if err := writeTable(out, rows); err != nil {
		return err
	}
	if o.JSON != "" {
		if err := writeJSON(o.JSON, rows); err != nil {
			return err
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d of %d runs failed:\n%w", len(failures), len(all), errors.Join(failures...))
	}
	return nil
}

// runTask makes one run. The row is nil if it did not come to an end.
func runTask(ctx context.Context, t task, o Options, progress io.Writer) (found *row, err error) {
	dir, err := runDir(o.Keep, t)
	if err != nil {
		return nil, err
	}
	r := &chaosRun{subject: t.subject, seed: t.seed, options: o, schedule: newSchedule(o, t.seed), dir: dir, progress: progress}
	defer func() {
		if closeErr := r.close(ctx); closeErr != nil {
			fmt.Fprintf(progress, "  not stopped cleanly: %v\n", closeErr)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			fmt.Fprintf(progress, "  logs and data are in %s\n", dir)
		case o.Keep == "":
			_ = os.RemoveAll(dir)
		}
	}()
	became, err := r.do(ctx)
	if err != nil {
		return nil, err
	}
	return r.report(ctx, became)
}

// report makes the row and, of Berth, an error of all that is wrong.
func (r *chaosRun) report(ctx context.Context, o outcome) (*row, error) {
	_, deleted := r.ledger.counts()
	v := o.verdict
	found := &row{
		figures: figures{
			Subject: r.subject, Claims: len(r.schedule.Claims), Deleted: deleted, Kills: o.kills,
			Leaked: len(v.Leaked), Doubled: len(v.Doubled), Unbound: len(v.Unbound), PVWithoutVolume: len(v.PVWithoutVolume),
		},
		seed: r.seed, settled: o.Took, end: v.String(),
	}
	fmt.Fprintf(r.progress, "  %s, %s after the last trouble; killed %d times, ended by itself %d times\n",
		v, o.Took.Round(100*time.Millisecond), o.kills, o.ends)
	if v.exact() && len(o.complaints) == 0 {
		return found, nil
	}
	if v.exact() {
		found.end = "the volumes are right, but see above"
	}
	fmt.Fprint(r.progress, indent(r.explain(ctx, o)))
	if r.subject != subjectBerth {
		return found, nil
	}
	return found, errors.New(found.end)
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}
