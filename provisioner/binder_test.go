package provisioner

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/topology"
)

// reaches has a volume be reachable from one zone alone.
func reaches(zone string) func(*corev1.PersistentVolume) {
	return func(pv *corev1.PersistentVolume) {
		pv.Spec.NodeAffinity = topology.NodeAffinity([]topology.Segment{topology.NewSegment(map[string]string{"zone": zone})})
	}
}

func TestAClaimIsBoundOnlyWhereItsVolumeCanBeReached(t *testing.T) {
	index := topology.NewIndex()
	nodes, registrations := index.NodeEvents(), index.CSINodeEvents(testDriver)
	for _, zone := range []string{"a", "b"} {
		nodes.OnAdd(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n-" + zone, Labels: map[string]string{"zone": zone}}}, true)
		registrations.OnAdd(&storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n-" + zone}, Spec: storagev1.CSINodeSpec{
			Drivers: []storagev1.CSINodeDriver{{Name: testDriver, NodeID: "id", TopologyKeys: []string{"zone"}}},
		}}, true)
	}
	tests := map[string]struct {
		class       func(*storagev1.StorageClass)
		node        string
		volume      func(*corev1.PersistentVolume)
		delayed     bool
		unreachable string
	}{
		"the node for which it was made":     {waitForFirstConsumer, "n-a", reaches("a"), true, ""},
		"another node, out of reach":         {waitForFirstConsumer, "n-b", reaches("a"), true, `node "n-b" is selected now`},
		"another node, from which it can be": {waitForFirstConsumer, "n-b", func(*corev1.PersistentVolume) {}, true, ""},
		"a node that is gone":                {waitForFirstConsumer, "n-c", reaches("a"), true, `node "n-c" is selected now`},
		"no node any more":                   {waitForFirstConsumer, "", reaches("a"), true, ""},
		"a class that waits for nobody":      {func(*storagev1.StorageClass) {}, "", reaches("a"), false, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := makeWorld(t)
			w.c.config.Topology = index
			if err := w.c.classes.GetIndexer().Add(makeClass(tt.class)); err != nil {
				t.Fatal(err)
			}
			in := BindInput{Claim: makeClaim(), Volume: makeStored(tt.volume)}
			if tt.node != "" {
				in.Claim = makeClaim(onNode(tt.node))
			}
			if err := w.c.gatherReach(&in); err != nil {
				t.Fatal(err)
			}
			if in.Delayed != tt.delayed {
				t.Errorf("delayed is %v", in.Delayed)
			}
			if (in.Unreachable == nil) != (tt.unreachable == "") || in.Unreachable != nil && !strings.Contains(in.Unreachable.Error(), tt.unreachable) {
				t.Errorf("unreachable is %v", in.Unreachable)
			}
		})
	}
}

// A permission that is taken away is noticed by the write that it was for; the review tells which one it is, and when it is back.
func TestWhetherClaimsMayBeBoundIsAskedFor(t *testing.T) {
	w := makeWorld(t)
	w.c.express = newExpress(true)
	allowed, broken := map[string]bool{"": true}, false
	w.core.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, _ := action.(clienttesting.CreateAction)
		review, _ := create.GetObject().DeepCopyObject().(*authorizationv1.SelfSubjectAccessReview)
		if broken {
			return true, nil, apierrors.NewServiceUnavailable("starting")
		}
		review.Status.Allowed = allowed[review.Spec.ResourceAttributes.Subresource]
		return true, review, nil
	})
	denied, err := w.c.bindingDenied(t.Context())
	if err != nil || denied != "patch of persistentvolumeclaims/status is not granted" {
		t.Errorf("got %q, %v", denied, err)
	}
	allowed["status"] = true
	if denied, err = w.c.bindingDenied(t.Context()); err != nil || denied != "" {
		t.Errorf("got %q, %v", denied, err)
	}
	broken = true
	if _, err = w.c.bindingDenied(t.Context()); err == nil {
		t.Error("no answer was taken for one")
	}
}

// What nobody bound while nothing was bound here is bound when it may be again.
func TestBindingsAreReviewedWhenTheyAreAllowedAgain(t *testing.T) {
	w := makeWorld(t)
	w.c.express = newExpress(true)
	w.cached(makeClaim())
	if err := w.c.volumes.GetIndexer().Add(makeStored()); err != nil {
		t.Fatal(err)
	}
	worked := make(chan ClaimKey, 1)
	instead(&w.c.bindLoop, func(_ context.Context, key ClaimKey) worker.Result {
		worked <- key
		return worker.Done()
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.c.bindLoop.Run(ctx) })
	defer running.Wait()
	defer stop()
	w.c.allowedToBind(t.Context(), "no role")
	w.c.allowedToBind(t.Context(), "")
	select {
	case key := <-worked:
		if key.UID != testUID {
			t.Errorf("got %s", key)
		}
	case <-time.After(time.Minute):
		t.Fatal("nobody looked")
	}
}
