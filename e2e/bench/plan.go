package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A task is one subject on one fresh control plane.
type task struct {
	round   int
	subject string
	group   group
	latency time.Duration
	report  []string // the scenarios of the group that were asked for
}

func (t task) String() string {
	return fmt.Sprintf("round %d, %s: %s, driver latency %s", t.round, t.subject, strings.Join(t.report, "+"), t.latency)
}

// like reports whether the two do the same work, and so take about as long.
func (t task) like(other task) bool {
	return t.subject == other.subject && t.group.name == other.group.name && t.latency == other.latency
}

func (t task) wants(scenario string) bool { return slices.Contains(t.report, scenario) }

// scenarios to run: those asked for and, because they lead up to them, those before.
func (t task) scenarios() []scenario {
	last := 0
	for i, s := range t.group.scenarios {
		if t.wants(s.name) {
			last = i
		}
	}
	return t.group.scenarios[:last+1]
}

// plan lays out the runs. Subjects alternate within a round, and rounds follow each other, so that a machine that gets
// slower during the bench slows down every subject alike.
func plan(o Options) []task {
	var tasks []task
	for round := 1; round <= o.Rounds; round++ {
		for _, latency := range o.Latencies {
			for _, g := range groups() {
				report := wanted(g, o.Scenarios)
				if len(report) == 0 {
					continue
				}
				for _, subject := range o.Subjects {
					if g.subjects != nil && !slices.Contains(g.subjects, subject) {
						continue
					}
					tasks = append(tasks, task{round: round, subject: subject, group: g, latency: latency, report: report})
				}
			}
		}
	}
	return tasks
}

func wanted(g group, scenarios []string) []string {
	var names []string
	for _, s := range g.scenarios {
		if slices.Contains(scenarios, s.name) {
			names = append(names, s.name)
		}
	}
	return names
}

// remaining estimates how long the tasks will take: as long as the same work took before, or else what the options
// suggest.
func remaining(tasks []task, took map[int]time.Duration, all []task, o Options) time.Duration {
	var total time.Duration
	for _, t := range tasks {
		total += estimate(t, took, all, o)
	}
	return total
}

func estimate(t task, took map[int]time.Duration, all []task, o Options) time.Duration {
	for i, other := range slices.Backward(all) {
		if d, ok := took[i]; ok && other.like(t) {
			return d
		}
	}
	return environmentEstimate + t.group.estimate(subjects()[t.subject], o)
}

// environmentEstimate is for starting and stopping a control plane.
const environmentEstimate = 20 * time.Second
