// Command scribe is what runs in the Pods of the tests: it writes files and reads them back, and says what it read. Arguments are steps, done in order:
//
//	write FILE TEXT    writes, and syncs to what is below
//	read FILE          prints the content and a line feed
//	head FILE N        prints the first N bytes and a line feed, of a device for example
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
	"strconv"
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
		case step == "head" && len(steps) > 2:
			if err := head(steps[1], steps[2], out); err != nil {
				return err
			}
			steps = steps[3:]
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

func head(path, count string, out io.Writer) error {
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.CopyN(out, file, n); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out)
	return err
}

func write(path, text string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Sync(), file.Close())
}
