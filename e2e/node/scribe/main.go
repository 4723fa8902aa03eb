// Command scribe is what runs in the Pods of the tests: it writes files and reads them back, and says what it read. Arguments are steps, done in order:
//
//	write FILE TEXT    writes, and syncs to what is below
//	read FILE          prints the content and a line feed
//	stay               waits for SIGTERM; without it the program ends
//
// A step that cannot be done ends it with exit code 1.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "scribe: %v\n", err)
		os.Exit(1)
	}
}

func run(steps []string, out io.Writer) error {
	for len(steps) > 0 {
		step := steps[0]
		switch {
		case step == "write" && len(steps) > 2:
			if err := write(steps[1], steps[2]); err != nil {
				return err
			}
			steps = steps[3:]
		case step == "read" && len(steps) > 1:
			content, err := os.ReadFile(steps[1])
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%s\n", content)
			steps = steps[2:]
		case step == "stay":
			ends := make(chan os.Signal, 1)
			signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
			<-ends
			steps = steps[1:]
		default:
			return fmt.Errorf("%q is no step, or lacks its arguments", step)
		}
	}
	return nil
}

func write(path, text string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Sync(), file.Close())
}
