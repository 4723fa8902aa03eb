package provisioner

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// makeController is a controller that is not running, with the API server given.
func makeController(t *testing.T, client *fake.Clientset, changes ...func(*Config)) *Controller {
	t.Helper()
	config := Config{
		Settings: testSettings(), Client: client, Registry: prometheus.NewRegistry(),
		Informers: informers.NewSharedInformerFactory(client, 0),
		Workers:   1, BackoffStart: time.Second, BackoffMax: time.Minute, CallTimeout: 10 * time.Second,
	}
	for _, change := range changes {
		change(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGiveBack(t *testing.T) {
	forbidPatch := func(client *fake.Clientset) {
		client.PrependReactor("patch", "persistentvolumeclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(corev1.Resource("persistentvolumeclaims"), "data", errors.New("no patch"))
		})
	}
	away := func(client *fake.Clientset) {
		client.PrependReactor("*", "persistentvolumeclaims", func(action clienttesting.Action) (bool, runtime.Object, error) {
			return action.GetVerb() != "list", nil, apierrors.NewServiceUnavailable("away")
		})
	}
	tests := map[string]struct {
		claim   *corev1.PersistentVolumeClaim
		fail    func(*fake.Clientset)
		want    string // selected node afterwards
		retries bool
	}{
		"the node is removed":                 {makeClaim(onNode("n1")), nil, "", false},
		"with an older role, by an update":    {makeClaim(onNode("n1")), forbidPatch, "", false},
		"another node was selected meanwhile": {makeClaim(onNode("n2")), forbidPatch, "n2", false},
		"the claim was made anew meanwhile": {makeClaim(onNode("n1"), func(c *corev1.PersistentVolumeClaim) { c.UID = "new" }),
			forbidPatch, "n1", false},
		"the API server is away": {makeClaim(onNode("n1")), away, "n1", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(tt.claim)
			if tt.fail != nil {
				tt.fail(client)
			}
			c := makeController(t, client)
			about := claimReference(makeClaim())
			if got := c.giveBack(t.Context(), about, "n1", "fast", "no room"); got.Retries() != tt.retries {
				t.Errorf("retries: %v, want %v", got.Retries(), tt.retries)
			}
			list, err := client.CoreV1().PersistentVolumeClaims("ns").List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := selectedNode(&list.Items[0]); got != tt.want {
				t.Errorf("selected node is %q, want %q", got, tt.want)
			}
		})
	}
	c := makeController(t, fake.NewClientset())
	if c.giveBack(t.Context(), claimReference(makeClaim()), "n1", "fast", "no room").Retries() {
		t.Error("a claim that is gone is retried")
	}
}
