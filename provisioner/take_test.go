package provisioner

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/simtest"
	"github.com/berth-csi/berth/topology"
)

func onNodeA(config *Config) { config.Settings.Node = ourNode() }

func TestOnlyOneNodeTakesAClaim(t *testing.T) {
	server := simtest.NewServer()
	stored, err := server.Create(simtest.Claims, makeClaim())
	if err != nil {
		t.Fatal(err)
	}
	seen, _ := stored.DeepCopyObject().(*corev1.PersistentVolumeClaim)
	takes := func(name string) error {
		settings := testSettings()
		settings.Node = Node{Name: name, Segment: zone(name), Immediate: true, BaseDelay: time.Second, MaxDelay: time.Second}
		c := simController(settings, false, server, simtest.Now, &countingDriver{})
		return c.selectNode(t.Context(), seen)
	}
	if err := takes("first"); err != nil {
		t.Fatal(err)
	}
	if err := takes("second"); !apierrors.IsConflict(err) {
		t.Errorf("the second node gets %v, want a conflict", err)
	}
	claim, _ := server.Find(simtest.Claims, "ns/data").(*corev1.PersistentVolumeClaim)
	if got := selectedNode(claim); got != "first" {
		t.Errorf("the claim is of node %q", got)
	}
}

// The established provisioner's role has update, and not patch.
func TestAClaimIsTakenWithAnOlderRole(t *testing.T) {
	tests := map[string]struct {
		live     *corev1.PersistentVolumeClaim
		conflict bool
		want     string
	}{
		"as it was seen":     {makeClaim(), false, "node-a"},
		"changed meanwhile":  {makeClaim(func(c *corev1.PersistentVolumeClaim) { c.ResourceVersion = "8" }), true, ""},
		"made anew":          {makeClaim(func(c *corev1.PersistentVolumeClaim) { c.UID = "new" }), true, ""},
		"taken by another":   {makeClaim(onNode("node-b"), func(c *corev1.PersistentVolumeClaim) { c.ResourceVersion = "8" }), true, "node-b"},
		"without annotation": {makeClaim(func(c *corev1.PersistentVolumeClaim) { c.Annotations = nil }), false, "node-a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(tt.live)
			client.PrependReactor("patch", "persistentvolumeclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewForbidden(corev1.Resource("persistentvolumeclaims"), "data", errors.New("no patch"))
			})
			err := makeController(t, client, onNodeA).selectNode(t.Context(), makeClaim())
			if apierrors.IsConflict(err) != tt.conflict || err != nil && !tt.conflict {
				t.Errorf("got %v", err)
			}
			claim, err := client.CoreV1().PersistentVolumeClaims("ns").Get(t.Context(), "data", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := selectedNode(claim); got != tt.want {
				t.Errorf("the claim is of node %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAClaimOfANodeWithoutTheDriverIsGivenBack(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}}
	registered := func(drivers ...string) *storagev1.CSINode {
		object := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}}
		for _, driver := range drivers {
			object.Spec.Drivers = append(object.Spec.Drivers, storagev1.CSINodeDriver{Name: driver})
		}
		return object
	}
	tests := map[string]struct {
		objects   []runtime.Object
		forbidden string // resource
		given     bool
		says      string
	}{
		"the driver is there":          {[]runtime.Object{node, registered("other", testDriver)}, "", false, ""},
		"another driver is there":      {[]runtime.Object{node, registered("other")}, "", true, "does not have driver " + testDriver},
		"no driver was ever there":     {[]runtime.Object{node}, "", true, "does not have driver " + testDriver},
		"the node is gone":             {nil, "", true, "does not exist any more"},
		"CSINodes must not be read":    {[]runtime.Object{node}, "csinodes", false, ""},
		"nodes must not be read":       {[]runtime.Object{registered("other")}, "nodes", false, ""},
		"the node went, its CSI stays": {[]runtime.Object{registered("other")}, "", true, "does not exist any more"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(append(tt.objects, makeClaim(onNode("node-b")))...)
			if tt.forbidden != "" {
				fails(&client.Fake, "get", tt.forbidden, apierrors.NewForbidden(corev1.Resource(tt.forbidden), "node-b", errors.New("no role")))
			}
			c := makeController(t, client, onNodeA)
			in := makeInput(onOurNode, claimIs(onNode("node-b")))
			key := keyOf(in.Claim)
			c.strays.left(key.UID, "node-b")
			c.lookForDriver(t.Context(), key, in, "node-b")
			claim, err := client.CoreV1().PersistentVolumeClaims("ns").Get(t.Context(), "data", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if given := selectedNode(claim) == ""; given != tt.given {
				t.Errorf("given back: %v, want %v", given, tt.given)
			}
			if c.strays.known("node-b") != (name == "the driver is there") {
				t.Errorf("the node is known to have the driver: %v", c.strays.known("node-b"))
			}
			message, _ := c.withoutDriver(t.Context(), "node-b")
			if !strings.Contains(message, tt.says) || (message == "") != (tt.says == "") {
				t.Errorf("it says %q, want %q", message, tt.says)
			}
			if c.strays.byClaim[key.UID].looks != 1 {
				t.Errorf("the look counts as %d", c.strays.byClaim[key.UID].looks)
			}
		})
	}
}

// All nodes hear of a protected source, and the one that it is on minds it.
func TestWhoMindsASource(t *testing.T) {
	in := func(where string) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) {
			pv.Spec.NodeAffinity = topology.NodeAffinity([]topology.Segment{zone(where)})
		}
	}
	source := datasource.Key{Kind: datasource.Clone, Namespace: "ns", Name: "source"}
	tests := map[string]struct {
		volume *corev1.PersistentVolume // nil: it is not known
		node   Node
		want   bool
	}{
		"it is here":                        {makeSourceVolume(in("a")), ourNode(), true},
		"it is on another node":             {makeSourceVolume(in("b")), ourNode(), false},
		"nobody knows where it is":          {nil, ourNode(), false},
		"there is one process for all":      {nil, Node{}, true},
		"it is of another driver, and here": {makeSourceVolume(in("a"), func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "other" }), ourNode(), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := makeController(t, fake.NewClientset(), func(config *Config) { config.Settings.Node = tt.node })
			if err := c.claims.GetIndexer().Add(makeSource()); err != nil {
				t.Fatal(err)
			}
			if tt.volume != nil {
				if err := c.volumes.GetIndexer().Add(tt.volume); err != nil {
					t.Fatal(err)
				}
			}
			if got := c.minds(source); got != tt.want {
				t.Errorf("minds it: %v, want %v", got, tt.want)
			}
			c.want(source)
			if !c.minds(source) {
				t.Error("who has protected it does not mind it")
			}
			if got := c.minds(source); got != tt.want {
				t.Errorf("and minds it ever after: %v, want %v", got, tt.want)
			}
			c.sweepSource(source)
			if got := c.minds(source); got != (tt.want || tt.volume == nil) {
				t.Errorf("at a sweep minds it: %v", got)
			}
		})
	}
}
