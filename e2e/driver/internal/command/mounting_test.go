package command_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-csi/berth/e2e/driver/internal/command"
	"github.com/berth-csi/berth/e2e/driver/internal/mounts"
)

// inside says to a test that it runs where its mounts are its own.
const inside = "POOLD_TEST_MOUNTS"

// inOwnMounts says whether the test is to go on here. Otherwise it has run in another process, with a mount namespace of its own: what it mounts nobody
// else sees, and nothing is left of it when the process ends, however it ends.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	output, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skip("this machine gives out no mount namespaces")
	case err != nil && !errors.As(err, &failed):
		t.Fatal(err)
	case err != nil:
		t.Fatalf("in a mount namespace of its own: %v\n%s", err, output)
	case strings.Contains(string(output), "--- SKIP: "+t.Name()+" "):
		t.Skipf("in a mount namespace of its own:\n%s", output)
	}
	return false
}

// mounting makes a driver mount.
func mounting(o *command.Options) { o.Mount = true }

// needsLoops skips a test where there are no loop devices.
func needsLoops(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	loop, err := mounts.AttachLoop(file, false)
	if err != nil {
		t.Skipf("this machine gives out no loop devices: %v", err)
	}
	if err := mounts.DetachLoop(loop); err != nil {
		t.Fatal(err)
	}
}

// releasesLoops sees to it that no loop device stays behind, which a test would leave that fails.
func (p place) releasesLoops(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if out, err := run("release", "--state", p.path("state")); err != nil || out != "" && !t.Failed() {
			t.Errorf("loop devices that are still attached: %q (%v)", out, err)
		}
	})
}
