package explain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/provisioner"
)

func TestDiagnose(t *testing.T) {
	tests := map[string]struct {
		facts   Facts
		verdict string   // what comes after "Claim shop/data is "
		found   []string // "severity about", of all findings but information, in their order
		tells   []string // somewhere in the texts
		do      []string // somewhere in what to do
	}{
		"with nothing in the way it is the provisioner's turn": {
			facts:   situation(),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"Berth for driver pool.csi.example.com runs", "It is assigned to pool.csi.example.com"},
		},
		"a class that does not exist comes before the events that follow from it": {
			facts:   situation(classGone, told(event("Warning", "ProvisioningFailed", "storage class not found", time.Second, 3))),
			verdict: `Pending: storage class "fast" does not exist.`,
			found:   []string{"problem class"},
			do:      []string{`have "fast" created`},
		},
		"no class and no default class": {
			facts: situation(classGone, func(f *Facts) {
				f.Claim.Spec.StorageClassName = nil
				f.Classes = []storagev1.StorageClass{{ObjectMeta: metav1.ObjectMeta{Name: "slow"}}}
			}),
			verdict: "Pending: it names no storage class, and the cluster has no default class that it could have been given.",
			found:   []string{"problem class"},
			do:      []string{"spec.storageClassName (slow)"},
		},
		"the empty class provisions nothing": {
			facts:   situation(classGone, func(f *Facts) { f.Claim.Spec.StorageClassName = new("") }),
			verdict: `Pending: Its class is "": it is only bound to a volume that somebody makes by hand, and nothing is provisioned.`,
			found:   []string{"problem class"},
		},
		"a class of volumes made by hand": {
			facts:   situation(func(f *Facts) { f.Class.Value.Provisioner, f.Driver = noProvisioner, "" }),
			verdict: `Pending: Class "fast" provisions nothing (kubernetes.io/no-provisioner): its volumes are made by hand.`,
			found:   []string{"problem class"},
		},
		"a selector fits only volumes that exist": {
			facts:   situation(func(f *Facts) { f.Claim.Spec.Selector = &metav1.LabelSelector{} }),
			verdict: "Pending: It has a selector, so only a volume that exists already can be bound to it, and none is created.",
			found:   []string{"problem claim"},
		},
		"allowed topologies that nothing satisfies": {
			facts:   situation(allowedZones(), func(f *Facts) { f.Class.Value.AllowedTopologies[0].MatchLabelExpressions[0].Values = nil }),
			verdict: "Pending: Its allowedTopologies can never be satisfied: a term is empty, or a key has no values.",
			found:   []string{"problem class", "problem places"},
		},
		"no node is where the class allows volumes": {
			facts:   situation(allowedZones("x", "y")),
			verdict: "Pending: no node of its driver is in a place that its class allows (" + zoneKey + "=x, " + zoneKey + "=y).",
			found:   []string{"problem places"},
		},
		"of too many nodes to look at nothing is concluded": {
			facts:   situation(allowedZones("x"), func(f *Facts) { f.Nodes.Partial = true }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"registered on 3 of the first 3 nodes"},
		},
		"a driver that is nowhere holds up a claim that waits for a Pod": {
			facts:   situation(delayedBinding, unregistered, usedBy(pod())),
			verdict: "Pending: driver pool.csi.example.com is registered on no node.",
			found:   []string{"problem places", "waiting pod"},
		},
		"a driver that is nowhere may create a volume for Immediate binding": {
			facts:   situation(unregistered),
			verdict: "Pending: driver pool.csi.example.com is registered on no node.",
			found:   []string{"warning places"},
		},
		"a driver that is not on the first of many nodes": {
			facts:   situation(unregistered, func(f *Facts) { f.Nodes.Partial = true }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			found:   []string{"warning places"},
		},
		"a driver without a topology": {
			facts:   situation(func(f *Facts) { f.Nodes = seen([]NodeFacts{{Name: "n1", Registered: true}}) }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"1 node of 1, without a topology"},
		},

		"an attributes class that does not exist": {
			facts:   situation(attributes(Look[*storagev1.VolumeAttributesClass]{Sight: Absent})),
			verdict: `Pending: volume attributes class "gold" does not exist.`,
			found:   []string{"problem attributes"},
		},
		"an attributes class of another driver": {
			facts:   situation(attributes(seen(&storagev1.VolumeAttributesClass{DriverName: "other"}))),
			verdict: `Pending: Volume attributes class "gold" is of driver other, not of pool.csi.example.com.`,
			found:   []string{"problem attributes"},
		},
		"an attributes class as it should be": {
			facts:   situation(attributes(seen(&storagev1.VolumeAttributesClass{DriverName: testDriver}))),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{`Volume attributes class "gold" exists`},
		},
		"a bound claim is not held up by an attributes class that went": {
			facts:   situation(boundClaim, attributes(Look[*storagev1.VolumeAttributesClass]{Sight: Absent})),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			found:   []string{"warning attributes"},
		},

		"a snapshot that is all right": {
			facts:   situation(fromSnapshot()),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"It is to be made from VolumeSnapshot shop/nightly, with which all is in order"},
		},
		"a snapshot that does not exist": {
			facts:   situation(fromSnapshot(func(s *datasource.Facts) { s.Snapshot, s.Content = nil, nil })),
			verdict: "Pending: waiting for VolumeSnapshot shop/nightly: it does not exist.",
			found:   []string{"waiting data source"},
			do:      []string{"kubectl describe volumesnapshot -n shop nightly"},
		},
		"a snapshot of another driver": {
			facts:   situation(fromSnapshot(func(s *datasource.Facts) { s.Content.Spec.Driver = "other" })),
			verdict: `Pending: VolumeSnapshot shop/nightly (VolumeSnapshotContent "content") is of driver "other", the claim's class of driver "pool.csi.example.com": make the claim again with a class of the snapshot's driver.`,
			found:   []string{"problem data source"},
		},
		"a content that may not be read is not taken for one that is missing": {
			facts:   situation(fromSnapshot(func(s *datasource.Facts) { s.Content = nil }), func(f *Facts) { f.ContentHidden = true }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"its content could not be looked at"},
		},
		"a snapshot without a content is told even if contents may not be read": {
			facts:   situation(fromSnapshot(func(s *datasource.Facts) { s.Snapshot.Status, s.Content = nil, nil }), func(f *Facts) { f.ContentHidden = true }),
			verdict: "Pending: waiting for VolumeSnapshot shop/nightly to be bound to a VolumeSnapshotContent.",
			found:   []string{"waiting data source"},
		},
		"a source that could not be looked at": {
			facts:   situation(fromSnapshot(), func(f *Facts) { f.Source = Look[datasource.Facts]{Sight: Hidden} }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"It is to be made from VolumeSnapshot shop/nightly."},
		},
		"a reference that nobody could follow": {
			facts: situation(func(f *Facts) {
				f.Claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: new("wrong.example.com"), Kind: "VolumeSnapshot", Name: "nightly"}
			}),
			verdict: `Pending: the claim's data source VolumeSnapshot "nightly" is of API group "wrong.example.com": delete the claim and make it again with apiGroup "snapshot.storage.k8s.io".`,
			found:   []string{"problem data source"},
		},
		"a volume populator": {
			facts: situation(func(f *Facts) {
				f.Claim.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: new("example.com"), Kind: "Recipe", Name: "cake"}
			}),
			verdict: "Pending: A volume populator for Recipe.example.com shop/cake is expected to make its volume; no driver is asked for it.",
			found:   []string{"waiting data source"},
		},
		"a bound claim only says what it was made from": {
			facts:   situation(boundClaim, fromSnapshot(func(s *datasource.Facts) { s.Snapshot = nil })),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"It is made from VolumeSnapshot shop/nightly"},
		},

		"a class with a parameter that nobody knows is judged as the provisioner does": {
			facts:   situation(func(f *Facts) { f.Class.Value.Parameters = map[string]string{"csi.storage.k8s.io/fstpye": "xfs"} }),
			found:   []string{"problem request"},
			tells:   []string{"csi.storage.k8s.io/fstpye"},
			verdict: unchecked,
		},
		"a request that only the provisioner could refuse is not asked about before it is its turn": {
			facts: situation(delayedBinding, func(f *Facts) { f.Class.Value.Parameters = map[string]string{"csi.storage.k8s.io/fstpye": "xfs"} }),
			found: []string{"waiting pod"}, verdict: unchecked,
		},

		"the selected node": {
			facts:   situation(selected("n2", "b"), usedBy(pod(unschedulable("while it was not provisioned")))),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{`The scheduler selected node "n2", which is in ` + zoneKey + "=b", `Pod "web-0" waits for it`},
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
			verdict: unchecked, found: []string{"warning capacity"},
			tells: []string{"no node: nothing published", "everywhere: nothing published", zoneKey + ": nothing published"},
		},

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

		"a Lease that is not renewed": {
			facts:   situation(leases(lease("berth-1", time.Hour))),
			verdict: "Pending: nobody provisions for driver pool.csi.example.com at the moment (its Lease was last renewed 60m ago).",
			found:   []string{"problem berth"},
			do:      []string{"kubectl get pods -n storage"},
		},
		"a Lease that was given up": {
			facts:   situation(leases(lease("", time.Hour))),
			verdict: "Pending: nobody provisions for driver pool.csi.example.com at the moment (its Lease was given up).",
			found:   []string{"problem berth"},
		},
		"a Lease that is not renewed does not matter before it is the provisioner's turn": {
			facts:   situation(delayedBinding, leases(lease("berth-1", time.Hour))),
			verdict: "Pending: it waits for a Pod that uses it (WaitForFirstConsumer), and there is none.",
			found:   []string{"waiting pod", "warning berth"},
		},
		"a Lease that is not renewed does not matter to a bound claim": {
			facts:   situation(boundClaim, leases(lease("berth-1", time.Hour))),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"was last renewed 60m ago"},
		},
		"of two Leases one is left over": {
			facts:   situation(leases(lease("berth-1", time.Hour), lease("berth-2", time.Second))),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			found:   []string{"warning berth", "warning berth"},
		},
		"a Lease that says next to nothing": {
			facts:   situation(leases(coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}})),
			found:   []string{"problem berth"},
			verdict: unchecked,
		},
		"no Lease and no journal": {
			facts:   situation(leases(), func(f *Facts) { f.Journal.Value.Where = "" }),
			verdict: "Pending: nobody can be seen to provision for driver pool.csi.example.com.",
			found:   []string{"warning berth"},
		},
		"no Lease and a journal": {
			facts:   situation(leases()),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			found:   []string{"warning berth"},
			tells:   []string{"storage/pool-csi-example-com-journal"},
		},
		"a Lease without a journal may be another provisioner's": {
			facts:   situation(func(f *Facts) { f.Journal.Value.Where = "" }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"The provisioner of driver pool.csi.example.com runs"},
		},

		"a claim that was just made waits to be assigned": {
			facts: situation(func(f *Facts) {
				delete(f.Claim.Annotations, volumehelpers.AnnStorageProvisioner)
				f.Claim.CreationTimestamp = at(5 * time.Second)
			}),
			verdict: "Pending: it is about to be assigned to driver pool.csi.example.com.",
			found:   []string{"waiting assignment"},
		},
		"a claim that nobody assigns": {
			facts:   situation(func(f *Facts) { delete(f.Claim.Annotations, volumehelpers.AnnStorageProvisioner) }),
			verdict: "Pending: kube-controller-manager has not assigned it to driver pool.csi.example.com.",
			found:   []string{"problem assignment"},
		},
		"a claim that is assigned by the older annotation": {
			facts: situation(func(f *Facts) {
				f.Claim.Annotations = map[string]string{volumehelpers.AnnBetaStorageProvisioner: testDriver}
			}),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
		},
		"a claim that is assigned to another driver": {
			facts:   situation(func(f *Facts) { f.Claim.Annotations[volumehelpers.AnnStorageProvisioner] = "other" }),
			verdict: "Pending: it is assigned to other, and its class is of pool.csi.example.com now.",
			found:   []string{"problem assignment"},
		},
		"a claim of an in-tree class that was not told of the migration": {
			facts:   situation(inTree),
			found:   []string{"warning assignment"},
			tells:   []string{"in-tree driver kubernetes.io/example, which pool.csi.example.com took over"},
			verdict: unchecked,
		},
		"a claim of an in-tree class": {
			facts:   situation(inTree, func(f *Facts) { f.Claim.Annotations[provisioner.AnnotationMigratedTo] = testDriver }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
		},

		"an outcome that is not known": {
			facts:   situation(recorded(3 * time.Minute)),
			verdict: "Pending: driver pool.csi.example.com has been asked for its volume 3m ago and has not said how that ended.",
			found:   []string{"waiting journal"},
			do:      []string{"the driver's log for volume pvc-" + claimUID},
		},
		"an entry of a bound claim": {
			facts:   situation(boundClaim, recorded(time.Second)),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"leaves within a minute"},
		},
		"an entry of a claim that is being deleted": {
			facts:   situation(deleting, recorded(time.Second)),
			verdict: unchecked, found: []string{"waiting deletion"},
			tells: []string{"its outcome is found out, and then the volume is deleted"},
		},
		"a journal that cannot be read": {
			facts:   situation(func(f *Facts) { f.Journal.Value.Unread = 2 }),
			verdict: unchecked, found: []string{"warning journal"}, tells: []string{"2 entries of the journal cannot be read"},
		},

		"the last failure, and when it is tried again": {
			facts:   situation(told(event("Warning", "ProvisioningFailed", "ResourceExhausted: full", 2*time.Minute, 1))),
			verdict: "Pending: the last try failed: ResourceExhausted: full.",
			found:   []string{"problem events"},
			tells:   []string{"By 03:03:00 UTC, in 3m at the latest"},
		},
		"a failure after which a try is due": {
			facts:   situation(told(event("Warning", "ProvisioningFailed", "full", 7*time.Minute, 4))),
			verdict: "Pending: the last try failed, 4 times so far: full.",
			found:   []string{"problem events"},
			tells:   []string{"It is due"},
		},
		"a failure of long ago": {
			facts:   situation(told(event("Warning", "ProvisioningFailed", "full", 40*time.Minute, 4))),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"nothing since, so this may be over"},
		},
		"a failure of a claim that waits for its first Pod": {
			facts:   situation(delayedBinding, told(event("Warning", "ProvisioningFailed", "full", time.Second, 1))),
			verdict: "Pending: it waits for a Pod that uses it (WaitForFirstConsumer), and there is none.",
			found:   []string{"waiting pod"},
		},
		"a failure after which the scheduler chooses again": {
			facts:   situation(delayedBinding, usedBy(pod()), told(event("Warning", "ProvisioningFailed", "no room for the volume near node", time.Second, 1))),
			verdict: "Pending: the last try failed: no room for the volume near node.",
			found:   []string{"waiting pod", "problem events"},
		},
		"an event of the newer kind": {
			facts: situation(told(corev1.Event{
				InvolvedObject: corev1.ObjectReference{UID: claimUID}, Type: "Warning", Reason: "ProvisioningFailed", Message: "a\nb\x1b[31mc",
				EventTime: metav1.MicroTime{Time: before(time.Hour)}, ReportingController: "someone",
				Series: &corev1.EventSeries{Count: 9, LastObservedTime: metav1.MicroTime{Time: before(time.Second)}},
			})),
			verdict: "Pending: the last try failed, 9 times so far: a b [31mc.",
			found:   []string{"problem events"},
			tells:   []string{"9 times, last 1s ago, by someone: a b [31mc"},
		},

		"a volume that waits to be bound": {
			facts:   situation(unbound(10 * time.Second)),
			verdict: "Pending: its volume pvc-" + claimUID + " exists, and kube-controller-manager is about to bind the two.",
			found:   []string{"waiting volume"},
		},
		"a volume that nobody binds": {
			facts:   situation(unbound(10 * time.Minute)),
			verdict: "Pending: its volume pvc-" + claimUID + " exists, and kube-controller-manager has not bound the two.",
			found:   []string{"problem volume"},
		},
		"a volume that does not exist": {
			facts:   situation(func(f *Facts) { f.Claim.Spec.VolumeName = "by-hand" }),
			verdict: `Pending: it asks for PersistentVolume "by-hand", which does not exist.`,
			found:   []string{"problem volume"},
		},
		"a volume that was lost": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Claim.Status.Phase, f.Volume = corev1.ClaimLost, Look[*corev1.PersistentVolume]{Sight: Absent}
			}),
			verdict: `Lost: PersistentVolume "pvc-` + claimUID + `", which it was bound to, was deleted.`,
			found:   []string{"problem volume"},
		},
		"a volume that may not be read": {
			facts:   situation(boundClaim, func(f *Facts) { f.Volume = Look[*corev1.PersistentVolume]{Sight: Hidden} }),
			verdict: "Bound: its volume is pvc-" + claimUID + ".",
		},
		"a volume of another claim": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Claim.Status.Phase = corev1.ClaimPending
				f.Volume.Value.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "other", Name: "logs"}
			}),
			verdict: `Pending: PersistentVolume "pvc-` + claimUID + `" is for claim other/logs.`,
			found:   []string{"problem volume"},
		},
		"a volume of an earlier claim": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Claim.Status.Phase = corev1.ClaimLost
				f.Volume.Value.Spec.ClaimRef.UID = "another"
			}),
			verdict: `Lost: PersistentVolume "pvc-` + claimUID + `" is for an earlier claim of the same name.`,
			found:   []string{"problem volume"},
		},
		"a volume of several places, made by hand": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Volume.Value.Spec.CSI = nil
				f.Volume.Value.Spec.NodeAffinity.Required.NodeSelectorTerms = []corev1.NodeSelectorTerm{
					{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"a", "b"}}}},
					{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "fast", Operator: corev1.NodeSelectorOpExists}}},
				}
			}),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in disk In a|b, fast Exists.",
		},
		"a bound claim whose class is gone": {
			facts:   situation(classGone, boundClaim),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"which does not exist any more"},
		},
		"a bound claim without a class": {
			facts:   situation(classGone, boundClaim, func(f *Facts) { f.Claim.Spec.StorageClassName = nil }),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"It names no storage class"},
		},
		"a bound claim of volumes made by hand": {
			facts:   situation(boundClaim, func(f *Facts) { f.Class.Value.Provisioner, f.Driver = noProvisioner, "" }),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
		},
		"a bound claim that is being changed": {
			facts: situation(boundClaim, func(f *Facts) {
				f.Claim.Status.Conditions = []corev1.PersistentVolumeClaimCondition{
					{Type: corev1.PersistentVolumeClaimResizing, Status: corev1.ConditionTrue, Message: "still at it"},
					{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionFalse},
				}
				f.Claim.Status.ModifyVolumeStatus = &corev1.ModifyVolumeStatus{
					TargetVolumeAttributesClassName: "gold", Status: corev1.PersistentVolumeClaimModifyVolumeInfeasible,
				}
			}),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			found:   []string{"warning condition"},
			tells:   []string{"Resizing: still at it."},
		},

		"a claim that is deleted and used": {
			facts:   situation(boundClaim, deleting, usedBy(pod())),
			verdict: "Bound: Pod web-0 still uses it.",
			found:   []string{"problem deletion"},
		},
		"a claim that is deleted and not used": {
			facts:   situation(boundClaim, deleting, usedBy()),
			verdict: "Bound: it waits for finalizer kubernetes.io/pvc-protection to come off.",
			found:   []string{"waiting deletion"},
			tells:   []string{"No Pod that was found uses it"},
		},
		"a claim that is deleted while its Pods cannot be looked at": {
			facts:   situation(boundClaim, deleting),
			verdict: "Bound: it waits for finalizer kubernetes.io/pvc-protection to come off.",
			found:   []string{"waiting deletion"},
		},
		"a claim that is deleted while it is cloned": {
			facts:   situation(boundClaim, deleting, func(f *Facts) { f.Claim.Finalizers = []string{datasource.FinalizerClaim} }),
			verdict: "Bound: another claim is being cloned from it.",
			found:   []string{"waiting deletion"},
		},
		"a claim that somebody else holds": {
			facts:   situation(boundClaim, deleting, func(f *Facts) { f.Claim.Finalizers = []string{"example.com/backup"} }),
			verdict: "Bound: finalizer example.com/backup holds it.",
			found:   []string{"problem deletion"},
		},
		"a claim that nothing holds any more": {
			facts: situation(boundClaim, deleting, func(f *Facts) {
				f.Claim.Finalizers = nil
				f.Volume = Look[*corev1.PersistentVolume]{Sight: Absent}
			}),
			verdict: "Bound: it is being deleted.",
			tells:   []string{"does not exist any more"},
		},
		"a volume that is deleted, and held": {
			facts: situation(boundClaim, deleting, usedBy(), func(f *Facts) {
				since := at(time.Minute)
				f.Volume.Value.DeletionTimestamp = &since
				f.Volume.Value.Finalizers = []string{finalizerVolume, provisioner.FinalizerVolume, "external-attacher/pool", "example.com/x"}
				f.Attachments = seen([]storagev1.VolumeAttachment{attachment("n2"), attachment("n1"), {}})
				f.Attachments.Partial = true
				f.VolumeEvents = seen([]corev1.Event{
					event("Normal", "Something", "else", time.Second, 1),
					event("Normal", "VolumeStillAttached", "the volume is deleted as soon as it is detached from n1", 2*time.Second, 1),
				})
			}),
			verdict: unchecked,
			found:   []string{"waiting deletion", "warning deletion", "unknown not seen", "warning deletion"},
			tells: []string{"until the claim is gone", "until the driver has deleted the volume", "until the volume is detached", "somebody else's",
				"attached to n1, n2", "VolumeStillAttached"},
		},

		"what could not be seen is named": {
			facts: situation(func(f *Facts) {
				f.Unseen = []Unseen{{What: "the Nodes", Why: "x", Forbidden: true}, {What: "the Pods", Why: "the server\nis gone"}}
			}),
			verdict: unchecked, found: []string{"unknown not seen", "unknown not seen"},
			tells: []string{"Could not look at the Nodes (permission).", "Could not look at the Pods (the server is gone)."},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			untouched := tt.facts.Claim.DeepCopy()
			findings := Diagnose(tt.facts)
			if diff := cmp.Diff(untouched, tt.facts.Claim); diff != "" {
				t.Errorf("the claim was changed:\n%s", diff)
			}
			var found []string
			var texts, steps strings.Builder
			for _, finding := range findings[1:] {
				fmt.Fprintln(&texts, finding.Text)
				if finding.Severity != Info {
					found = append(found, string(finding.Severity)+" "+finding.About)
				}
				if finding.Severity == Problem && finding.Do == "" {
					t.Errorf("nobody is told what to do about %q", finding.Text)
				}
			}
			fmt.Fprintln(&steps, strings.Join(advice(findings), "\n"))
			if want := "Claim shop/data is " + tt.verdict; tt.verdict != unchecked && findings[0].Text != want {
				t.Errorf("verdict:\n got %s\nwant %s", findings[0].Text, want)
			}
			if diff := cmp.Diff(tt.found, found); diff != "" {
				t.Errorf("findings (-want +got):\n%s\n%s", diff, texts.String())
			}
			for _, want := range tt.tells {
				if !strings.Contains(texts.String(), want) {
					t.Errorf("nothing tells %q:\n%s", want, texts.String())
				}
			}
			for _, want := range tt.do {
				if !strings.Contains(steps.String(), want) {
					t.Errorf("what to do lacks %q:\n%s", want, steps.String())
				}
			}
		})
	}
}

