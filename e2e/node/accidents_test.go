//go:build node

package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// TestContainersMayDie kills what a node may kill, while claims come: the driver, several times, and each of Berth's two processes, by a signal and for want
// of memory. Claims are admitted all the while, every volume is made once, and none is lost.
func TestContainersMayDie(t *testing.T) {
	s := inCluster(t, "accidents")
	s.install(s.apart()...)
	r := s.streams()

	driver := s.daemon()
	for range 5 { // it is back after the two seconds that this kubelet makes a container wait at most, and is killed at once
		s.signal(driver, "poold", "KILL")()
	}
	for _, pod := range s.podsOf(s.name + "-berth") {
		s.signal(&pod, "berth", "KILL")()
	}
	leader := &s.podsOf(s.name + "-berth")[0]
	s.starve(leader)
	r.unharmed()
	s.uninstall()
	s.leavesNothing()
}

// TestAHungProcessIsTakenOutAndRestarted: readiness and liveness do on a kubelet what the documentation says. A process that does not answer gets no
// admission requests any more, and then is restarted.
func TestAHungProcessIsTakenOutAndRestarted(t *testing.T) {
	s := inCluster(t, "hung")
	s.install(append(s.apart(), "--set", "probes.liveness.periodSeconds=2", "--set", "probes.liveness.failureThreshold=6",
		"--set", "probes.readiness.periodSeconds=1", "--set", "probes.liveness.timeoutSeconds=1", "--set", "probes.readiness.timeoutSeconds=1")...)
	hung := s.podsOf(s.name + "-berth")[0]
	restarted := s.signal(&hung, "berth", "STOP")
	must(t, harness.Eventually(t.Context(), "the hung Pod is out of the Service", func(ctx context.Context) error {
		return s.serving(ctx, hung.Status.PodIP, false)
	}))
	if claim := s.claim("meanwhile"); claim.Annotations["volume.kubernetes.io/storage-provisioner"] != s.driver {
		t.Errorf("annotations are %v while one of two replicas hangs", claim.Annotations)
	}
	restarted()
	must(t, harness.Eventually(t.Context(), "the restarted Pod is in the Service", func(ctx context.Context) error {
		return s.serving(ctx, hung.Status.PodIP, true)
	}))
	s.deletes(s.volumes("meanwhile"), "meanwhile")
	s.uninstall()
}

// TestAdmissionApartOutlivesTheDriver: with the topology split a driver that cannot start takes nothing from admission.
func TestAdmissionApartOutlivesTheDriver(t *testing.T) {
	s := inCluster(t, "split")
	s.helm = "helm3"
	values := s.vendor("WaitForFirstConsumer", "Immediate")
	s.install("--values", values, "--set", "topology=split")
	s.claim("before")
	volumes := s.volumes("before")

	controller := s.onlyPod(s.name + "-berth")
	for range 2 { // more often than its container is restarted at once
		restarted := s.signal(controller, "csi-driver", "KILL")
		if claim := s.claim("meanwhile"); claim.Annotations["volume.kubernetes.io/storage-provisioner"] != s.driver {
			t.Errorf("annotations are %v while the driver is down", claim.Annotations)
		}
		restarted()
		s.deletes(s.volumes("meanwhile"), "meanwhile")
	}
	for _, pod := range s.podsOf(s.name + "-berth-admission") {
		for _, status := range pod.Status.ContainerStatuses {
			if status.RestartCount > 0 {
				t.Errorf("%s of %s was restarted %d times", status.Name, pod.Name, status.RestartCount)
			}
		}
	}
	s.deletes(volumes, "before")
	s.uninstall()
	s.leavesNothing()
}

// TestRunsInARestrictedNamespace: the strictest of Kubernetes' Pod security levels is enforced on the release's namespace, and a driver that needs no
// privileges runs beside Berth.
func TestRunsInARestrictedNamespace(t *testing.T) {
	s := inCluster(t, "restricted")
	s.kubectl("label", "namespace", s.space, "pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest")
	values := s.file("restricted.yaml", fmt.Sprintf(`
image: {registry: localhost, repository: berth, tag: e2e}
driver:
  name: %[1]s
  image: {registry: localhost, repository: poold, tag: e2e}
  args: [serve, --mode=controller, --config=/etc/poold/config.yaml, "--endpoint=$(CSI_ENDPOINT)", --state=/state/poold]
  securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  volumeMounts:
    - {name: config, mountPath: /etc/poold, readOnly: true}
    - {name: state, mountPath: /state}
extraVolumes:
  - {name: config, configMap: {name: poold}}
  - {name: state, emptyDir: {}}
replicas: 1
csiDriver: {attachRequired: false}
storageClasses: [{name: %[2]s, volumeBindingMode: Immediate}]
extraObjects:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: poold, namespace: "{{ .Release.Namespace }}"}
    data:
      config.yaml: "{driverName: %[1]s, topology: false, pools: [{size: 10Gi}]}"
`, s.driver, s.name))
	s.install("--values", values)
	s.claim("data")
	s.deletes(s.volumes("data"), "data")
	s.run(s.helm, "test", s.name, "--namespace", s.space, "--timeout", harness.WaitTimeout.String())

	// The level is enforced, or this would prove nothing.
	out, err := s.Kubectl(t.Context(), "", nil, "-n", s.space, "run", "privileged", "--image=localhost/scribe:e2e", "--privileged")
	if err == nil || !strings.Contains(out, "violates PodSecurity") {
		t.Errorf("a privileged Pod is let in: %v: %s", err, out)
	}
	s.uninstall()
	s.leavesNothing()
}

