package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// figures are what a run comes down to, as they go into the JSON list.
type figures struct {
	Subject string `json:"subject"`
	// Claims that were created, and how many of them were deleted.
	Claims  int `json:"claims"`
	Deleted int `json:"deleted"`
	// Kills of the subject with SIGKILL.
	Kills int `json:"kills"`
	// Leaked volumes have no PV. Doubled claims have more than one volume. Unbound claims were not deleted and are not
	// bound.
	Leaked          int `json:"leaked"`
	Doubled         int `json:"doubled"`
	Unbound         int `json:"unbound"`
	PVWithoutVolume int `json:"pv_without_volume"`
}

// row is a run in the table.
type row struct {
	figures
	seed    uint64
	settled time.Duration
	end     string
}

func writeTable(w io.Writer, rows []row) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nsubject\tseed\tclaims\tdeleted\tkills\tleaked\tdoubled\tunbound\tPV without volume\tsettled after\tend")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", r.Subject, r.seed, r.Claims, r.Deleted, r.Kills,
			r.Leaked, r.Doubled, r.Unbound, r.PVWithoutVolume, r.settled.Round(100*time.Millisecond), r.end)
	}
	return table.Flush()
}

// writeJSON replaces the file at once, so that nobody reads half of it.
func writeJSON(file string, rows []row) error {
	all := make([]figures, 0, len(rows))
	for _, r := range rows {
		all = append(all, r.figures)
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
