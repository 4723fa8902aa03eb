package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// bench runs all there is to run, reports what it measured, and returns an error if any run failed.
func bench(ctx context.Context, o Options, out, progress io.Writer) error {
	if err := checkBinaries(o.Subjects); err != nil {
		return err
	}
	tasks := plan(o)
	took := map[int]time.Duration{}
	var results []result
	var failures []error
	began := time.Now()
	for i, t := range tasks {
		left := remaining(tasks[i:], took, tasks, o)
		fmt.Fprintf(progress, "[%d/%d] %s (about %s left)\n", i+1, len(tasks), t, roughly(left))
		start := time.Now()
		found, err := runTask(ctx, t, o, progress)
		results = append(results, found...)
		if ctx.Err() != nil {
			failures = append(failures, errors.New("interrupted"))
			break
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", t, err))
			fmt.Fprintf(progress, "  FAILED: %v\n", err)
			continue
		}
		took[i] = time.Since(start)
	}
	all := summarise(results)
	fmt.Fprintf(progress, "%s in %s\n", plural(len(tasks), "run"), time.Since(began).Round(time.Second))
	if err := writeTable(out, all); err != nil {
		return err
	}
	if o.JSON != "" {
		if err := writeJSON(o.JSON, all); err != nil {
			return err
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d of %s failed:\n%w", len(failures), plural(len(tasks), "run"), errors.Join(failures...))
	}
	return nil
}

// runTask brings up an environment, runs the scenarios of a group in it, and takes it down. What was measured before a
// failure is returned with it.
func runTask(ctx context.Context, t task, o Options, progress io.Writer) (results []result, err error) {
	dir, remove, err := runDir(o.Keep, t)
	if err != nil {
		return nil, err
	}
	defer remove()
	e, err := openEnvironment(ctx, dir, t, o, progress)
	defer func() {
		if err != nil {
			fmt.Fprint(progress, e.describeSubject())
		}
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		if closeErr := e.close(closing); closeErr != nil {
			fmt.Fprintf(progress, "  not stopped cleanly: %v\n", closeErr)
		}
	}()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(progress, "  control plane ready after %s, driver and subject running\n",
		e.controlPlane.ReadyAfter.Round(100*time.Millisecond))
	if err := t.group.warm(ctx, e); err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}
	sleep(ctx, o.Settle)
	for _, s := range t.scenarios() {
		readings, err := s.run(ctx, e, o)
		if err != nil {
			return results, fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(progress, "  %s: %s\n", s.name, headline(readings))
		if t.wants(s.name) {
			results = append(results, result{runKey{t.subject, s.name, t.latency}, readings})
		}
	}
	return results, nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// describeSubject is the end of its log, which is removed with everything else.
func (e *environment) describeSubject() string {
	if e == nil || e.process == nil {
		return ""
	}
	return fmt.Sprintf("  the log of the subject ends with:\n%s\n", indent(e.process.LogTail(8)))
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

// headline is the readings in one line, without those that are counted by kind.
func headline(readings []reading) string {
	var parts []string
	for _, s := range summariseRuns(runKey{}, []result{{readings: readings}}) {
		if !strings.Contains(s.Metric, "/") {
			parts = append(parts, s.Metric+" "+formatValue(s.Median, s.Unit))
		}
	}
	return strings.Join(parts, ", ")
}

// roughly shows no more digits than an estimate has.
func roughly(d time.Duration) string {
	if d < 55*time.Second {
		return d.Round(10 * time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// writeJSON replaces the file at once, so that nobody reads half of it.
func writeJSON(file string, all []series) error {
	if all == nil {
		all = []series{}
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	temporary := file + ".tmp"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return os.Rename(temporary, file)
}