// unchecked: the verdict is one that other cases show.
const unchecked = ""

func unregistered(f *Facts) { f.Nodes = seen([]NodeFacts{{Name: "n1"}}) }

func leases(leases ...coordinationv1.Lease) func(*Facts) {
	return func(f *Facts) { f.Leases = seen(leases) }
}

func attributes(class Look[*storagev1.VolumeAttributesClass]) func(*Facts) {
	return func(f *Facts) {
		f.Claim.Spec.VolumeAttributesClassName = new("gold")
		f.AttributesClass = class
	}
}

func inTree(f *Facts) {
	f.InTree, f.Class.Value.Provisioner = "kubernetes.io/example", "kubernetes.io/example"
	f.Claim.Annotations[volumehelpers.AnnStorageProvisioner] = f.InTree
}

// unbound: the volume's object was written, and the claim does not say so yet.
func unbound(since time.Duration) func(*Facts) {
	return func(f *Facts) {
		f.Volume = seen(volume())
		f.Volume.Value.CreationTimestamp = at(since)
		f.Volume.Value.Status = corev1.PersistentVolumeStatus{}
	}
}

func manyRooms(n int) []storagev1.CSIStorageCapacity {
	var rooms []storagev1.CSIStorageCapacity
	for i := range n {
		rooms = append(rooms, roomIn(fmt.Sprintf("z%02d", i), "20Gi", ""))
	}
	return rooms
}

