package explain

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/datasource"
)

func TestDiagnoseClassAndWhereItAllows(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
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
	})
}

func TestDiagnoseAttributesClass(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
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
	})
}

func TestDiagnoseSource(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
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
	})
}

func TestDiagnoseRequest(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"a class with a parameter that nobody knows is judged as the provisioner does": {
			facts: situation(func(f *Facts) { f.Class.Value.Parameters = map[string]string{"csi.storage.k8s.io/fstpye": "xfs"} }),
			found: []string{"problem request"},
			tells: []string{"csi.storage.k8s.io/fstpye"},
		},
		"a request that only the provisioner could refuse is not asked about before it is its turn": {
			facts: situation(delayedBinding, func(f *Facts) { f.Class.Value.Parameters = map[string]string{"csi.storage.k8s.io/fstpye": "xfs"} }),
			found: []string{"waiting pod"},
		},
	})
}
