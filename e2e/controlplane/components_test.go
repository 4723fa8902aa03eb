package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
)

func apiServerSurvivesKill(t *testing.T, p *plane) {
	before := p.status(t)[component.APIServer]
	p.do(t, "kill", "kube-apiserver")
	if s := p.status(t)[component.APIServer]; s.State != control.Down || s.PID != 0 || alive(before.PID) {
		t.Errorf("after kill: %+v", s)
	}
	if _, stderr, err := p.try("kill", "kube-apiserver"); err == nil || stderr != "controlplane: kube-apiserver is not running\n" {
		t.Errorf("killing it again: %v, %q", err, stderr)
	}
	p.do(t, "start", "kube-apiserver")
	// At once, through a kubeconfig from before, and with the data from before.
	if _, err := p.admin(t, "test").StorageV1().StorageClasses().Get(testContext(t), "handed-over", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	after := p.status(t)[component.APIServer]
	if after.State != control.Running || after.Restarts != 1 || after.CPUSeconds <= before.CPUSeconds {
		t.Errorf("after start: %+v, before %+v", after, before)
	}
	if ready := p.awaitReady(t); ready.Components[component.APIServer].PID != after.PID {
		t.Errorf("the ready file has pid %d, status %d", ready.Components[component.APIServer].PID, after.PID)
	}
	if _, stderr, err := p.try("start", "kube-apiserver"); err == nil || !strings.Contains(stderr, "already running") {
		t.Errorf("starting it again: %v, %q", err, stderr)
	}
}

func etcdSurvivesKill(t *testing.T, p *plane) {
	p.do(t, "kill", "etcd", "--signal", "KILL")
	p.do(t, "start", "etcd")
	eventually(t, "served from etcd again", func() bool {
		_, err := p.admin(t, "test").StorageV1().StorageClasses().Get(testContext(t), "handed-over", metav1.GetOptions{})
		return err == nil
	})
}

func failuresAreTold(t *testing.T, p *plane) {
	s := p.status(t)[component.Scheduler]
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "seen as failed", func() bool { return p.status(t)[component.Scheduler].State == control.Failed })
	eventually(t, "told by up", func() bool {
		return strings.Contains(p.output.String(), "!!! kube-scheduler ended on its own: signal: killed")
	})
	log, err := os.ReadFile(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), fmt.Sprintf("kube-scheduler (pid %d) ended on its own", s.PID)) {
		t.Error("its log does not say so")
	}
	p.do(t, "restart", "kube-scheduler")
}

func componentsFreeze(t *testing.T, p *plane) {
	p.do(t, "kill", "kube-scheduler", "--signal", "STOP")
	if s := p.status(t)[component.Scheduler]; s.State != control.Frozen {
		t.Errorf("after STOP: %+v", s)
	}
	p.do(t, "kill", "kube-scheduler", "--signal", "CONT")
	if s := p.status(t)[component.Scheduler]; s.State != control.Running {
		t.Errorf("after CONT: %+v", s)
	}
	p.do(t, "kill", "kube-scheduler", "--signal", "STOP")
	p.do(t, "restart", "kube-scheduler", "--signal", "TERM", "--set", "v=1")
	if arguments := p.arguments(t, component.Scheduler); !strings.Contains(arguments, "--v=1") {
		t.Errorf("restarted with %s", arguments)
	}
}

// arguments are the command line of a running component.
func (p *plane) arguments(t *testing.T, name component.Name) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.status(t)[name].PID))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(raw), "\x00", " ")
}

func limitsChange(t *testing.T, p *plane) {
	p.do(t, "limits", "--qps", "500", "--burst", "1000")
	if arguments := p.arguments(t, component.ControllerManager); !strings.Contains(arguments, "--kube-api-burst=1000 --kube-api-qps=500") {
		t.Errorf("runs with %s", arguments)
	}
	p.do(t, "limits", "--stock")
	if arguments := p.arguments(t, component.ControllerManager); strings.Contains(arguments, "--kube-api-") {
		t.Errorf("runs with %s", arguments)
	}
}

func badFlagsAreForgotten(t *testing.T, p *plane) {
	_, stderr, err := p.try("restart", "kube-scheduler", "--set", "no-such-flag=1")
	if err == nil || !strings.HasPrefix(stderr, "controlplane: kube-scheduler ended while starting: exit status 1; the end of ") ||
		!strings.Contains(stderr, "unknown flag: --no-such-flag") {
		t.Errorf("%v, %q", err, stderr)
	}
	if s := p.status(t)[component.Scheduler]; s.State != control.Failed {
		t.Errorf("afterwards: %+v", s)
	}
	p.do(t, "start", "kube-scheduler")
}

func directoryIsOwned(t *testing.T, p *plane) {
	_, stderr, err := p.try("up")
	if want := "controlplane: " + p.dir + ": directory is in use by a running control plane\n"; err == nil || stderr != want {
		t.Errorf("%v, %q", err, stderr)
	}
}

func downIsComplete(t *testing.T, p *plane) {
	statuses := p.status(t)
	p.do(t, "down")
	for name, s := range statuses {
		if alive(s.PID) {
			t.Errorf("%s is still running", name)
		}
	}
	<-p.ended
	if code := p.up.ProcessState.ExitCode(); code != 0 {
		t.Errorf("up ended with %d", code)
	}
	for _, file := range []string{"ready", "control.sock"} {
		if _, err := os.Stat(filepath.Join(p.dir, file)); !os.IsNotExist(err) {
			t.Errorf("%s is left behind (%v)", file, err)
		}
	}
}
