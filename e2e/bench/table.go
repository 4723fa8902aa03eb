package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A comparison is a ratio column: how a subject stands against another.
type comparison struct{ of, against string }

var comparisons = []comparison{{subjectBerth, subjectPeerTuned}, {subjectBerth, subjectFloor}}

// writeTable prints a table for each scenario and driver latency: a row a metric, a column a subject, then the ratios.
func writeTable(w io.Writer, all []series) error {
	type block struct{ scenario, latency string }
	var blocks []block
	members := map[block][]series{}
	for _, s := range all {
		b := block{s.Scenario, s.Latency}
		if _, ok := members[b]; !ok {
			blocks = append(blocks, b)
		}
		members[b] = append(members[b], s)
	}
	for _, b := range blocks {
		title := fmt.Sprintf("%s, driver latency %s: median of %s", b.scenario, b.latency, plural(maxRuns(members[b]), "run"))
		if _, err := fmt.Fprintf(w, "\n%s\n%s", title, renderRows(tableRows(members[b]))); err != nil {
			return err
		}
	}
	return nil
}

func maxRuns(all []series) int {
	n := 0
	for _, s := range all {
		n = max(n, len(s.Runs))
	}
	return n
}

// tableRows is one scenario's table, header first.
func tableRows(all []series) [][]string {
	var subjects, metrics []string
	cells := map[[2]string]series{}
	for _, s := range all {
		if !slices.Contains(subjects, s.Subject) {
			subjects = append(subjects, s.Subject)
		}
		if !slices.Contains(metrics, s.Metric) {
			metrics = append(metrics, s.Metric)
		}
		cells[[2]string{s.Metric, s.Subject}] = s
	}
	slices.SortStableFunc(subjects, func(a, b string) int {
		return slices.Index(subjectNames(), a) - slices.Index(subjectNames(), b)
	})
	slices.SortFunc(metrics, compareMetrics)

	header := append([]string{"metric"}, subjects...)
	var ratios []comparison
	for _, c := range comparisons {
		if slices.Contains(subjects, c.of) && slices.Contains(subjects, c.against) {
			ratios = append(ratios, c)
			header = append(header, c.of+"/"+c.against)
		}
	}
	rows := [][]string{header}
	for _, metric := range metrics {
		row := []string{metricLabel(metric)}
		for _, subject := range subjects {
			row = append(row, cell(cells, metric, subject))
		}
		for _, c := range ratios {
			row = append(row, ratioCell(cells, metric, c))
		}
		rows = append(rows, row)
	}
	return rows
}

// metricLabel indents a kind below its metric.
func metricLabel(metric string) string {
	if _, kind, ok := strings.Cut(metric, "/"); ok {
		return "  " + strings.ReplaceAll(kind, "/", " ")
	}
	return metric
}

func cell(cells map[[2]string]series, metric, subject string) string {
	s, ok := cells[[2]string{metric, subject}]
	if !ok {
		return "-"
	}
	return formatValue(s.Median, s.Unit)
}

func ratioCell(cells map[[2]string]series, metric string, c comparison) string {
	a, okA := cells[[2]string{metric, c.of}]
	b, okB := cells[[2]string{metric, c.against}]
	if !okA || !okB {
		return "-"
	}
	r, ok := ratio(a.Median, b.Median)
	if !ok {
		return "-"
	}
	return strconv.FormatFloat(r, 'f', 2, 64)
}

// formatValue shows a value with as many digits as it deserves.
func formatValue(v float64, unit string) string {
	switch unit {
	case unitSeconds:
		if v < 1 {
			return strconv.FormatFloat(v, 'f', 3, 64) + " s"
		}
		return strconv.FormatFloat(v, 'f', 2, 64) + " s"
	case unitBytes:
		return strconv.FormatFloat(v/1e6, 'f', 1, 64) + " MB"
	}
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// renderRows aligns columns: names to the left, figures to the right.
func renderRows(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], len(c))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			if i == 0 {
				fmt.Fprintf(&line, "%-*s", widths[i], c)
			} else {
				fmt.Fprintf(&line, "  %*s", widths[i], c)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
