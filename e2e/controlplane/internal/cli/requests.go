package cli

import (
	"fmt"
	"io"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/controlplane/internal/audit"
)

// requestsOptions are the flags of `requests`.
type requestsOptions struct {
	target    target
	asJSON    bool
	userAgent string
	since     string
	until     string
}

func newRequests() *cobra.Command {
	var o requestsOptions
	command := &cobra.Command{
		Use:   "requests --dir DIR",
		Short: "Count API requests by user agent, verb and resource",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return o.run(command.OutOrStdout()) },
	}
	o.target.addFlag(command)
	flags := command.Flags()
	flags.BoolVar(&o.asJSON, "json", false, "write JSON")
	flags.StringVar(&o.userAgent, "user-agent", "", "count only requests whose whole user agent matches this regular expression")
	flags.StringVar(&o.since, "since", "", "count only requests received at or after this time (RFC 3339, fractions allowed)")
	flags.StringVar(&o.until, "until", "", "count only requests received before this time")
	return command
}

func (o requestsOptions) run(out io.Writer) error {
	dir, err := o.target.directory()
	if err != nil {
		return err
	}
	filter, err := o.filter()
	if err != nil {
		return err
	}
	counter := audit.Counter{Filter: filter}
	if err := counter.AddFiles(dir.Audit()); err != nil {
		return err
	}
	if o.asJSON {
		return writeJSON(out, counter.Counts())
	}
	return writeCounts(out, counter.Counts())
}

func (o requestsOptions) filter() (audit.Filter, error) {
	var filter audit.Filter
	var err error
	if o.userAgent != "" {
		if filter.UserAgent, err = regexp.Compile(o.userAgent); err != nil {
			return filter, fmt.Errorf("--user-agent: %w", err)
		}
	}
	if filter.Since, err = parseTime(o.since); err != nil {
		return filter, fmt.Errorf("--since: %w", err)
	}
	if filter.Until, err = parseTime(o.until); err != nil {
		return filter, fmt.Errorf("--until: %w", err)
	}
	return filter, nil
}

// parseTime returns the zero time for an empty string.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, s)
}

func writeCounts(out io.Writer, counts []audit.Count) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COUNT\tUSER AGENT\tVERB\tRESOURCE\tSUBRESOURCE\tCODE")
	for _, c := range counts {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%d\n", c.Count, c.UserAgent, c.Verb, c.Resource, c.Subresource, c.Code)
	}
	return table.Flush()
}
