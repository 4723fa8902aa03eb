package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
)

// nodeRuntime is where make node-bins puts what a node runs.
const nodeRuntime = "../../bin/node"

// machine is what a node must leave as it was.
type machine struct {
	Sysctls map[string]string
	// Mounts, Cgroups and Processes are those that have to do with the node's directory; there are none before and none after. Others on the same
	// machine have theirs, which come and go.
	Mounts    []string
	Cgroups   []string
	Processes []string
}

// TestNodesLeaveNothing runs two side by side. One is stopped, one is killed, its supervisor is killed, and each time the machine is as it was.
func TestNodesLeaveNothing(t *testing.T) {
	requireNode(t)
	before := machine{Sysctls: sysctls(t)}
	a := launch(t, "--node", "--node-runtime", nodeRuntime)
	b := launch(t, "--node", "--node-runtime", nodeRuntime, "--crds=false", "--audit=false")
	first, second := a.awaitReady(t), b.awaitReady(t)
	if first.Server == second.Server {
		t.Fatalf("both serve at %s", first.Server)
	}
	createConfigMaps(t, a, "test", 1) // would fail the second time, were they one
	createConfigMaps(t, b, "test", 1)
	for _, name := range component.Node() {
		if s := a.status(t)[name]; s.State != control.Running || s.CPUSeconds == 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if out := a.do(t, "exec", "--", "sh", "-c", "hostname; cat /proc/sys/vm/overcommit_memory"); out != node.Name+"\n1\n" {
		t.Errorf("on the node: %q", out)
	}
	if _, stderr, err := a.try("exec", "--", "sh", "-c", "echo no >&2; exit 7"); err == nil || err.Error() != "exit status 7" || stderr != "no\n" {
		t.Errorf("a command that fails: %v, %q", err, stderr)
	}
	a.do(t, "restart", "kubelet", "--signal", "KILL")
	a.do(t, "restart", "containerd", "--signal", "KILL")

	if err := b.up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-b.ended
	same(t, "after SIGKILL", before, b)
	if s := a.status(t)[component.Kubelet]; s.State != control.Running {
		t.Errorf("the other's kubelet: %+v", s)
	}
	// And once more on the same directory.
	b.again(t, "--node", "--node-runtime", nodeRuntime)
	b.awaitReady(t)
	b.do(t, "down")
	<-b.ended
	same(t, "after down", before, b)

	a.do(t, "down")
	<-a.ended
	same(t, "after down", before, a)
}

// A control plane without a node is what it was, whatever the machine lacks.
func TestAMachineThatLacksSomethingSaysWhat(t *testing.T) {
	p := launch(t, "--node", "--node-runtime", "/nowhere")
	<-p.ended
	output := p.output.String()
	if code := p.up.ProcessState.ExitCode(); code != 1 || strings.Count(output, "\n") != 1 {
		t.Errorf("exit code %d, output:\n%s", code, output)
	}
	for _, want := range []string{"controlplane: no node can run here: ", "there is no containerd, containerd-shim-runc-v2, ctr, ptp, host-local in /nowhere: run make node-bins"} {
		if !strings.Contains(output, want) {
			t.Errorf("output lacks %q:\n%s", want, output)
		}
	}
}

func requireNode(t *testing.T) {
	t.Helper()
	runtime, err := filepath.Abs(nodeRuntime)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := node.Missing(node.Place{Dir: directory.Dir(t.TempDir()), Runtime: runtime})
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		t.Skipf("no node can run here: %s", strings.Join(missing, "; "))
	}
}

// same waits until the machine is as it was: after SIGKILL the keeper takes a moment.
func same(t *testing.T, when string, before machine, p *plane) {
	t.Helper()
	dir := directory.Dir(p.dir)
	eventually(t, "free again "+when, func() bool {
		lock, err := dir.Lock()
		if err != nil {
			return false
		}
		return lock.Close() == nil
	})
	if diff := cmp.Diff(before, seen(t, p)); diff != "" {
		t.Errorf("the machine %s (-before +now):\n%s", when, diff)
	}
}

func seen(t *testing.T, p *plane) machine {
	t.Helper()
	m := machine{Sysctls: sysctls(t)}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, p.dir) {
			m.Mounts = append(m.Mounts, line)
		}
	}
	walk(t, "/sys/fs/cgroup", func(path string, entry fs.DirEntry) {
		if entry.IsDir() && strings.Contains(path, node.Place{Dir: directory.Dir(p.dir)}.Cgroup()) {
			m.Cgroups = append(m.Cgroups, path)
		}
	})
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		line, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(line), p.dir) && path != fmt.Sprintf("/proc/%d/cmdline", p.up.Process.Pid) {
			m.Processes = append(m.Processes, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return m
}

func sysctls(t *testing.T) map[string]string {
	t.Helper()
	values := map[string]string{}
	walk(t, "/proc/sys", func(path string, entry fs.DirEntry) {
		info, err := entry.Info()
		if err != nil || info.Mode()&0o200 == 0 || !info.Mode().IsRegular() || path == "/proc/sys/kernel/ns_last_pid" {
			return // nobody can have changed it, or everybody does all the time
		}
		if value, err := os.ReadFile(path); err == nil {
			values[path] = string(value)
		}
	})
	return values
}

func walk(t *testing.T, root string, visit func(path string, entry fs.DirEntry)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			visit(path, entry)
		}
		return nil // others' cgroups and processes come and go
	})
	if err != nil {
		t.Fatal(err)
	}
}