// daemon is the Pod of the release's DaemonSet.
func (s *story) daemon() *corev1.Pod {
	s.t.Helper()
	list, err := s.Client().CoreV1().Pods(s.space).List(s.t.Context(), metav1.ListOptions{LabelSelector: "app=" + s.name + "-poold"})
	must(s.t, err)
	if len(list.Items) != 1 {
		s.t.Fatalf("the DaemonSet has %d Pods, want one", len(list.Items))
	}
	return &list.Items[0]
}

// signal sends a signal to a container's process, as the kernel would, and returns a function that waits until the container was restarted and is ready.
func (s *story) signal(pod *corev1.Pod, container, signal string) (restarted func()) {
	s.t.Helper()
	process := s.process(pod, container)
	before, err := s.container(s.t.Context(), pod.Name, container)
	must(s.t, err)
	_, err = s.OnNode(s.t.Context(), "kill", "-"+signal, strconv.Itoa(process))
	must(s.t, err)
	return func() {
		s.t.Helper()
		must(s.t, harness.Eventually(s.t.Context(), container+" of "+pod.Name+" is back", func(ctx context.Context) error {
			status, err := s.container(ctx, pod.Name, container)
			if err == nil && (status.RestartCount <= before.RestartCount || !status.Ready) {
				err = fmt.Errorf("restarted %d times, before %d, ready %t, %v", status.RestartCount, before.RestartCount, status.Ready, status.State)
			}
			return err
		}))
	}
}

// container is one as the API server has it now.
func (s *story) container(ctx context.Context, pod, container string) (corev1.ContainerStatus, error) {
	current, err := s.Client().CoreV1().Pods(s.space).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return corev1.ContainerStatus{}, err
	}
	for _, status := range current.Status.ContainerStatuses {
		if status.Name == container {
			return status, nil
		}
	}
	return corev1.ContainerStatus{}, fmt.Errorf("Pod %s has no container %s", pod, container)
}

// process is the process ID of a container on the node.
func (s *story) process(pod *corev1.Pod, container string) int {
	s.t.Helper()
	process := 0
	must(s.t, harness.Eventually(s.t.Context(), container+" of "+pod.Name+" runs", func(ctx context.Context) error {
		status, err := s.container(ctx, pod.Name, container)
		if err != nil {
			return err
		}
		_, id, _ := strings.Cut(status.ContainerID, "://")
		out, err := s.OnNode(ctx, "ctr", "tasks", "list")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id && fields[2] == "RUNNING" {
				process, err = strconv.Atoi(fields[1])
				return err
			}
		}
		return errors.New("it does not")
	}))
	return process
}

// starve takes memory from Berth's container until the kernel kills it.
func (s *story) starve(pod *corev1.Pod) {
	s.t.Helper()
	group, err := s.OnNode(s.t.Context(), "sh", "-c", fmt.Sprintf("sed -n 's/.*:memory://p' /proc/%d/cgroup", s.process(pod, "berth")))
	must(s.t, err)
	limit := "/sys/fs/cgroup/memory" + strings.TrimSpace(group) + "/memory.limit_in_bytes"
	// The least that the kernel accepts is what the process cannot give back: it gets no more, and needs more.
	squeeze := fmt.Sprintf("for m in $(seq 6 2 200); do if echo ${m}M 2>/dev/null > %s; then break; fi; done", limit)
	must(s.t, harness.Eventually(s.t.Context(), "Berth is killed for want of memory", func(ctx context.Context) error {
		_, refused := s.OnNode(ctx, "sh", "-c", squeeze)
		status, err := s.container(ctx, pod.Name, "berth")
		if err != nil {
			return err
		}
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if state.Terminated != nil && state.Terminated.Reason == "OOMKilled" {
				return nil
			}
		}
		return errors.Join(refused, fmt.Errorf("its state is %v, before %v", status.State, status.LastTerminationState))
	}))
	must(s.t, harness.Eventually(s.t.Context(), "Berth is back", func(ctx context.Context) error {
		status, err := s.container(ctx, pod.Name, "berth")
		if err == nil && !status.Ready {
			err = fmt.Errorf("%v", status.State)
		}
		return err
	}))
}

// serving looks whether admission requests go to an address.
func (s *story) serving(ctx context.Context, address string, want bool) error {
	slices, err := s.Client().DiscoveryV1().EndpointSlices(s.space).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + s.name + "-berth-admission",
	})
	if err != nil {
		return err
	}
	serving := false
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			serving = serving || ready && len(endpoint.Addresses) > 0 && endpoint.Addresses[0] == address
		}
	}
	if serving != want {
		return fmt.Errorf("%s is ready in the Service: %t", address, serving)
	}
	return nil
}

// TestAKilledClusterLeavesNothing: SIGKILL to the outermost process, with a volume mounted in a running Pod, ends everything inside, and mounts, cgroups and
// sysctls are as before.
func TestAKilledClusterLeavesNothing(t *testing.T) {
	t.Parallel()
	before, err := seen("")
	must(t, err)
	killed, err := startCluster(t.Context(), filepath.Join(filepath.Dir(cluster.Dir), "killed"))
	must(t, err)
	cgroup, err := cgroupOf(killed)
	must(t, err)
	s := newStory(t, killed, "killed")
	s.install("--values", s.vendor())
	s.claim("data")
	s.scribe("holder", "data", "write", "/data/greeting", "hello", "stay")
	s.phase("holder", corev1.PodRunning)
	alive, err := seen(cgroup)
	must(t, err)
	if len(alive.Cgroups) == 0 {
		t.Error("the running cluster has no cgroup, so that nothing can be left of it")
	}
	must(t, killed.KillOutright(t.Context()))
	must(t, gone(t.Context(), before, cgroup, killed.Dir))
}
