package harness

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTicks is USER_HZ, which Linux has fixed at 100 for everything it tells user space.
const clockTicks = 100

// Usage is what a process has cost.
type Usage struct {
	// CPU is user and system time together.
	CPU time.Duration
	// PeakRSS is the largest resident set so far, in bytes.
	PeakRSS int64
	// RSS and AnonRSS are the resident set now and the part of it that is not backed by files; 0 after the end.
	RSS, AnonRSS int64
}

// usageOf reads the cost of a living process.
func usageOf(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	// The second field is the name in parentheses and may hold anything; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return Usage{}, fmt.Errorf("unexpected /proc/%d/stat: %q", pid, stat)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("unexpected /proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	usage := Usage{CPU: time.Duration(ticks) * time.Second / clockTicks}

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "VmHWM":
			usage.PeakRSS = kilobytes << 10
		case "VmRSS":
			usage.RSS = kilobytes << 10
		case "RssAnon":
			usage.AnonRSS = kilobytes << 10
		}
	}
	return usage, nil
}

// usageAfter is the cost of a process that has ended.
func usageAfter(state *os.ProcessState) Usage {
	if state == nil {
		return Usage{}
	}
	usage := Usage{CPU: state.UserTime() + state.SystemTime()}
	if rusage, ok := state.SysUsage().(*syscall.Rusage); ok {
		usage.PeakRSS = rusage.Maxrss << 10
	}
	return usage
}

// tailFile returns the last lines of a file, reading no more than its last 64 KiB.
func tailFile(path string, lines int) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		_, _ = file.Seek(max(0, size-64<<10), io.SeekStart)
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
