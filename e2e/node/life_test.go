//go:build node

package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// TestDataIsRestored tells the whole life of a release on a node, and what people do with it meanwhile: what a Pod has written before a snapshot is what
// another Pod reads from the restored volume.
func TestDataIsRestored(t *testing.T) {
	s := inCluster(t, "life")
	s.install("--values", s.vendor())
	s.registered()

	// The webhooks are reached through their Service, and know the driver.
	if claim := s.claim("data"); claim.Annotations["volume.kubernetes.io/storage-provisioner"] != s.driver {
		t.Errorf("annotations are %v as the claim is created", claim.Annotations)
	}
	s.scribe("writer", "data", "write", "/data/greeting", "written before the snapshot")
	s.wrote("writer")

	controller, err := s.DriverInPod(s.driver, s.onlyPod(s.name+"-berth"))
	must(t, err)
	snapshots, err := harness.NewSnapshotter(s.ControlPlane, controller)
	must(t, err)
	taken, err := snapshots.Take(t.Context(), s.namespace, "snapshot", "data")
	must(t, err)
	s.scribe("changer", "data", "write", "/data/greeting", "written after it", "read", "/data/greeting")
	if read := s.wrote("changer"); read != "written after it\n" {
		t.Errorf("the changed volume holds %q", read)
	}
	s.claim("restored", harness.From(harness.SnapshotSource("", "snapshot")))
	s.scribe("reader", "restored", "read", "/data/greeting")
	if read := s.wrote("reader"); read != "written before the snapshot\n" {
		t.Errorf("the restored volume holds %q", read)
	}

	s.refusesConversion()
	s.explains()
	s.run(s.helm, "test", s.name, "--namespace", s.space, "--timeout", harness.WaitTimeout.String())
	s.isScraped()

	volumes := s.volumes("data", "restored")
	for _, pod := range []string{"writer", "changer", "reader"} {
		must(t, s.Client().CoreV1().Pods(s.namespace).Delete(t.Context(), pod, metav1.DeleteOptions{}))
	}
	must(t, snapshots.Drop(t.Context(), taken))
	s.deletes(volumes, "data", "restored", "homeless")
	s.uninstall()
	s.leavesNothing()
}

// TestADeviceIsRestored is the same for volumes that are devices.
func TestADeviceIsRestored(t *testing.T) {
	s := inCluster(t, "device")
	s.install("--values", s.vendor())
	s.registered()
	const before, after = "written before the snapshot", "written after the snapshot "
	length := strconv.Itoa(len(before))

	s.claim("data", harness.Block)
	s.device("writer", "data", "write", devicePath, before)
	s.wrote("writer")
	controller, err := s.DriverInPod(s.driver, s.onlyPod(s.name+"-berth"))
	must(t, err)
	snapshots, err := harness.NewSnapshotter(s.ControlPlane, controller)
	must(t, err)
	taken, err := snapshots.Take(t.Context(), s.namespace, "snapshot", "data")
	must(t, err)
	s.device("changer", "data", "write", devicePath, after, "head", devicePath, length)
	if read := s.wrote("changer"); read != after+"\n" {
		t.Errorf("the changed device holds %q", read)
	}
	s.claim("restored", harness.Block, harness.From(harness.SnapshotSource("", "snapshot")))
	s.device("reader", "restored", "head", devicePath, length)
	if read := s.wrote("reader"); read != before+"\n" {
		t.Errorf("the restored device holds %q", read)
	}

	volumes := s.volumes("data", "restored")
	for _, pod := range []string{"writer", "changer", "reader"} {
		must(t, s.Client().CoreV1().Pods(s.namespace).Delete(t.Context(), pod, metav1.DeleteOptions{}))
	}
	must(t, snapshots.Drop(t.Context(), taken))
	s.deletes(volumes, "data", "restored")
	s.uninstall()
	s.leavesNothing()
}

// devicePath is where a Pod has a volume that is a device.
const devicePath = "/dev/data"

