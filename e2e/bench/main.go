// Command bench measures a CSI provisioner against a real control plane: Berth, the established csi-provisioner, and
// "floor", a bare client that only writes the same volumes. README.md beside it says what it measures and how.
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
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == subjectFloor {
		return floorMain(args[1:])
	}
	if len(args) > 0 && args[0] == onHostCommand {
		return onHost(args[1:])
	}
	options, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return bench(ctx, options, os.Stdout, os.Stderr)
}
