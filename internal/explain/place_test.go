package explain

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/topology"
)

func TestDiagnoseSelectedNode(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"the selected node": {
			facts:   situation(selected("n2", "b"), usedBy(pod(unschedulable("while it was not provisioned")))),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{`The scheduler selected node "n2", which is in ` + zoneKey + "=b", `Pod "web-0" waits for it`},
		},
		"an annotation that gives a terminal orders": {
			facts:   situation(func(f *Facts) { f.Claim.Annotations[volumehelpers.AnnStorageProvisioner] = "a\x1b[31mb" }),
			verdict: "Pending: it is assigned to a [31mb, and its class is of pool.csi.example.com now.",
			found:   []string{"problem assignment"},
		},
		"a class that may not be read is known by whom the claim is assigned to": {
			facts: situation(leases(lease("berth-1", time.Hour)), func(f *Facts) {
				f.Class = Look[*storagev1.StorageClass]{Sight: Hidden}
			}),
			verdict: "Pending: nobody provisions for driver pool.csi.example.com at the moment (its Lease was last renewed 60m ago).",
			found:   []string{"problem berth"},
		},
		"a selected node that is gone": {
			facts:   situation(selected("n2", "b"), func(f *Facts) { f.Node = Look[map[string]string]{Sight: Absent} }),
			verdict: `Pending: the scheduler selected node "n2" for it, and that is gone.`,
			found:   []string{"problem selected node"},
			tells:   []string{`and node "n2" does not exist any more`},
		},
		"a selected node whose CSINode is gone": {
			facts:   situation(selected("n2", "b"), func(f *Facts) { f.CSINode = Look[*storagev1.CSINode]{Sight: Absent} }),
			verdict: `Pending: the scheduler selected node "n2" for it, and that is gone.`,
			found:   []string{"problem selected node"},
			tells:   []string{`and CSINode "n2" does not exist any more`},
		},
		"a selected node that the driver is not on": {
			facts:   situation(selected("n2", "b"), func(f *Facts) { f.CSINode.Value.Spec.Drivers = nil }),
			verdict: `Pending: driver pool.csi.example.com is not registered on the selected node "n2".`,
			found:   []string{"problem selected node"},
			do:      []string{`runs on "n2"`},
		},
		"a selected node that lacks a label": {
			facts:   situation(selected("n2", "b"), func(f *Facts) { f.Node = seen(map[string]string{}) }),
			verdict: `Pending: node "n2" lacks a label for one of the driver's topology keys ` + zoneKey + ".",
			found:   []string{"problem selected node"},
		},
		"a selected node of a driver without a topology": {
			facts:   situation(selected("n2", "b"), func(f *Facts) { f.CSINode.Value.Spec.Drivers[1].TopologyKeys = nil }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"registered without a topology"},
		},
		"a selected node that could not be looked at": {
			facts:   situation(selected("n2", "b"), func(f *Facts) { f.Node = Look[map[string]string]{Sight: Hidden} }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{`The scheduler selected node "n2".`},
		},
		"a selected node where the class allows no volume": {
			facts:   situation(selected("n2", "b"), allowedZones("a")),
			verdict: "Pending: no place for the volume: selected node's segment " + zoneKey + "=b is in none of the 1 segments a volume may be in.",
			found:   []string{"problem selected node"},
		},
	})
}

func TestDiagnoseHint(t *testing.T) {
	hinted := func(hint string) func(*Facts) {
		return func(f *Facts) { f.Claim.Annotations[topology.HintKey(testDriver)] = hint }
	}
	diagnoses(t, map[string]diagnosed{
		"a hint": {
			facts: situation(hinted("v1;" + zoneKey + "=b;" + zoneKey + "=a")),
			tells: []string{"It would rather be in " + zoneKey + "=b, " + zoneKey + "=a."},
		},
		"a hint that nobody can read": {
			facts: situation(hinted("zone b")), found: []string{"warning hint"}, tells: []string{"is no topology hint: it begins with"},
		},
		"a hint where the scheduler chooses": {
			facts: situation(delayedBinding, hinted("v1;"+zoneKey+"=b")), found: []string{"waiting pod"}, tells: []string{"has no effect"},
		},
		"a hint on a bound claim": {facts: situation(boundClaim, hinted("zone b"))},
	})
}

