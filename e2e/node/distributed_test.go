//go:build node

package node

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestOneProcessOnEachNode: in distributed mode a DaemonSet beside the node's driver makes, binds and deletes what is selected for the node, and admission
// is a Deployment of its own. A process that is killed goes on where it was.
func TestOneProcessOnEachNode(t *testing.T) {
	s := inCluster(t, "each")
	s.install(append(s.apart(), "--set", "topology=distributed", "--set", "storageClasses[0].volumeBindingMode=WaitForFirstConsumer")...)
	s.registered()

	if claim := s.claim("data"); claim.Annotations["volume.kubernetes.io/storage-provisioner"] != s.driver {
		t.Errorf("annotations are %v as the claim is created", claim.Annotations)
	}
	s.scribe("writer", "data", "write", "/data/greeting", "written here", "read", "/data/greeting")
	if read := s.wrote("writer"); read != "written here\n" {
		t.Errorf("the volume holds %q", read)
	}

	set, err := s.Client().AppsV1().DaemonSets(s.space).Get(t.Context(), s.name+"-berth", metav1.GetOptions{})
	must(t, err)
	pods, err := s.Client().CoreV1().Pods(s.space).List(t.Context(), metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(set.Spec.Selector)})
	must(t, err)
	if len(pods.Items) != 1 {
		t.Fatalf("there are %d Pods for one node", len(pods.Items))
	}
	s.signal(&pods.Items[0], "berth", "KILL")()
	s.claim("more")
	s.scribe("another", "more", "write", "/data/greeting", "after a restart", "stay")
	s.phase("another", corev1.PodRunning)

	volumes := s.volumes("data", "more")
	for _, pod := range []string{"writer", "another"} {
		must(t, s.Client().CoreV1().Pods(s.namespace).Delete(t.Context(), pod, metav1.DeleteOptions{}))
	}
	s.deletes(volumes, "data", "more")
	s.uninstall()
	s.leavesNothing()
}
