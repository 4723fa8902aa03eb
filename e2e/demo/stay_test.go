//go:build e2e

package main

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-csi/berth/e2e/harness"
)

// typing runs what the demo tells its reader to type, in a shell, and returns what the reader would see. What watches is ended once it
// has shown enough.
func typing(ctx context.Context, lines string) (string, error) {
	lines = strings.Replace(lines, "bin/kubectl get pvc --watch", `coproc W { exec bin/kubectl get pvc --watch; }; sed '/logs *Bound/q' <&${W[0]}; kill $W_PID`, 1)
	command := exec.CommandContext(ctx, "bash", "-ec", lines)
	command.Dir = "../.." // the top of the repository
	command.WaitDelay = time.Second
	out, err := command.CombinedOutput()
	return string(out), err
}

// recorder is a screen that can be read while it is written.
type recorder struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (r *recorder) Write(data []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(data)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

func TestWhatItSaysToTypeCanBeTyped(t *testing.T) {
	out := &recorder{}
	err := withCluster(t.Context(), &screen{out: out}, t.TempDir(), demoConfig, func(ctx context.Context, screen *screen, world *harness.World) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		staying := make(chan error, 1)
		go func() { staying <- keep(ctx, screen, world) }()
		commands := regexp.MustCompile(`(?s)export KUBECONFIG.*bin/poold volumes [^\n]*`)
		err := harness.Eventually(ctx, "it says what to type", func(context.Context) error {
			if !commands.MatchString(out.String()) {
				return errors.New(out.String())
			}
			return nil
		})
		if err != nil {
			return err
		}
		lines := commands.FindString(out.String())
		if got := strings.Count(lines, "bin/kubectl "); got != 5 {
			t.Errorf("kubectl is called %d times, want 5", got)
		}
		began := time.Now()
		seen, err := typing(ctx, lines)
		if err != nil {
			return err
		}
		t.Logf("typed in %s:\n%s", time.Since(began).Round(time.Millisecond), seen)
		for _, want := range []string{"persistentvolumeclaim/data created", "pod/app created", `(?m)^logs +Bound`, `persistentvolumeclaim "logs" deleted`} {
			if !regexp.MustCompile(want).MatchString(seen) {
				t.Errorf("%q is not among what is shown:\n%s", want, seen)
			}
		}
		stop()
		return <-staying
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
