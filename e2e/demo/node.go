package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// What the demo on a node installs, and where.
const (
	demoRelease = "pool"
	demoSpace   = "storage"
	demoClass   = "pool"
	demoDriver  = "pool.csi.berth.dev"

	chartDirectory = "charts/berth"
	vendorValues   = "e2e/driver/deploy/values.yaml"

	podsManifest     = "pods.yaml"
	restoreManifest  = "restore.yaml"
	convertManifest  = "convert.yaml"
	homelessManifest = "homeless.yaml"
)

// onNode is the demo on a cluster with a real node: the chart's Pods run, and what is written into volumes is read back.
type onNode struct {
	*harness.ControlPlane

	screen *screen
	dir    string
	taken  *harness.Snapshot
	snaps  *harness.Snapshotter
	// quoted is what a step wants to be read as it stands.
	quoted string
}

// quote is a command with what it has printed, set off from the steps.
func quote(command, out string) string {
	return "    $ " + command + "\n    " + strings.ReplaceAll(strings.TrimSpace(out), "\n", "\n    ")
}

// withNode tells the whole story on a real node, and takes everything down. Where there can be none the error is harness.ErrNoNode.
func withNode(ctx context.Context, screen *screen, dir string) error {
	start := time.Now()
	images, err := harness.NodeImages()
	if err != nil {
		return fmt.Errorf("%w: %w", harness.ErrNoNode, err)
	}
	o := &onNode{screen: screen, dir: dir}
	o.ControlPlane, err = harness.StartControlPlane(ctx, filepath.Join(dir, "controlplane"), harness.ControlPlaneOptions{Node: true, Images: images})
	if err != nil {
		return err
	}
	screen.heading("A cluster on this machine, with a real node")
	err = screen.stepSince(ctx, start, "cluster", func(context.Context) (string, error) {
		return fmt.Sprintf("Kubernetes %s, kubelet and containerd, on %s", o.Version, o.Server), nil
	})
	if err == nil {
		err = o.tell(ctx)
	}
	if err == nil {
		screen.say(fmt.Sprintf("All of it was seen, in %.0f s.", time.Since(start).Seconds()))
	}
	screen.heading("Taken down")
	return errors.Join(err, screen.step(context.WithoutCancel(ctx), "stop", func(ctx context.Context) (string, error) {
		return "no process, mount or cgroup is left", o.Down(ctx)
	}))
}

func (o *onNode) tell(ctx context.Context) error {
	type step struct {
		subject string
		do      func(context.Context) (seen string, err error)
	}
	for _, chapter := range []struct {
		heading string
		steps   []step
	}{
		{"The driver and Berth, from the chart", []step{{"helm install", o.install}, {"rollout", o.rollout}}},
		{"Three Pods write a file each", []step{{"StatefulSet", o.write}}},
		{"A snapshot, and another Pod reads it back", []step{{"snapshot", o.snapshot}, {"restore", o.restore}}},
		{"What cannot work is said at once", []step{{"conversion", o.refuse}, {"no room", o.explain}}},
		{"Everything goes", []step{{"claims", o.delete}, {"helm uninstall", o.uninstall}}},
	} {
		o.screen.heading(chapter.heading)
		for _, s := range chapter.steps {
			o.quoted = ""
			if err := o.screen.step(ctx, s.subject, s.do); err != nil {
				return err
			}
			if o.quoted != "" {
				o.screen.say(o.quoted)
			}
		}
	}
	return nil
}

func (o *onNode) install(ctx context.Context) (string, error) {
	_, err := o.helm(ctx, "install", demoRelease, chartDirectory, "--create-namespace", "--values", vendorValues)
	return "charts/berth, with the values of the driver's vendor", err
}

func (o *onNode) rollout(ctx context.Context) (string, error) {
	for _, workload := range []string{"daemonset/" + demoRelease + "-poold", "deployment/" + demoRelease + "-berth"} {
		if _, err := o.Kubectl(ctx, "", nil, "-n", demoSpace, "rollout", "status", workload, "--timeout", harness.WaitTimeout.String()); err != nil {
			return "", err
		}
	}
	return "driver, Berth and node plugin are ready", harness.Eventually(ctx, "the kubelet knows the driver", func(ctx context.Context) error {
		node, err := o.Client().StorageV1().CSINodes().Get(ctx, harness.NodeName, metav1.GetOptions{})
		if err == nil && len(node.Spec.Drivers) == 0 {
			err = errors.New("it does not")
		}
		return err
	})
}

func (o *onNode) write(ctx context.Context) (string, error) {
	if err := o.apply(ctx, podsManifest); err != nil {
		return "", err
	}
	if _, err := o.Kubectl(ctx, "", nil, "rollout", "status", "statefulset/web", "--timeout", harness.WaitTimeout.String()); err != nil {
		return "", err
	}
	for _, pod := range []string{"web-0", "web-1", "web-2"} {
		if err := o.logged(ctx, pod, "written by "+pod); err != nil {
			return "", err
		}
	}
	return "web-0, web-1 and web-2 have written, each to its volume", nil
}

