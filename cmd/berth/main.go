// Command berth provisions the volumes of one CSI driver in a Kubernetes cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-csi/berth/cmd/berth/app"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(app.Main(ctx, version, os.Args[1:], os.Stdout, os.Stderr))
}
