package main

import (
	"flag"
	"fmt"
	"io"
	"regexp"
)

// Options say what to compare.
type Options struct {
	// Case picks cases by group and name, as "group: name"; nil is all of them.
	Case *regexp.Regexp
	// JSON is the file that the outcome is written to; empty for none.
	JSON string
	// Keep is the directory in which logs and what was observed stay; empty for none.
	Keep string
	// List names the cases and does nothing else.
	List bool
	// Parallel is how many cases of a group run at once.
	Parallel int
}

func parseOptions(args []string, usage io.Writer) (Options, error) {
	o := Options{Parallel: 8}
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(usage)
	pattern := flags.String("case", "", "`REGEXP` that picks cases by \"group: name\"")
	flags.StringVar(&o.JSON, "json", "", "`FILE` to write everything that was compared to")
	flags.StringVar(&o.Keep, "keep", "", "`DIR` in which the logs and what was observed stay")
	flags.BoolVar(&o.List, "list", false, "name the cases, do nothing else")
	flags.IntVar(&o.Parallel, "parallel", o.Parallel, "how many cases of a group run at once")
	if err := flags.Parse(args); err != nil {
		return Options{}, err
	}
	if flags.NArg() > 0 {
		return Options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.Parallel < 1 {
		return Options{}, fmt.Errorf("--parallel must be 1 or more, not %d", o.Parallel)
	}
	if *pattern != "" {
		var err error
		if o.Case, err = regexp.Compile(*pattern); err != nil {
			return Options{}, fmt.Errorf("--case: %w", err)
		}
	}
	return o, nil
}