func (o *onNode) snapshot(ctx context.Context) (string, error) {
	pods, err := o.Client().CoreV1().Pods(demoSpace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=berth"})
	if err != nil {
		return "", err
	}
	if len(pods.Items) != 1 {
		return "", fmt.Errorf("Berth has %d Pods, want one", len(pods.Items))
	}
	driver, err := o.DriverInPod(demoDriver, &pods.Items[0])
	if err != nil {
		return "", err
	}
	if o.snaps, err = harness.NewSnapshotter(o.ControlPlane, driver); err != nil {
		return "", err
	}
	o.taken, err = o.snaps.Take(ctx, namespace, "snapshot", "data-web-0")
	return "of the volume of web-0", err
}

func (o *onNode) restore(ctx context.Context) (string, error) {
	if err := o.apply(ctx, restoreManifest); err != nil {
		return "", err
	}
	const greeting = "written by web-0"
	return fmt.Sprintf("a new Pod reads %q from a new volume", greeting), o.logged(ctx, "reader", greeting)
}

func (o *onNode) refuse(ctx context.Context) (string, error) {
	text, err := manifests.ReadFile("manifests/" + convertManifest)
	if err != nil {
		return "", err
	}
	out, err := o.Kubectl(ctx, string(text), nil, "apply", "-f", "-")
	if err == nil || !strings.Contains(out, "denied the request") {
		return "", fmt.Errorf("a snapshot of a file system can be restored as a device: %s", out)
	}
	o.quoted = quote("kubectl apply -f convert.yaml", out)
	return "a file system's snapshot is not restored as a device", nil
}

func (o *onNode) explain(ctx context.Context) (string, error) {
	if err := o.apply(ctx, homelessManifest); err != nil {
		return "", err
	}
	const size = "100Ti"
	var out string
	err := harness.Eventually(ctx, "berth explain names what the claim waits for", func(ctx context.Context) (err error) {
		out, err = o.run(ctx, "berth", "explain", "pvc", "homeless", "--namespace", namespace)
		if err == nil && !strings.Contains(out, size) {
			err = errors.New(out)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	o.quoted = quote("berth explain pvc homeless", out)
	return "a claim for " + size + " says why it waits", nil
}

func (o *onNode) delete(ctx context.Context) (string, error) {
	if err := o.snaps.Drop(ctx, o.taken); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"statefulset/web", "service/web", "pod/reader", "pod/homeless"}, {"pvc", "--all"}, // claims last: Pods protect them
	} {
		if _, err := o.Kubectl(ctx, "", nil, append([]string{"delete", "--timeout", harness.WaitTimeout.String()}, args...)...); err != nil {
			return "", err
		}
	}
	return "deleted, and their volumes gone", harness.Eventually(ctx, "volumes are gone", func(ctx context.Context) error {
		volumes, err := o.Client().CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err == nil && len(volumes.Items) > 0 {
			err = fmt.Errorf("there are %d", len(volumes.Items))
		}
		return err
	})
}

func (o *onNode) uninstall(ctx context.Context) (string, error) {
	if _, err := o.helm(ctx, "uninstall", demoRelease, "--wait", "--timeout", harness.WaitTimeout.String()); err != nil {
		return "", err
	}
	// What the release does not own, as its notes say.
	lease := strings.ReplaceAll(demoDriver, ".", "-")
	for _, args := range [][]string{
		{"configmap", "--selector", "berth.dev/journal=" + lease + "-journal"}, {"lease/" + lease, "secret/" + lease + "-admission"},
	} {
		if _, err := o.Kubectl(ctx, "", nil, append([]string{"-n", demoSpace, "delete", "--ignore-not-found"}, args...)...); err != nil {
			return "", err
		}
	}
	return "nothing is left of the release", harness.Eventually(ctx, "nothing is left", func(ctx context.Context) error {
		out, err := o.Kubectl(ctx, "", nil, "-n", demoSpace, "get", "pods,deployments,daemonsets,secrets,leases,services,csistoragecapacities", "-o", "name")
		if err == nil && strings.TrimSpace(out) != "" {
			err = fmt.Errorf("there is still %s", strings.Join(strings.Fields(out), ", "))
		}
		return err
	})
}

// logged waits until a Pod has printed a line.
func (o *onNode) logged(ctx context.Context, pod, line string) error {
	return harness.Eventually(ctx, pod+" has read what was written", func(ctx context.Context) error {
		out, err := o.Kubectl(ctx, "", nil, "logs", pod)
		if err == nil && strings.TrimSpace(out) != line {
			err = fmt.Errorf("it printed %q", out)
		}
		return err
	})
}

func (o *onNode) apply(ctx context.Context, manifest string) error {
	text, err := manifests.ReadFile("manifests/" + manifest)
	if err != nil {
		return err
	}
	_, err = o.Kubectl(ctx, string(text), nil, "apply", "-f", "-")
	return err
}

func (o *onNode) helm(ctx context.Context, args ...string) (string, error) {
	return o.run(ctx, "helm4", append(args, "--namespace", demoSpace)...)
}

// run runs one of the project's programs as the administrator.
func (o *onNode) run(ctx context.Context, program string, args ...string) (string, error) {
	path, err := harness.Binary(program)
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, path, args...)
	command.Env = []string{"HOME=" + o.dir, "KUBECONFIG=" + o.Kubeconfig(), "PATH=" + os.Getenv("PATH")}
	out, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
