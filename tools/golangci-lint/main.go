// Command golangci-lint is the upstream linter with the logcheck analyzer of the Kubernetes project compiled in, so
// that one program and one configuration file check the whole tree. Versions are pinned by this module's go.mod.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/golangci/golangci-lint/v2/pkg/commands"
	"github.com/golangci/golangci-lint/v2/pkg/exitcodes"
	// Registers logcheck as a module plugin; .golangci.yml turns it on.
	_ "sigs.k8s.io/logtools/logcheck/gclplugin"
)

// upstream is the module whose version this program reports as its own.
const upstream = "github.com/golangci/golangci-lint/v2"

func main() {
	if err := commands.Execute(buildInfo()); err != nil {
		fmt.Fprintln(os.Stderr, "golangci-lint:", err)
		os.Exit(exitcodes.Failure)
	}
}

func buildInfo() commands.BuildInfo {
	info := commands.BuildInfo{GoVersion: "unknown", Version: "unknown", Commit: "with logcheck", Date: "unknown"}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	info.GoVersion = build.GoVersion
	for _, dep := range build.Deps {
		if dep.Path == upstream {
			info.Version = strings.TrimPrefix(dep.Version, "v")
		}
	}
	return info
}
