//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/berth-csi/berth/e2e/harness"
)

// installation is a release of the chart in the control plane. There is no kubelet: the process that a Pod of it would run is started here,
// with the arguments and the environment that the API server stored, and as the release's service account.
type installation struct {
	*story

	helm      string // name of the binary
	release   string
	space     string // the release's namespace
	values    string // path
	admission int    // port
	health    int
	topology  string
	processes []*harness.Process
	excused   [][2]time.Time // when they may lack rights
}

func TestChartWithHelm3(t *testing.T) { installs(t, "helm3", "combined") }

func TestChartWithHelm4(t *testing.T) { installs(t, "helm4", "combined") }

// TestChartWithAdmissionApart has two processes, each with rights of its own.
func TestChartWithAdmissionApart(t *testing.T) { installs(t, "helm4", "split") }

// installs tells the whole life of a release: what the chart grants, renders and passes on is enough, and not too much.
func installs(t *testing.T, helm, topology string) {
	t.Helper()
	s := inOwnWorld(t, helm, func(options *harness.WorldOptions) { options.WithoutBerth = true })
	i := &installation{story: s, helm: helm, release: "pool", space: s.namespace + "-release", topology: topology}
	must(t, harness.CreateNamespace(t.Context(), s.Client(), i.space))
	i.writeValues()
	i.run("install", i.release, chart, "--values", i.values)
	i.startAll()

	// The webhook is asked as helm test's Pod would ask it.
	i.checks()
	claim := s.claim("data", i.class())
	if !strings.Contains(fmt.Sprint(claim.Annotations), s.Driver.Name) {
		t.Errorf("annotations are %v as the claim is created", claim.Annotations)
	}
	claim, volume := s.bound("data")
	wantStored(s, claim, volume)

	// Upgrades neither conflict with what the process wrote nor take it away.
	for _, seconds := range []string{"4", "5"} {
		i.run("upgrade", i.release, chart, "--values", i.values, "--set", "admission.mutating.timeoutSeconds="+seconds)
		i.kept(seconds)
		i.checks()
	}
	s.claim("more", i.class())
	s.bound("more")
	i.switchesCertificates()

	must(t, s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Delete(t.Context(), "data", metav1.DeleteOptions{}))
	must(t, s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Delete(t.Context(), "more", metav1.DeleteOptions{}))
	must(t, s.WaitVolumesGone(t.Context(), volume.Name))
	s.driverIsEmpty()

	i.stopAll()
	i.run("uninstall", i.release)
	i.tidy()
	i.leavesNothing()
	i.wasAllowedEverything()
}

const chart = "../charts/berth"

// writeValues writes what an administrator would, for a driver that is on the node and an API server that resolves no Services.
func (i *installation) writeValues() {
	i.t.Helper()
	i.admission, i.health = freePort(i.t), freePort(i.t)
	text := fmt.Sprintf(`
driver:
  name: %[1]s
  socket: {directory: %[2]s, file: %[3]s}
  external: {hostPath: %[2]s}
replicas: 1
topology: %[7]s
http: {port: %[4]d}
admission:
  port: %[5]d
  url: https://127.0.0.1:%[5]d
  drainSeconds: 1
storageClasses:
  - name: %[6]s
    volumeBindingMode: Immediate
    parameters: {tier: fast}
`, i.Driver.Name, filepath.Dir(i.Driver.Socket), filepath.Base(i.Driver.Socket), i.health, i.admission, i.class(), i.topology)
	i.values = filepath.Join(i.Dir, "values.yaml")
	must(i.t, os.WriteFile(i.values, []byte(text), 0o600))
}

func (i *installation) class() string { return i.space }

// freePort is one that nobody listens on now.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// run runs Helm as the administrator.
func (i *installation) run(args ...string) {
	i.t.Helper()
	path, err := harness.Binary(i.helm)
	must(i.t, err)
	i.command(path, append(args, "--namespace", i.space)...)
}

func (i *installation) command(path string, args ...string) {
	i.t.Helper()
	command := exec.CommandContext(i.t.Context(), path, args...)
	command.Env = []string{"HOME=" + i.Dir, "KUBECONFIG=" + i.ControlPlane.Kubeconfig()}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Run(); err != nil {
		i.t.Fatalf("%s %s: %v\n%s", filepath.Base(path), strings.Join(args, " "), err, out.String())
	}
}

