package main

import (
	"fmt"
	"os"
)

// resetPeakRSS makes a process's peak of memory start again from what is resident now, so that a scenario is not
// charged with the one before it (proc_pid_clear_refs(5)). Where the kernel refuses, the peak is that of the process's
// whole life, which is never less.
func resetPeakRSS(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
