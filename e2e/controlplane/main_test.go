package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
	"github.com/berth-csi/berth/e2e/controlplane/internal/supervisor"
)

func TestDefaultControllersExist(t *testing.T) {
	known := map[string]bool{}
	for _, name := range controllermanager.KnownControllers() {
		known[name] = true
	}
	for _, name := range supervisor.NodeControllers() {
		if !known[name] {
			t.Errorf("the controller-manager has no %s", name)
		}
	}
}

// TestControlPlane shares one control plane among steps that leave it as they found it.
func TestControlPlane(t *testing.T) {
	p := start(t)
	t.Run("status names every component", func(t *testing.T) { statusIsComplete(t, p) })
	t.Run("a dynamically provisioned claim waits for its provisioner", func(t *testing.T) { claimsAreHandedOver(t, p) })
	t.Run("a delayed claim gets the node of its Pod", func(t *testing.T) { podsAreScheduled(t, p) })
	t.Run("dependents and namespaces are collected", func(t *testing.T) { garbageIsCollected(t, p) })
	t.Run("snapshot definitions are served", func(t *testing.T) { snapshotsAreServed(t, p) })
	t.Run("a service account may do what roles allow", func(t *testing.T) { serviceAccountsHaveRoles(t, p) })
	t.Run("a user is in their groups", func(t *testing.T) { usersHaveGroups(t, p) })
	t.Run("requests are counted", func(t *testing.T) { requestsAreCounted(t, p) })
	t.Run("a killed API server comes back with its data", func(t *testing.T) { apiServerSurvivesKill(t, p) })
	t.Run("a killed etcd comes back with its data", func(t *testing.T) { etcdSurvivesKill(t, p) })
	t.Run("a component that ends on its own is told", func(t *testing.T) { failuresAreTold(t, p) })
	t.Run("freezing and thawing", func(t *testing.T) { componentsFreeze(t, p) })
	t.Run("limits change and go back", func(t *testing.T) { limitsChange(t, p) })
	t.Run("flags that cannot work are told and forgotten", func(t *testing.T) { badFlagsAreForgotten(t, p) })
	t.Run("another one on the same directory is refused", func(t *testing.T) { directoryIsOwned(t, p) })
	t.Run("down leaves nothing running", func(t *testing.T) { downIsComplete(t, p) })
}

func TestTwoSideBySideAndNoneOutlivesItsSupervisor(t *testing.T) {
	a := launch(t, "--crds=false")
	b := launch(t, "--audit=false", "--controller-manager-qps=100", "--controller-manager-burst=200",
		"--feature-gates=all:CrossNamespaceVolumeDataSource=true", "--set=kube-scheduler:v=1")
	if first, second := a.awaitReady(t), b.awaitReady(t); first.Server == second.Server {
		t.Fatalf("both serve at %s", first.Server)
	}
	for name, want := range map[component.Name]string{
		component.APIServer:         "--feature-gates=CrossNamespaceVolumeDataSource=true",
		component.ControllerManager: "--kube-api-burst=200 --kube-api-qps=100",
		component.Scheduler:         "--v=1",
	} {
		if arguments := b.arguments(t, name); !strings.Contains(arguments, want) {
			t.Errorf("%s lacks %s: %s", name, want, arguments)
		}
	}
	createConfigMaps(t, a, "test", 1) // would fail the second time, were they one
	createConfigMaps(t, b, "test", 1)

	// A frozen component cannot notice anything by itself.
	a.do(t, "kill", "kube-controller-manager", "--signal", "STOP")
	statuses := a.status(t)
	if err := a.up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-a.ended
	for name, s := range statuses {
		eventually(t, fmt.Sprintf("%s without its supervisor gone", name), func() bool { return !alive(s.PID) })
	}
	for name, s := range b.status(t) {
		if s.State != control.Running {
			t.Errorf("the other's %s: %+v", name, s)
		}
	}
	// What a killed one has left does not disturb the next on the same directory.
	a.again(t)
	a.awaitReady(t)
	if _, err := a.admin(t, "test").CoreV1().ConfigMaps("default").Get(testContext(t), "object-0", metav1.GetOptions{}); err != nil {
		t.Errorf("data from before: %v", err)
	}
}

func TestAComponentThatCannotStartIsToldInOneLine(t *testing.T) {
	p := launch(t, "--set", "kube-controller-manager:controllers=no-such-controller")
	<-p.ended
	if code := p.up.ProcessState.ExitCode(); code != 1 {
		t.Errorf("up ended with %d", code)
	}
	output := p.output.String()
	if !strings.Contains(output, "controlplane: kube-controller-manager ended while starting: exit status 1; the end of ") ||
		!strings.Contains(output, "no-such-controller") {
		t.Errorf("output:\n%s", output)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "ready")); !os.IsNotExist(err) {
		t.Errorf("there is a ready file (%v)", err)
	}
}