// device is a scribe whose volume is a device. Devices belong to root.
func (s *story) device(name, claim string, steps ...string) {
	s.t.Helper()
	s.scribePod(name, claim, func(pod *corev1.Pod) {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(0))}
		container := &pod.Spec.Containers[0]
		container.VolumeDevices = []corev1.VolumeDevice{{Name: container.VolumeMounts[0].Name, DevicePath: devicePath}}
		container.VolumeMounts = nil
	}, steps...)
}

// refusesConversion looks at a refusal as a user's kubectl shows it.
func (s *story) refusesConversion() {
	s.t.Helper()
	out, err := s.Kubectl(s.t.Context(), fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: converted, namespace: %s}
spec:
  storageClassName: %s
  volumeMode: Block
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: snapshot}
`, s.namespace, s.name), nil, "create", "-f", "-")
	if err == nil {
		s.t.Fatalf("a snapshot of a file system may be restored as a device: %s", out)
	}
	if !strings.Contains(out, "denied the request") || !strings.Contains(out, "snapshot") {
		s.t.Errorf("kubectl says %q", out)
	}
}

// explains asks about a claim that no place has room for.
func (s *story) explains() {
	s.t.Helper()
	s.claim("homeless", harness.Size("100Ti"))
	s.scribe("homeless", "homeless", "stay")
	must(s.t, harness.Eventually(s.t.Context(), "berth explain names what the claim waits for", func(context.Context) error {
		if out := s.run("berth", "explain", "pvc", "homeless", "--namespace", s.namespace); !strings.Contains(out, "100Ti") {
			return errors.New(out)
		}
		return nil
	}))
	must(s.t, s.Client().CoreV1().Pods(s.namespace).Delete(s.t.Context(), "homeless", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
}

// isScraped reads the metrics through their Service, as a scraper would.
func (s *story) isScraped() {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "metrics count a volume", func(ctx context.Context) error {
		text, err := s.Client().CoreV1().Services(s.space).ProxyGet("http", s.name+"-berth-metrics", "http", "metrics", nil).DoRaw(ctx)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "berth_") && strings.Contains(line, s.name) {
				return nil
			}
		}
		return fmt.Errorf("none of %d bytes is about class %s", len(text), s.name)
	}))
}

// volumes are the names of the claims' volumes.
func (s *story) volumes(claims ...string) []string {
	s.t.Helper()
	var names []string
	for _, claim := range claims {
		names = append(names, s.bound(claim).Spec.VolumeName)
	}
	return names
}

// deletes deletes claims, and waits until their volumes are gone.
func (s *story) deletes(volumes []string, claims ...string) {
	s.t.Helper()
	for _, claim := range claims {
		must(s.t, s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Delete(s.t.Context(), claim, metav1.DeleteOptions{}))
	}
	_, err := harness.WatchVolumes(s.t.Context(), s.Client(), func(there harness.Seen[*corev1.PersistentVolume]) bool {
		for _, name := range volumes {
			if there["/"+name] != nil || there[name] != nil {
				return false
			}
		}
		return true
	})
	must(s.t, err)
}

// leavesNothing looks for what a release leaves: Pods, webhooks, roles, leases, Secrets.
func (s *story) leavesNothing() {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "nothing is left of the release", func(ctx context.Context) error {
		kinds := "pods,deployments,daemonsets,configmaps,secrets,leases,roles,rolebindings,csistoragecapacities,serviceaccounts,services,endpointslices"
		out, err := s.Kubectl(ctx, "", nil, "-n", s.space, "get", kinds, "-o", "name")
		if err != nil {
			return err
		}
		cluster, err := s.Kubectl(ctx, "", nil, "get", "-o", "name",
			"mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings,storageclasses,csidrivers,persistentvolumes")
		if err != nil {
			return err
		}
		var left []string
		for line := range strings.Lines(out) {
			if !strings.Contains(line, "configmap/kube-root-ca.crt") && !strings.Contains(line, "serviceaccount/default") {
				left = append(left, strings.TrimSpace(line))
			}
		}
		for line := range strings.Lines(cluster) {
			if strings.Contains(line, s.name) {
				left = append(left, strings.TrimSpace(line))
			}
		}
		if len(left) > 0 {
			return errors.New(strings.Join(left, ", "))
		}
		return nil
	}))
	if _, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(s.t.Context(), "data", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		s.t.Errorf("the claim: %v", err)
	}
}