// startAll runs what the release's Deployments run.
func (i *installation) startAll() {
	i.t.Helper()
	i.start(i.release+"-berth", i.health)
	if i.topology == "split" {
		i.start(i.release+"-berth-admission", freePort(i.t)) // here they share one host
	}
}

// stopAll has all processes end, as they should.
func (i *installation) stopAll() {
	i.t.Helper()
	for _, process := range i.processes {
		exit, err := process.Stop(i.t.Context())
		must(i.t, err)
		if exit != (harness.Exit{}) {
			i.t.Errorf("Berth ended with %s", exit)
		}
	}
	i.processes = nil
}

// start runs the container that the API server stored, under the name of a Pod that the Deployment has.
func (i *installation) start(name string, health int) {
	i.t.Helper()
	deployment, err := i.Client().AppsV1().Deployments(i.space).Get(i.t.Context(), name, metav1.GetOptions{})
	must(i.t, err)
	pod := ""
	_, err = harness.WatchPods(i.t.Context(), i.Client(), i.space, func(pods harness.Seen[*corev1.Pod]) bool {
		for _, one := range pods {
			if labels.SelectorFromSet(deployment.Spec.Selector.MatchLabels).Matches(labels.Set(one.Labels)) {
				pod = one.Name
			}
		}
		return pod != ""
	})
	must(i.t, err)
	container := theBerth(deployment)
	if container == nil {
		i.t.Fatalf("there is no container berth in %v", deployment.Spec.Template.Spec.Containers)
	}
	kubeconfig, err := i.ControlPlane.ServiceAccountKubeconfig(i.t.Context(), i.space, deployment.Spec.Template.Spec.ServiceAccountName)
	must(i.t, err)
	environment := []string{"KUBECONFIG=" + kubeconfig}
	for _, variable := range container.Env {
		value := variable.Value
		if variable.ValueFrom != nil && variable.ValueFrom.FieldRef != nil {
			value = map[string]string{"metadata.name": pod, "metadata.namespace": i.space}[variable.ValueFrom.FieldRef.FieldPath]
		}
		environment = append(environment, variable.Name+"="+value)
	}
	path, err := harness.Binary("berth")
	must(i.t, err)
	args := append(i.mounted(deployment, container), fmt.Sprintf("--http-endpoint=:%d", health))
	process, err := harness.StartProcess(harness.ProcessSpec{
		Name: name, Path: path, Env: environment, Log: filepath.Join(i.Dir, name+".log"), Args: args,
	})
	must(i.t, err)
	i.processes = append(i.processes, process)
	i.t.Cleanup(func() {
		if process.Running() {
			process.Kill()
		}
	})
	must(i.t, harness.Eventually(i.t.Context(), name+" is ready", func(ctx context.Context) error {
		if !process.Running() {
			return fmt.Errorf("it has ended: %s", process.LogTail(5))
		}
		return getReady(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", health))
	}))
}

func getReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func theBerth(deployment *appsv1.Deployment) *corev1.Container {
	containers := deployment.Spec.Template.Spec.Containers
	if n := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == "berth" }); n >= 0 {
		return &containers[n]
	}
	return nil
}

// checks runs berth check, as the Pod of helm test does.
func (i *installation) checks() {
	i.t.Helper()
	path, err := harness.Binary("berth")
	must(i.t, err)
	i.command(path, "check", "--driver-name", i.Driver.Name, "--storage-class", i.class(), "--namespace", "default")
}

// kept looks whether the chart's change and the process's fields are both in a configuration.
func (i *installation) kept(seconds string) {
	i.t.Helper()
	configuration, err := i.Client().AdmissionregistrationV1().MutatingWebhookConfigurations().Get(i.t.Context(), i.release+"-berth."+i.space, metav1.GetOptions{})
	must(i.t, err)
	webhook := configuration.Webhooks[0]
	if fmt.Sprint(*webhook.TimeoutSeconds) != seconds {
		i.t.Errorf("timeoutSeconds is %d, want %s", *webhook.TimeoutSeconds, seconds)
	}
	if len(webhook.ClientConfig.CABundle) == 0 {
		i.t.Error("the upgrade took caBundle away")
	}
	var conditions []string
	for _, condition := range webhook.MatchConditions {
		conditions = append(conditions, condition.Name)
	}
	slices.Sort(conditions)
	if want := []string{"berth-classes", "berth-dynamic", "berth-news"}; !slices.Equal(conditions, want) {
		i.t.Errorf("match conditions are %v, want %v", conditions, want)
	}
}

