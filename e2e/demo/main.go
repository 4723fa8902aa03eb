// Command demo shows a claim's life in a terminal: it brings up a control plane, a CSI driver and Berth, lets claims of
// both binding modes be bound and deleted, and exits 0 only if it has seen all of it. With --stay it brings up the same
// and keeps it for kubectl.
//
// It is the place to read how the parts fit together; the stories that are tests are in the directory above.
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, and the kernel its children
	os.Exit(run(ctx, os.Args[1:]))
}

// The exit codes, beside 0 for "all of it was seen".
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	stay := flags.Bool("stay", false, "keep everything until Ctrl-C, for kubectl")
	driverConfig := flags.String("driver-config", "e2e/driver/demo.yaml", "`FILE` the CSI driver is configured with")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}

	screen := newScreen(os.Stdout)
	dir, err := os.MkdirTemp("", "berth-demo-")
	if err != nil {
		screen.failure(err)
		return exitFailed
	}
	story := show
	if *stay {
		story = keep
	}
	err = withCluster(ctx, screen, dir, *driverConfig, story)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		screen.say("Interrupted; nothing is left running.")
		return max(exitInterrupted, remove(screen, dir))
	default:
		screen.failure(fmt.Errorf("%w\n\nLogs and data are in %s", err, dir))
		return exitFailed
	}
	return remove(screen, dir)
}

func remove(screen *screen, dir string) int {
	if err := os.RemoveAll(dir); err != nil {
		screen.failure(err)
		return exitFailed
	}
	return 0
}