func TestDiagnoseOfAClaimThatIsNotThere(t *testing.T) {
	tests := map[string]struct {
		missing Missing
		verdict string
		tells   []string
		do      string
	}{
		"a name like another": {
			Missing{Namespace: seen(&metav1.PartialObjectMetadata{}), Others: seen([]string{"date", "logs", "data-web-0"})},
			"Claim shop/data does not exist.", []string{`Namespace "shop" has data-web-0, date.`}, "If you meant data-web-0, ask for that.",
		},
		"a claim of another namespace": {
			Missing{Namespace: seen(&metav1.PartialObjectMetadata{}), Others: seen([]string{"logs"}), Elsewhere: seen([]string{"prod"})},
			"Claim shop/data does not exist.",
			[]string{`Namespace "shop" has 1 claim, none of a similar name.`, `A claim "data" exists in namespace prod.`}, `If you meant the one in namespace "prod", ask for prod/data.`,
		},
		"a namespace that does not exist": {
			Missing{Namespace: Look[*metav1.PartialObjectMetadata]{Sight: Absent}, Others: seen([]string{})},
			`Claim shop/data does not exist: there is no namespace "shop".`, nil, "kubectl get pvc -A",
		},
		"a namespace with too many claims to look at": {
			Missing{Others: Look[[]string]{Sight: Seen, Value: []string{"a", "b"}, Partial: true}},
			"Claim shop/data does not exist.", []string{`None of the first 2 claims of namespace "shop" has a similar name.`}, "kubectl get pvc -A",
		},
		"nothing may be listed": {
			Missing{Namespace: Look[*metav1.PartialObjectMetadata]{Sight: Hidden}, Others: Look[[]string]{Sight: Hidden}},
			"Claim shop/data does not exist.", nil, "kubectl get pvc -A",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			findings := Diagnose(Facts{Now: three, Namespace: "shop", Name: "data", Missing: tt.missing})
			if findings[0].Text != tt.verdict || findings[0].Severity != Problem || findings[0].About != aboutVerdict {
				t.Errorf("verdict is %+v, want %q", findings[0], tt.verdict)
			}
			var texts []string
			for _, finding := range findings[1:] {
				texts = append(texts, finding.Text)
			}
			if !slices.Equal(texts, tt.tells) {
				t.Errorf("it tells %q, want %q", texts, tt.tells)
			}
			if !strings.Contains(findings[0].Do, tt.do) {
				t.Errorf("what to do is %q, want %q", findings[0].Do, tt.do)
			}
		})
	}
}