// driverIsEmpty waits until the driver has deleted everything.
func (s *story) driverIsEmpty() {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "the driver holds nothing", func(ctx context.Context) error {
		volumes, err := s.Driver.Volumes(ctx)
		if err == nil && len(volumes) > 0 {
			err = fmt.Errorf("it holds %d volumes", len(volumes))
		}
		return err
	}))
}

// tidy does what the notes say about uninstalling: away with what is the process's own.
func (i *installation) tidy() {
	i.t.Helper()
	lease := strings.ReplaceAll(i.Driver.Name, ".", "-")
	core := i.Client().CoreV1()
	must(i.t, core.ConfigMaps(i.space).DeleteCollection(i.t.Context(), metav1.DeleteOptions{},
		metav1.ListOptions{LabelSelector: "berth.dev/journal=" + lease + "-journal"}))
	must(i.t, core.Secrets(i.space).Delete(i.t.Context(), lease+"-admission", metav1.DeleteOptions{}))
	leases := i.Client().CoordinationV1().Leases(i.space)
	must(i.t, leases.Delete(i.t.Context(), lease, metav1.DeleteOptions{}))
	if i.topology == "split" {
		must(i.t, leases.Delete(i.t.Context(), lease+"-admission", metav1.DeleteOptions{}))
	}
}

// leavesNothing looks at every kind of object that there is. What the cluster makes for each namespace by itself does not count.
func (i *installation) leavesNothing() {
	i.t.Helper()
	lists, err := i.Client().Discovery().ServerPreferredResources()
	must(i.t, err)
	config := i.ControlPlane.Config()
	config.WarningHandler = rest.NoWarnings{} // some kinds are deprecated
	client, err := dynamic.NewForConfig(config)
	must(i.t, err)
	var left []string
	err = harness.Eventually(i.t.Context(), "nothing is left of the release", func(ctx context.Context) error {
		var found []string
		for _, list := range lists {
			group, err := schema.ParseGroupVersion(list.GroupVersion)
			if err != nil {
				return err
			}
			for _, resource := range list.APIResources {
				if !slices.Contains(resource.Verbs, "list") || resource.Kind == "Event" {
					continue
				}
				objects, err := client.Resource(group.WithResource(resource.Name)).List(ctx, metav1.ListOptions{})
				if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
					continue
				}
				if err != nil {
					return err
				}
				for _, object := range objects.Items {
					if text, err := json.Marshal(object.Object); err != nil || strings.Contains(string(text), i.space) && !i.givenToAll(&object) {
						found = append(found, resource.Kind+" "+object.GetName())
					}
				}
			}
		}
		if left = found; len(left) > 0 {
			return errors.New("there is something")
		}
		return nil
	})
	if err != nil {
		i.t.Errorf("%v: %s", err, strings.Join(left, ", "))
	}
}

// givenToAll is what every namespace has, and the namespace itself.
func (i *installation) givenToAll(object *unstructured.Unstructured) bool {
	switch object.GetKind() + " " + object.GetName() {
	case "Namespace " + i.space, "ConfigMap kube-root-ca.crt", "ServiceAccount default":
		return true
	}
	return false
}

// wasAllowedEverything: the release's roles are enough.
func (i *installation) wasAllowedEverything() {
	i.t.Helper()
	accounts := "system:serviceaccount:" + i.space + ":"
	refused, err := i.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		return strings.HasPrefix(event.User.Username, accounts) && event.ResponseStatus.Code == http.StatusForbidden &&
			!slices.ContainsFunc(i.excused, func(t [2]time.Time) bool { return event.Received.After(t[0]) && event.Received.Before(t[1]) })
	})
	must(i.t, err)
	for _, event := range refused {
		i.t.Errorf("%s may not %s %s/%s in API group %q and namespace %q", event.User.Username, event.Verb, event.ObjectRef.Resource, event.ObjectRef.Subresource,
			event.ObjectRef.APIGroup, event.ObjectRef.Namespace)
	}
}
