package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/berth-csi/berth/e2e/harness"
)

// closeTimeout bounds taking everything down.
const closeTimeout = 2 * time.Minute

// compare runs all cases that were asked for and reports on out. Progress goes to log. The error says how many
// cases do not come out as intended.
func compare(ctx context.Context, o Options, out, log io.Writer) (err error) {
	groups := picked(allGroups(), o.Case)
	if len(groups) == 0 {
		return fmt.Errorf("no case matches %s", o.Case)
	}
	dir, done, err := workspace(o.Keep)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	progress := func(format string, args ...any) {
		fmt.Fprintf(log, "[%3.0fs] %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	progress("%d cases in %d groups, each for %s and for %s; starting a control plane", countCases(groups), len(groups), peerName, berthName)
	t, err := openTown(ctx, dir, o.Parallel)
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, t.controlPlane.Down(ending))
	}()
	both, err := subjects(ctx, t.controlPlane)
	if err != nil {
		return err
	}
	book := newRulebook(intended)
	var verdicts []verdict
	for i, g := range groups {
		these, err := t.compareGroup(ctx, g, both, book, func(format string, args ...any) {
			progress("%2d/%d %s: %s", i+1, len(groups), g.name, fmt.Sprintf(format, args...))
		})
		if err != nil {
			return fmt.Errorf("group %s: %w", g.name, err)
		}
		verdicts = append(verdicts, these...)
	}
	return conclude(out, o, verdicts, book, time.Since(began))
}

// openTown starts the control plane. Its own limits are out of the way, and claims may refer to other namespaces.
func openTown(ctx context.Context, dir string, parallel int) (*town, error) {
	controlPlane, err := harness.StartControlPlane(ctx, filepath.Join(dir, "cp"), harness.ControlPlaneOptions{
		Limits:       harness.ClientLimits{QPS: 5000, Burst: 10000},
		FeatureGates: []string{"kube-apiserver:CrossNamespaceVolumeDataSource=true"},
	})
	if err != nil {
		return nil, err
	}
	t := &town{controlPlane: controlPlane, dir: dir, parallel: parallel}
	config := controlPlane.Config()
	config.WarningHandler = rest.NoWarnings{} // that a class is old-fashioned is why there is a case for it
	if t.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, errors.Join(err, controlPlane.Down(ctx))
	}
	if t.grants, err = harness.InstallReferenceGrants(ctx, controlPlane); err != nil {
		return nil, errors.Join(err, controlPlane.Down(ctx))
	}
	return t, nil
}

// compareGroup plays a group for both subjects, one after the other, and compares. Only a surrounding that does not work is
// an error: what a subject does not manage belongs to the verdicts.
func (t *town) compareGroup(ctx context.Context, g group, both []subject, book *rulebook, progress func(string, ...any)) ([]verdict, error) {
	if err := g.driver.createNodes(ctx, t.client); err != nil {
		return nil, err
	}
	var results []map[string]played
	for _, who := range both {
		began := time.Now()
		result, err := t.playGroup(ctx, g, who)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			progress("%s: %v", who.name, err)
		} else {
			progress("%s, %d cases in %.0fs", who.name, len(result), time.Since(began).Seconds())
		}
		results = append(results, everyCase(g, result, err))
	}
	if err := g.driver.deleteNodes(ctx, t.client); err != nil {
		return nil, err
	}
	var verdicts []verdict
	for _, c := range g.cases {
		v := judge(g, c, results[0][c.name], results[1][c.name], book)
		verdicts = append(verdicts, v)
		if err := t.keep(v, results[0][c.name], results[1][c.name]); err != nil {
			return nil, err
		}
	}
	return verdicts, nil
}

// everyCase gives an error of the whole group to the cases that were not played.
func everyCase(g group, results map[string]played, err error) map[string]played {
	all := map[string]played{}
	maps.Copy(all, results)
	for _, c := range g.cases {
		if _, ok := all[c.name]; !ok {
			all[c.name] = played{err: fmt.Errorf("not played: %w", err)}
		}
	}
	return all
}

// keep writes what was seen beside the logs.
func (t *town) keep(v verdict, peer, berth played) error {
	data, err := json.MarshalIndent(map[string]any{"verdict": v, peerName: peer.seen, berthName: berth.seen}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.dir, slug(v.Group, ""), slug(v.Group, v.Case)+".json"), data, 0o644)
}

// workspace is the directory to keep, or one that is removed.
func workspace(keep string) (dir string, done func(), err error) {
	if keep == "" {
		dir, err = os.MkdirTemp("", "compare-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	if dir, err = filepath.Abs(keep); err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return "", nil, fmt.Errorf("%s is not empty: keep a run in a new directory", dir)
	}
	return dir, func() {}, os.MkdirAll(dir, 0o755)
}

// A verdict is what the comparison of one case came to.
type verdict struct {
	Group       string       `json:"group"`
	Case        string       `json:"case"`
	Outcome     outcome      `json:"outcome"` // of the established provisioner
	Differences []difference `json:"differences,omitempty"`
	// Problems are why there is nothing to compare, or nothing that means what it should.
	Problems []string            `json:"problems,omitempty"`
	Said     map[string][]string `json:"said,omitempty"`
}

// open are the differences that nothing explains.
func (v verdict) open() []difference {
	return slices.DeleteFunc(slices.Clone(v.Differences), func(d difference) bool { return d.Rule != "" })
}

func (v verdict) ok() bool { return len(v.Problems) == 0 && len(v.open()) == 0 }

// judge compares what was seen.
func judge(g group, c testCase, peer, berth played, book *rulebook) verdict {
	v := verdict{Group: g.name, Case: c.name, Said: map[string][]string{}}
	for _, side := range []struct {
		name string
		played
	}{{peerName, peer}, {berthName, berth}} {
		if side.err != nil {
			v.Problems = append(v.Problems, fmt.Sprintf("%s: %v", side.name, side.err))
		}
		if side.seen != nil {
			v.Said[side.name] = side.seen.allSaid()
		}
	}
	if len(v.Problems) > 0 {
		return v
	}
	for _, name := range c.claimNames() {
		v.Outcome = peer.seen.Claims[name].Outcome
		if v.Outcome != c.expected() {
			v.Problems = append(v.Problems, fmt.Sprintf("claim %s with %s: %s, but the case is about one that is %s",
				name, peerName, v.Outcome, c.expected()))
		}
	}
	differences, err := compareSeen(peer.seen, berth.seen)
	if err != nil {
		v.Problems = append(v.Problems, err.Error())
	}
	for _, d := range differences {
		d.Rule = book.find(title(g.name, c.name), d)
		v.Differences = append(v.Differences, d)
	}
	return v
}

// compareSeen compares two observations of one case.
func compareSeen(peer, berth *observation) ([]difference, error) {
	var all []difference
	for _, name := range slices.Sorted(maps.Keys(peer.Claims)) {
		a, err := tree(peer.Claims[name])
		if err != nil {
			return nil, err
		}
		b, err := tree(berth.Claims[name])
		if err != nil {
			return nil, err
		}
		for _, d := range compareTrees("", a, b) {
			d.Claim = name
			all = append(all, d)
		}
	}
	a, err := tree(peer.Sources)
	if err != nil {
		return nil, err
	}
	b, err := tree(berth.Sources)
	if err != nil {
		return nil, err
	}
	return append(all, compareTrees("sources", a, b)...), nil
}

// allSaid is everything that was said, about one claim after the other.
func (o *observation) allSaid() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(o.Said)) {
		all = append(all, o.Said[name]...)
	}
	return all
}