func TestDiagnoseCapacity(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"capacity that is enough somewhere": {
			facts:   situation(delayedBinding, usedBy(pod()), published(roomIn("a", "1Gi", ""), roomIn("b", "", "20Gi"), roomIn("c", "", ""))),
			verdict: `Pending: it waits until the scheduler places Pod "web-0".`,
			found:   []string{"waiting pod"},
			tells:   []string{"1 of 3 segments fit a volume of 10Gi", zoneKey + "=b: volumes up to 20Gi; fits", zoneKey + "=c: nothing published, which counts as no room"},
		},
		"capacity that is published nowhere": {
			facts:   situation(delayedBinding, usedBy(pod()), published()),
			verdict: `Pending: the scheduler minds capacity, and none is published for class "fast".`,
			found:   []string{"problem capacity", "waiting pod"},
		},
		"capacity that nobody minds": {
			facts: situation(delayedBinding, usedBy(pod()), published(roomIn("a", "1Gi", "")), func(f *Facts) {
				f.CSIDriver.Value.Spec.StorageCapacity = new(false)
			}),
			verdict: `Pending: it waits until the scheduler places Pod "web-0".`,
			found:   []string{"warning capacity", "waiting pod"},
			do:      []string{"smaller request"},
		},
		"capacity for Immediate binding is for the driver to judge": {
			facts:   situation(published(roomIn("a", "1Gi", ""))),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			found:   []string{"warning capacity"},
		},
		"of too much capacity to look at nothing is concluded": {
			facts:   situation(delayedBinding, usedBy(pod()), published(roomIn("a", "1Gi", "")), func(f *Facts) { f.Rooms.Partial = true }),
			verdict: `Pending: it waits until the scheduler places Pod "web-0".`,
			found:   []string{"waiting pod"},
			tells:   []string{"0 of 1 segment fit a volume of 10Gi, among those looked at: there are more"},
		},
		"many segments are not all told": {
			facts:   situation(published(manyRooms(12)...)),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"12 of 12 segments fit", "And 4 segments more"},
		},
		"places that are written in another way": {
			facts: situation(published(
				storagev1.CSIStorageCapacity{NodeTopology: nil}, storagev1.CSIStorageCapacity{NodeTopology: &metav1.LabelSelector{}},
				storagev1.CSIStorageCapacity{NodeTopology: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: zoneKey, Operator: metav1.LabelSelectorOpExists},
				}}})),
			found: []string{"warning capacity"},
			tells: []string{"no node: nothing published", "everywhere: nothing published", zoneKey + ": nothing published"},
		},
	})
}

func TestDiagnosePod(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"a Pod that the scheduler cannot place": {
			facts:   situation(delayedBinding, usedBy(pod(unschedulable("0/3 nodes are available: 3 Insufficient cpu.")))),
			verdict: `Pending: Pod "web-0", which is to use it, cannot be placed: 0/3 nodes are available: 3 Insufficient cpu.`,
			found:   []string{"problem pod"},
		},
		"a Pod that was put on a node by hand": {
			facts:   situation(delayedBinding, usedBy(pod(func(p *corev1.Pod) { p.Spec.NodeName = "n1" }))),
			verdict: `Pending: Pod "web-0" was put on a node without the scheduler, and only that selects a node for a claim with WaitForFirstConsumer.`,
			found:   []string{"problem pod"},
			do:      []string{"kubernetes.io/hostname: n1"},
		},
		"a Pod that is held by a gate": {
			facts: situation(delayedBinding, usedBy(pod(func(p *corev1.Pod) {
				p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/quota"}}
			}))),
			verdict: `Pending: Pod "web-0", which is to use it, is not scheduled before its gates are taken off.`,
			found:   []string{"waiting pod"},
		},
		"many Pods are not all told": {
			facts:   situation(usedBy(pod(), pod(), pod(), pod(), pod())),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"2 Pods more of them"},
		},
		"a namespace with more Pods than were looked at": {
			facts:   situation(delayedBinding, func(f *Facts) { f.Pods.Partial = true }),
			verdict: "Pending: it waits for a Pod that uses it (WaitForFirstConsumer), and there is none.",
			found:   []string{"waiting pod"},
			tells:   []string{"and there are more"},
		},
	})
}
