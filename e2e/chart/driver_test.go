package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestAVendorsDriverIsInstalledWithItsNodePlugin renders the values of a driver that there is: its controller beside Berth, its node plugin among
// extraObjects. What both have to share is the same for both.
func TestAVendorsDriverIsInstalledWithItsNodePlugin(t *testing.T) {
	objects := rendered(t, "../driver/deploy/values.yaml")
	deployments, daemons, configs := of[*appsv1.Deployment](objects), of[*appsv1.DaemonSet](objects), of[*corev1.ConfigMap](objects)
	if len(deployments) != 1 || len(daemons) != 1 || len(configs) == 0 {
		t.Fatalf("%d Deployments, %d DaemonSets, %d ConfigMaps", len(deployments), len(daemons), len(configs))
	}
	var controller, node corev1.PodSpec
	for _, deployment := range deployments {
		controller = deployment.Spec.Template.Spec
		if deployment.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType || deployment.Spec.Strategy.RollingUpdate != nil {
			t.Errorf("two replicas would wait for each other: %v", deployment.Spec.Strategy)
		}
	}
	for _, daemon := range daemons {
		node = daemon.Spec.Template.Spec
	}
	// shared is what a container has at a path: a ConfigMap's name or a directory of the node.
	shared := func(spec corev1.PodSpec, container, path string) string {
		c := spec.Containers[slices.IndexFunc(spec.Containers, func(c corev1.Container) bool { return c.Name == container })]
		mount := c.VolumeMounts[slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == path })]
		volume := spec.Volumes[slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })]
		if volume.ConfigMap != nil {
			return "ConfigMap " + volume.ConfigMap.Name
		}
		return volume.HostPath.Path
	}
	for path, want := range map[string]string{"/var/lib/poold": "/var/lib/poold", "/etc/poold": "ConfigMap pool-poold"} {
		got := []string{shared(controller, "csi-driver", path), shared(node, "poold", path)}
		if diff := cmp.Diff([]string{want, want}, got); diff != "" {
			t.Errorf("at %s: %s", path, diff)
		}
	}
	const endpoint = "--kubelet-endpoint="
	i := slices.IndexFunc(node.Containers[0].Args, func(arg string) bool { return strings.HasPrefix(arg, endpoint) })
	if got := strings.TrimPrefix(node.Containers[0].Args[i], endpoint); got != shared(node, "poold", "/csi")+"/csi.sock" {
		t.Errorf("the kubelet is told of %s, and the socket is elsewhere", got)
	}
}
