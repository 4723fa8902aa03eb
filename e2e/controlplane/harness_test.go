package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-csi/berth/e2e/controlplane/internal/cli"
	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
	"github.com/berth-csi/berth/e2e/controlplane/internal/supervisor"
)

// actAsProgram makes the test binary behave as the program itself, so that the tests see all of it with nothing built
// but the test.
const actAsProgram = "CONTROLPLANE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	_, component := cli.ParseComponentCall(os.Args)
	if _, _, part := node.ParseCall(os.Args); component || part || os.Getenv(actAsProgram) != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// patience is for machines that do other things at the same time.
const patience = 3 * time.Minute

// plane is a control plane that a test has started.
type plane struct {
	dir    string
	up     *exec.Cmd
	output *lockedBuffer
	ended  chan struct{}
}

// lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func program(args ...string) *exec.Cmd {
	command := exec.Command("/proc/self/exe", args...)
	command.Path, _ = os.Executable()
	command.Env = append(os.Environ(), actAsProgram+"=1")
	return command
}

// launch runs `up` without waiting for it.
func launch(t *testing.T, args ...string) *plane {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	p := &plane{dir: t.TempDir(), output: &lockedBuffer{}, ended: make(chan struct{})}
	p.up = program(append([]string{"up", "--dir", p.dir}, args...)...)
	p.up.Stdout, p.up.Stderr = p.output, p.output
	if err := p.up.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.up.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.up.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(20 * time.Second):
			_ = p.up.Process.Kill()
			t.Error("up did not stop")
		}
		if t.Failed() {
			t.Logf("output of up:\n%s", p.output)
			for _, name := range component.All() {
				t.Logf("end of the log of %s:\n%s", name, p.logEnd(name))
			}
		}
	})
	return p
}

// again runs `up` on the directory of one that was killed, whose ready file would be taken for the new one's.
func (p *plane) again(t *testing.T, args ...string) {
	t.Helper()
	if err := os.Remove(filepath.Join(p.dir, "ready")); err != nil {
		t.Fatal(err)
	}
	p.up = program(append([]string{"up", "--dir", p.dir}, args...)...)
	p.up.Stdout, p.up.Stderr = p.output, p.output
	if err := p.up.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	up := p.up
	go func() {
		_ = up.Wait()
		close(ended)
	}()
	p.ended = ended
}

// logEnd is worth reading when something went wrong.
func (p *plane) logEnd(name component.Name) string {
	log, err := os.ReadFile(filepath.Join(p.dir, "logs", string(name)+".log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-4000):])
}

// start runs `up` and waits until it is ready.
func start(t *testing.T, args ...string) *plane {
	t.Helper()
	p := launch(t, args...)
	p.awaitReady(t)
	return p
}

func (p *plane) awaitReady(t *testing.T) supervisor.Ready {
	t.Helper()
	var ready supervisor.Ready
	eventually(t, "ready", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("up ended:\n%s", p.output)
		default:
		}
		content, err := os.ReadFile(filepath.Join(p.dir, "ready"))
		return err == nil && json.Unmarshal(content, &ready) == nil
	})
	return ready
}

// do runs a subcommand and returns its standard output; it must succeed.
func (p *plane) do(t *testing.T, subcommand string, args ...string) string {
	t.Helper()
	out, stderr, err := p.try(subcommand, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", subcommand, args, err, stderr)
	}
	return out
}

func (p *plane) try(subcommand string, args ...string) (stdout, stderr string, err error) {
	command := program(append([]string{subcommand, "--dir", p.dir}, args...)...)
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err = command.Run()
	return out.String(), errOut.String(), err
}

func (p *plane) status(t *testing.T) map[component.Name]control.Status {
	t.Helper()
	var list []control.Status
	if err := json.Unmarshal([]byte(p.do(t, "status", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	byName := map[component.Name]control.Status{}
	for _, s := range list {
		byName[s.Component] = s
	}
	return byName
}

// client returns a client with a user agent of its own and no limit.
func client(t *testing.T, kubeconfig, userAgent string) *kubernetes.Clientset {
	t.Helper()
	clients, err := kubernetes.NewForConfig(clientConfig(t, kubeconfig, userAgent))
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

func clientConfig(t *testing.T, kubeconfig, userAgent string) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.UserAgent, config.QPS = userAgent, -1
	return config
}

func (p *plane) admin(t *testing.T, userAgent string) *kubernetes.Clientset {
	t.Helper()
	return client(t, filepath.Join(p.dir, "kubeconfig"), userAgent)
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not %s within %s", what, patience)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// alive reports whether the process runs; one that has ended but not been waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
