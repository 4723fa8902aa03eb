// Command controlplane runs a real Kubernetes control plane on loopback; README.md says how to use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-csi/berth/e2e/controlplane/internal/cli"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
	"github.com/berth-csi/berth/e2e/controlplane/internal/stock"
)

func main() {
	os.Exit(run())
}

// run is all of the program, the test binary's included: it is called as a component too.
func run() int {
	if call, args, ok := node.ParseCall(os.Args); ok {
		return call.Run(args)
	}
	var err error
	if call, ok := cli.ParseComponentCall(os.Args); ok {
		// Components handle signals themselves.
		err = stock.Run(call.Name, call.Args, cli.Lifeline())
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		err = cli.New().ExecuteContext(ctx)
	}
	var ended cli.Exit
	if errors.As(err, &ended) {
		return int(ended)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		return 1
	}
	return 0
}
