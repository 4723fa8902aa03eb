package main

import (
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// lesserDriver can neither clone nor restore nor modify.
func lesserDriver() driverSpec {
	driver := pool()
	driver.without = []string{"CLONE_VOLUME", "CREATE_DELETE_SNAPSHOT", "LIST_SNAPSHOTS", "GET_SNAPSHOT", "MODIFY_VOLUME"}
	return driver
}

func lesserDriverCases() []testCase {
	return []testCase{
		{name: "volume"},
		{name: "clone", with: []ingredient{source()}, claim: claimOf(harness.FromClaim("source")), expect: refused},
		{name: "restore", claim: claimOf(harness.FromSnapshot("snap")), expect: refused},
		{
			name: "attributes", claim: withAttributes("gold"), expect: refused,
			with: []ingredient{attributes("gold", "", map[string]string{"iops": "3000"})},
		},
	}
}

// Drivers that took over for code which was once inside Kubernetes. Claims of a class of the old name are theirs, and the
// volumes are written in the old form.
const (
	ebsDriver     = "ebs.csi.aws.com"
	ebsZoneKey    = "topology.ebs.csi.aws.com/zone"
	gceDriver     = "pd.csi.storage.gke.io"
	gceZoneKey    = "topology.gke.io/zone"
	cinderDriver  = "cinder.csi.openstack.org"
	cinderZoneKey = "topology.cinder.csi.openstack.org/zone"

	// The zone's label in a class of an in-tree driver.
	inTreeZoneKey    = "topology.kubernetes.io/zone"
	oldInTreeZoneKey = "failure-domain.beta.kubernetes.io/zone"
)

// inTree makes a class one of an in-tree driver.
func inTree(provisioner string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) { class.Provisioner = provisioner }
}

func ebsCases() []testCase {
	ebs := inTree("kubernetes.io/aws-ebs")
	return []testCase{
		{name: "class of the CSI driver", class: classOf(parameters("type", "gp3"))},
		{name: "in-tree class", class: classOf(ebs)},
		{name: "in-tree class, parameters", class: classOf(ebs, parameters("type", "io1", "iopsPerGB", "10", "encrypted", "true", "fsType", "xfs"))},
		{name: "in-tree class, zone", class: classOf(ebs, parameters("type", "gp3", "zone", "us-east-1b"))},
		{name: "in-tree class, zones", class: classOf(ebs, parameters("zones", "us-east-1a,us-east-1b"))},
		{name: "in-tree class, allowed topologies", class: classOf(ebs, allowed(inTreeZoneKey, "us-east-1b"))},
		{name: "in-tree class, allowed topologies by the old label", class: classOf(ebs, allowed(oldInTreeZoneKey, "us-east-1a"))},
		{name: "in-tree class, Retain", class: classOf(ebs, harness.Retain)},
		{name: "in-tree class, delayed", class: classOf(ebs, harness.WaitForFirstConsumer), podOn: "us-east-1b"},
		{name: "in-tree class, block", class: classOf(ebs), claim: claimOf(harness.Block)},
		{
			name: "in-tree class, secret", with: []ingredient{secret("credentials", "user")},
			class: classOf(ebs, secretPair("provisioner", "credentials", thisNamespace)),
		},
		{name: "in-tree class, clone", class: classOf(ebs), with: []ingredient{source()}, claim: claimOf(harness.FromClaim("source")), expect: refused},
	}
}

// gceCases: a volume whose handle is not one of a disk cannot be written in the old form, which the test driver's never are.
func gceCases() []testCase {
	gce := inTree("kubernetes.io/gce-pd")
	return []testCase{
		{name: "class of the CSI driver", class: classOf(parameters("type", "pd-ssd"))},
		{name: "in-tree class", class: classOf(gce, parameters("type", "pd-ssd", "fstype", "ext4", "zone", "us-central1-a")), expect: failed},
		{name: "in-tree class, zones", class: classOf(gce, parameters("zones", "us-central1-a,us-central1-b")), expect: failed},
	}
}

func cinderCases() []testCase {
	cinder := inTree("kubernetes.io/cinder")
	return []testCase{
		{name: "in-tree class", class: classOf(cinder, parameters("type", "fast"))},
		{name: "in-tree class, availability", class: classOf(cinder, parameters("availability", "nova", "fsType", "xfs"))},
		{name: "in-tree class, allowed topologies", class: classOf(cinder, allowed(inTreeZoneKey, "nova"))},
	}
}
