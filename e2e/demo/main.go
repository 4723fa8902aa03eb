// Command demo shows a claim's life in a terminal, and exits 0 only if it has seen all of it. As root, where a real node can run, it installs the chart
// with Helm, and Pods write to volumes and read back what a snapshot has kept. Elsewhere it says so, brings up a control plane, a CSI driver and Berth as
// processes, and lets claims of both binding modes be bound and deleted. With --stay it brings up the latter and keeps it for kubectl.
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
	"path/filepath"
	"syscall"

	"github.com/berth-csi/berth/e2e/harness"
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
	if *stay {
		err = withCluster(ctx, screen, dir, *driverConfig, keep)
	} else if err = withNode(ctx, screen, dir); errors.Is(err, harness.ErrNoNode) {
		screen.say(fmt.Sprintf("The control plane alone, for %v.", err))
		err = withCluster(ctx, screen, filepath.Join(dir, "alone"), *driverConfig, show)
	}
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
