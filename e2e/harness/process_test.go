package harness

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := StartProcess(ProcessSpec{
		Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "logs", "script.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() })
	return p
}

// said waits until the process has written text.
func said(t *testing.T, p *Process, text string) {
	t.Helper()
	if err := Eventually(t.Context(), "the script has said "+text, func(context.Context) error {
		if !strings.Contains(p.Log(), text) {
			return os.ErrNotExist
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestProcessTellsHowItEnded(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   Exit
		text   string
	}{
		"exit code":    {"exit 3", Exit{Code: 3}, "exit code 3"},
		"clean":        {"true", Exit{}, "exit code 0"},
		"by a signal":  {"kill -TERM $$", Exit{Code: -1, Signal: syscall.SIGTERM}, "signal: terminated"},
		"after output": {"echo one; echo two >&2; exit 1", Exit{Code: 1}, "exit code 1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := shell(t, test.script).Wait(t.Context())
			if err != nil || got != test.want || got.String() != test.text {
				t.Errorf("got %v (%v), want %v", got, err, test.want)
			}
		})
	}
}

func TestStopIsSIGTERM(t *testing.T) {
	p := shell(t, `trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done`)
	said(t, p, "ready")
	exit, err := p.Stop(t.Context())
	if err != nil || exit != (Exit{Code: 7}) || !strings.Contains(p.LogTail(2), "bye") {
		t.Errorf("got %v (%v), log %q", exit, err, p.Log())
	}
}

func TestStopKillsTheGroupThatDoesNotEnd(t *testing.T) {
	p := shell(t, `trap '' TERM; sleep 1000 & echo child $!; wait; sleep 1000`)
	said(t, p, "child ")
	child := strings.TrimSpace(strings.TrimPrefix(p.Log(), "child "))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	exit, err := p.Stop(ctx)
	if err == nil || exit.Signal != syscall.SIGKILL {
		t.Errorf("got %v (%v), want an error that says it was killed", exit, err)
	}
	if err := Eventually(t.Context(), "the child is gone", func(ctx context.Context) error {
		stat, err := os.ReadFile("/proc/" + child + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return nil //nolint:nilerr // gone, or nobody has collected it
		}
		return os.ErrExist
	}); err != nil {
		t.Error(err)
	}
}

func TestRestartedProcessHasANewLifeInTheSameLog(t *testing.T) {
	p := shell(t, `trap 'exit 0' TERM; echo "life $$"; while :; do sleep 0.01; done`)
	said(t, p, "life ")
	first := p.Log()
	if err := p.Start(); err == nil {
		t.Error("started twice at once")
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	said(t, p, "life ")
	if p.Log() == first || !strings.HasPrefix(p.LogTail(2), first) {
		t.Errorf("log of this life is %q, all of it is %q, first was %q", p.Log(), p.LogTail(2), first)
	}
}

func TestUsageIsKnownDuringAndAfterALife(t *testing.T) {
	p := shell(t, `i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo done; sleep 1000`)
	said(t, p, "done")
	during, err := p.Usage()
	if err != nil || during.CPU <= 0 || during.PeakRSS < during.RSS || during.RSS < 100<<10 {
		t.Errorf("during: %+v (%v)", during, err)
	}
	p.Kill()
	after, err := p.Usage()
	if err != nil || after.CPU < during.CPU || after.PeakRSS < during.PeakRSS || after.RSS != 0 {
		t.Errorf("after: %+v (%v), during: %+v", after, err, during)
	}
}

// The test runs itself as the harness that is killed.
func TestNothingIsLeftWhenTheHarnessIsKilled(t *testing.T) {
	const variable = "HARNESS_TEST_LOG"
	if log := os.Getenv(variable); log != "" {
		if _, err := StartProcess(ProcessSpec{
			Name: "script", Path: "/bin/sh", Args: []string{"-c", "echo child $$; exec sleep 1000"}, Log: log,
		}); err != nil {
			t.Fatal(err)
		}
		<-t.Context().Done() // until it is killed
	}
	log := filepath.Join(t.TempDir(), "child.log")
	harness := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	harness.Env = append(os.Environ(), variable+"="+log)
	if err := harness.Start(); err != nil {
		t.Fatal(err)
	}
	var child string
	if err := Eventually(t.Context(), "the child runs", func(context.Context) error {
		data, err := os.ReadFile(log)
		if err != nil || !strings.HasSuffix(string(data), "\n") {
			return os.ErrNotExist
		}
		child = strings.TrimSpace(strings.TrimPrefix(string(data), "child "))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := harness.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = harness.Wait()
	if err := Eventually(t.Context(), "the child is gone", func(context.Context) error {
		stat, err := os.ReadFile("/proc/" + child + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return nil //nolint:nilerr // gone, or nobody has collected it
		}
		return os.ErrExist
	}); err != nil {
		t.Error(err)
	}
}

func TestMissingBinaryNamesItsTarget(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(BinDirVariable, dir)
	if err := CheckBinaries(); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v, want make build in it", err)
	}
	t.Setenv(BinDirVariable, "")
	t.Chdir(dir)
	if _, err := Binary(driverBinary); err == nil || !strings.Contains(err.Error(), "make e2e-bins") {
		t.Errorf("got %v, want make e2e-bins in it", err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(filepath.Join(dir, "below", "here"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, driverBinary), nil, 0o755); err != nil { //nolint:gosec // meant to be executable
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "below", "here"))
	if got, err := Binary(driverBinary); err != nil || got != filepath.Join(bin, driverBinary) {
		t.Errorf("got %s (%v), want the one above the working directory", got, err)
	}
}
