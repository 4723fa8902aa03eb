// Command image makes a container image of a static Go program, without a daemon, a registry or a base: an archive in the layout of the Open Container
// Initiative (OCI), and a list of what is in the program. It reads nothing but its arguments and the programs, so the same programs
// make the same archive, byte for byte, on any machine and in any directory.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	err := run(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "image: %v\n", err)
		os.Exit(1)
	}
}
