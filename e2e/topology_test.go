//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

const selectedNode = "volume.kubernetes.io/selected-node"

func TestDelayedVolumeIsMadeWhereThePodIsPlaced(t *testing.T) {
	// The last zone, so that taking the first of a sorted list does not pass.
	s := inSharedWorld(t)
	zone := s.Zones[len(s.Zones)-1]
	node := s.NodeIn(zone).Name

	claim := s.claim("data", s.class(harness.WaitForFirstConsumer))
	s.fence()
	if phase := s.phase("data"); phase != corev1.ClaimPending {
		t.Fatalf("without a Pod the claim is %s, want Pending", phase)
	}
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Fatalf("CreateVolume was called %d times before there was a Pod", len(calls))
	}

	pod := harness.Pod(s.namespace, "user", "data", harness.OnNodesWith(s.ZoneKey(), zone))
	_, err := s.Client().CoreV1().Pods(s.namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	must(t, err)
	claim, volume := s.bound("data")
	if got := claim.Annotations[selectedNode]; got != node {
		t.Errorf("the scheduler selected node %q, want %q", got, node)
	}
	wantAffinity(s, volume, zone)
	wantTopologyRequirement(s, claim, zone)

	pods, err := harness.WatchPods(t.Context(), s.Client(), s.namespace, func(pods harness.Seen[*corev1.Pod]) bool {
		user := pods[s.namespace+"/user"]
		return user != nil && user.Spec.NodeName != ""
	})
	if err != nil {
		t.Fatalf("wait until the Pod is placed: %v; last seen: %v", err, pods[s.namespace+"/user"])
	}
	if got := pods[s.namespace+"/user"].Spec.NodeName; got != node {
		t.Errorf("the Pod is on %s, want %s", got, node)
	}
}

// TestAClaimForANodeWithoutTheDriverIsGivenBack: the node was there when it was selected, and the driver has left it since.
func TestAClaimForANodeWithoutTheDriverIsGivenBack(t *testing.T) {
	s := inSharedWorld(t)
	bare := harness.Node(harness.NodeSpec{Name: s.namespace + "-bare", Labels: map[string]string{s.ZoneKey(): s.Zones[0]}})
	bare.Spec.Unschedulable = true // by Pods of other stories
	_, err := s.Client().CoreV1().Nodes().Create(t.Context(), bare, metav1.CreateOptions{})
	must(t, err)
	claim := s.claim("data", s.class(harness.WaitForFirstConsumer), harness.Annotation(selectedNode, bare.Name))
	must(t, harness.Eventually(t.Context(), "the claim is given back", func(ctx context.Context) error {
		now, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(ctx, claim.Name, metav1.GetOptions{})
		if err == nil && now.Annotations[selectedNode] != "" {
			err = fmt.Errorf("its selected node is %s", now.Annotations[selectedNode])
		}
		return err
	}))
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		t.Errorf("CreateVolume was called %d times for a node without the driver", len(calls))
	}
	must(t, s.Client().CoreV1().Nodes().Delete(t.Context(), bare.Name, metav1.DeleteOptions{}))
}

// wantAffinity checks that a volume can be reached from one zone and no other.
func wantAffinity(s *story, volume *corev1.PersistentVolume, zone string) {
	s.t.Helper()
	affinity := volume.Spec.NodeAffinity
	if affinity == nil || affinity.Required == nil || len(affinity.Required.NodeSelectorTerms) != 1 {
		s.t.Fatalf("node affinity is %v, want one term", affinity)
	}
	term := affinity.Required.NodeSelectorTerms[0]
	if len(term.MatchFields) != 0 || len(term.MatchExpressions) != 1 {
		s.t.Fatalf("node affinity's term is %v, want one expression", term)
	}
	expression := term.MatchExpressions[0]
	if expression.Key != s.ZoneKey() || expression.Operator != corev1.NodeSelectorOpIn ||
		!slices.Equal(expression.Values, []string{zone}) {
		s.t.Errorf("node affinity is %v, want %s in [%s]", expression, s.ZoneKey(), zone)
	}
}

// wantTopologyRequirement checks that the driver was told: best in this zone, else in any.
func wantTopologyRequirement(s *story, claim *corev1.PersistentVolumeClaim, zone string) {
	s.t.Helper()
	calls := s.calls(harness.CreateVolume, volumeName(claim))
	if len(calls) != 1 {
		s.t.Fatalf("CreateVolume was called %d times, want once", len(calls))
	}
	request, err := calls[0].CreateVolume()
	must(s.t, err)
	topology := request.AccessibilityRequirements
	if topology == nil {
		s.t.Fatal("the request says nothing about topology")
	}
	zones := func(list []harness.Segments) []string {
		var zones []string
		for _, segments := range list {
			zones = append(zones, segments.Segments[s.ZoneKey()])
		}
		return zones
	}
	requisite, preferred := zones(topology.Requisite), zones(topology.Preferred)
	if len(preferred) == 0 || preferred[0] != zone {
		s.t.Errorf("preferred zones are %v, want %s first", preferred, zone)
	}
	slices.Sort(requisite)
	if !slices.Equal(requisite, s.Zones) {
		s.t.Errorf("requisite zones are %v, want %v", requisite, s.Zones)
	}
}
