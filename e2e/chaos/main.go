// Command chaos kills a CSI provisioner every few seconds while claims come and go, and then compares what the driver holds
// with what the API server knows: there must be no volume too many and none too few. README.md beside it says what
// exactly is broken, what is compared, and how to read a failure.
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
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	options, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return chaos(ctx, options, os.Stdout, os.Stderr)
}
