//go:build node

package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/berth-csi/berth/e2e/harness"
)

const (
	chart        = "../../charts/berth"
	vendorValues = "../driver/deploy/values.yaml"
	vendorDriver = "pool.csi.berth.dev"
)

// story is one release of the chart on a cluster, and a namespace of the people who use it.
type story struct {
	*harness.ControlPlane

	t    *testing.T
	dir  string
	helm string
	// name is that of the release and its class, driver the CSI driver's.
	name, driver string
	// space is the release's namespace, namespace the users'.
	space, namespace string
}

// inCluster begins a story on the shared cluster, beside the others.
func inCluster(t *testing.T, name string) *story {
	t.Helper()
	t.Parallel()
	return newStory(t, cluster, name)
}

func newStory(t *testing.T, c *harness.ControlPlane, name string) *story {
	t.Helper()
	name += "-" + rand.String(4) // a test may run more than once in a process
	s := &story{
		ControlPlane: c, t: t, dir: t.TempDir(), helm: "helm4",
		name: name, driver: name + ".csi.berth.dev", space: name + "-system", namespace: name + "-users",
	}
	must(t, harness.CreateNamespace(t.Context(), s.Client(), s.space))
	must(t, harness.CreateNamespace(t.Context(), s.Client(), s.namespace))
	t.Cleanup(s.tellWhy)
	return s
}

// tellWhy prints what one would look at first, if the story has failed.
func (s *story) tellWhy() {
	if !s.t.Failed() {
		return
	}
	for _, namespace := range []string{s.space, s.namespace} {
		out, err := s.Kubectl(context.Background(), "", nil, "-n", namespace, "get", "pods,pvc,events", "-o", "wide")
		s.t.Logf("in %s (%v):\n%s", namespace, err, out)
	}
	for _, pod := range s.pods(context.Background(), s.space, labels.Everything()) {
		for _, container := range pod.Spec.Containers {
			s.t.Logf("%s/%s:\n%s", pod.Name, container.Name, s.logs(context.Background(), &pod, container.Name))
		}
	}
}

// vendor writes the values that the driver's vendor gives, for this story's driver, and returns the file.
func (s *story) vendor(replacements ...string) string {
	s.t.Helper()
	text, err := os.ReadFile(vendorValues)
	must(s.t, err)
	own := append([]string{
		vendorDriver, s.driver,
		"/var/lib/poold", "/var/lib/" + s.name,
		"- name: pool\n", "- name: " + s.name + "\n",
		"default: true", "default: false",
	}, replacements...)
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(string(text), replacements[i]) {
			s.t.Fatalf("%s has no %q", vendorValues, replacements[i])
		}
	}
	return s.file("vendor.yaml", strings.NewReplacer(own...).Replace(string(text)))
}

