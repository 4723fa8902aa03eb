// Command compare gives the same objects to the established csi-provisioner and to Berth, each beside a driver of its own on
// one control plane, and compares field by field what the driver was asked and what the API server holds afterwards.
//
// A difference is either intended, and then a rule in intended.go names it and docs/differences.md explains it, or it is a
// defect and the exit code 1. The same goes for a rule that nothing needs any more. README.md beside this says how to run
// it and how to add a case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	options, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	if options.List {
		return list(os.Stdout, allGroups())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return compare(ctx, options, os.Stdout, os.Stderr)
}