// TestDiagnoseIsTotal gives it facts with as little in them as can be: whatever is missing, there is an answer.
func TestDiagnoseIsTotal(t *testing.T) {
	objects := []*corev1.PersistentVolumeClaim{
		{}, {Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("x"), VolumeName: "y"}},
		{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}, Finalizers: []string{finalizerInUse, ""}}},
		{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{volumehelpers.AnnSelectedNode: "n"}}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("x")}},
		{Spec: corev1.PersistentVolumeClaimSpec{DataSource: &corev1.TypedLocalObjectReference{Kind: "VolumeSnapshot", APIGroup: new(snapshotv1.GroupName), Name: "s"}}},
	}
	for i, claim := range objects {
		for _, sight := range []Sight{NotLooked, Seen, Absent, Hidden} {
			facts := Facts{
				Claim: claim, Driver: "d", Journal: Look[JournalFacts]{Sight: sight}, Leases: Look[[]coordinationv1.Lease]{Sight: sight},
				Nodes: Look[[]NodeFacts]{Sight: sight}, Rooms: Look[[]storagev1.CSIStorageCapacity]{Sight: sight}, Pods: Look[[]corev1.Pod]{Sight: sight},
				Events: Look[[]corev1.Event]{Sight: sight}, Source: Look[datasource.Facts]{Sight: sight}, Node: Look[map[string]string]{Sight: sight},
				Class: Look[*storagev1.StorageClass]{Sight: sight}, CSINode: Look[*storagev1.CSINode]{Sight: sight}, Volume: Look[*corev1.PersistentVolume]{Sight: sight},
			}
			if sight == Seen {
				facts.Class.Value, facts.CSINode.Value, facts.Volume.Value = &storagev1.StorageClass{}, &storagev1.CSINode{}, &corev1.PersistentVolume{}
			}
			if findings := Diagnose(facts); len(findings) == 0 || findings[0].About != aboutVerdict || findings[0].Text == "" {
				t.Errorf("claim %d, sight %d: there is no verdict in %+v", i, sight, findings)
			}
		}
	}
}