// file writes a file of the story's.
func (s *story) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	must(s.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// run runs one of the project's binaries, or Helm, as the administrator, and returns what it prints.
func (s *story) run(binary string, args ...string) string {
	s.t.Helper()
	path, err := harness.Binary(binary)
	must(s.t, err)
	command := exec.CommandContext(s.t.Context(), path, args...)
	command.Env = []string{"HOME=" + s.dir, "KUBECONFIG=" + s.Kubeconfig(), "PATH=" + os.Getenv("PATH")}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Run(); err != nil {
		s.t.Fatalf("%s %s: %v\n%s", binary, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// install installs the release and waits until its Pods are ready.
func (s *story) install(args ...string) {
	s.t.Helper()
	s.run(s.helm, append([]string{"install", s.name, chart, "--namespace", s.space, "--wait", "--timeout", harness.WaitTimeout.String()}, args...)...)
}

func (s *story) upgrade(args ...string) {
	s.t.Helper()
	s.run(s.helm, append([]string{"upgrade", s.name, chart, "--namespace", s.space, "--wait", "--timeout", harness.WaitTimeout.String()}, args...)...)
}

// uninstall also does what the notes say about uninstalling for good.
func (s *story) uninstall() {
	s.t.Helper()
	s.run(s.helm, "uninstall", s.name, "--namespace", s.space, "--wait", "--timeout", harness.WaitTimeout.String())
	lease := strings.ReplaceAll(s.driver, ".", "-")
	s.kubectl("-n", s.space, "delete", "configmap", "--selector", "berth.dev/journal="+lease+"-journal")
	s.kubectl("-n", s.space, "delete", "--ignore-not-found", "lease/"+lease, "lease/"+lease+"-admission", "secret/"+lease+"-admission")
}

func (s *story) kubectl(args ...string) string {
	s.t.Helper()
	out, err := s.Kubectl(s.t.Context(), "", nil, args...)
	must(s.t, err)
	return out
}

func (s *story) pods(ctx context.Context, namespace string, selector labels.Selector) []corev1.Pod {
	list, err := s.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		s.t.Errorf("list Pods of %s: %v", namespace, err)
		return nil
	}
	return list.Items
}

// deployment is one of the release's.
func (s *story) deployment(name string) *appsv1.Deployment {
	s.t.Helper()
	deployment, err := s.Client().AppsV1().Deployments(s.space).Get(s.t.Context(), name, metav1.GetOptions{})
	must(s.t, err)
	return deployment
}

// podsOf are the Pods of a Deployment that are not ending.
func (s *story) podsOf(name string) []corev1.Pod {
	s.t.Helper()
	var alive []corev1.Pod
	for _, pod := range s.pods(s.t.Context(), s.space, labels.SelectorFromSet(s.deployment(name).Spec.Selector.MatchLabels)) {
		if pod.DeletionTimestamp == nil {
			alive = append(alive, pod)
		}
	}
	return alive
}

func (s *story) logs(ctx context.Context, pod *corev1.Pod, container string) string {
	log, err := s.Client().CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, TailLines: new(int64(40))}).DoRaw(ctx)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// scribe is a Pod that does what is written on a claim's volume at /data.
func (s *story) scribe(name, claim string, steps ...string) *corev1.Pod {
	s.t.Helper()
	return s.scribePod(name, claim, func(*corev1.Pod) {}, steps...)
}

func (s *story) scribePod(name, claim string, edit func(*corev1.Pod), steps ...string) *corev1.Pod {
	s.t.Helper()
	pod := harness.Pod(s.namespace, name, claim)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.TerminationGracePeriodSeconds = new(int64(5))
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(65532))} // its image's user
	pod.Spec.Containers = []corev1.Container{{
		Name: "scribe", Image: "localhost/scribe:e2e", ImagePullPolicy: corev1.PullIfNotPresent, Args: steps,
		VolumeMounts: []corev1.VolumeMount{{Name: pod.Spec.Volumes[0].Name, MountPath: "/data"}},
	}}
	edit(pod)
	pod, err := s.Client().CoreV1().Pods(s.namespace).Create(s.t.Context(), pod, metav1.CreateOptions{})
	must(s.t, err)
	return pod
}

// phase waits until a Pod is in a phase, and not in another that is final.
func (s *story) phase(name string, phase corev1.PodPhase) *corev1.Pod {
	s.t.Helper()
	var pod *corev1.Pod
	_, err := harness.WatchPods(s.t.Context(), s.Client(), s.namespace, func(pods harness.Seen[*corev1.Pod]) bool {
		pod = pods[s.namespace+"/"+name]
		return pod != nil && (pod.Status.Phase == phase || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded)
	})
	must(s.t, err)
	if pod.Status.Phase != phase {
		s.t.Fatalf("Pod %s is %s, want %s: %s", name, pod.Status.Phase, phase, s.logs(s.t.Context(), pod, "scribe"))
	}
	return pod
}

// wrote is what a Pod that has done its work has printed.
func (s *story) wrote(name string) string {
	s.t.Helper()
	return s.logs(s.t.Context(), s.phase(name, corev1.PodSucceeded), "scribe")
}

func (s *story) claim(name string, edits ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	s.t.Helper()
	claim := harness.Claim(s.namespace, name, s.name, edits...)
	claim, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Create(s.t.Context(), claim, metav1.CreateOptions{})
	must(s.t, err)
	return claim
}

// bound waits until a claim is.
func (s *story) bound(name string) *corev1.PersistentVolumeClaim {
	s.t.Helper()
	var claim *corev1.PersistentVolumeClaim
	_, err := harness.WatchClaims(s.t.Context(), s.Client(), s.namespace, func(claims harness.Seen[*corev1.PersistentVolumeClaim]) bool {
		claim = claims[s.namespace+"/"+name]
		return claim != nil && claim.Status.Phase == corev1.ClaimBound
	})
	must(s.t, err)
	return claim
}

// onlyPod is the Pod of a Deployment that has one.
func (s *story) onlyPod(deployment string) *corev1.Pod {
	s.t.Helper()
	pods := s.podsOf(deployment)
	if len(pods) != 1 {
		s.t.Fatalf("%s has %d Pods, want one", deployment, len(pods))
	}
	return &pods[0]
}

// registered waits until the kubelet knows the driver.
func (s *story) registered() {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "the kubelet knows "+s.driver, func(ctx context.Context) error {
		node, err := s.Client().StorageV1().CSINodes().Get(ctx, harness.NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, driver := range node.Spec.Drivers {
			if driver.Name == s.driver {
				return nil
			}
		}
		return fmt.Errorf("it knows %d drivers", len(node.Spec.Drivers))
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
