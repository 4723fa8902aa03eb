package main

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

const fsTypeKey = "csi.storage.k8s.io/fstype"

// accessModeCases are those of access modes alone, for drivers that tell one writer from several and for those that do not.
func accessModeCases() []testCase {
	return []testCase{
		{name: "ReadWriteOnce"},
		{name: "ReadWriteOncePod", claim: claimOf(modes(corev1.ReadWriteOncePod))},
		{name: "ReadWriteMany", claim: claimOf(modes(corev1.ReadWriteMany))},
		{name: "ReadOnlyMany", claim: claimOf(modes(corev1.ReadOnlyMany))},
		{name: "three access modes", claim: claimOf(modes(corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany))},
		{name: "an access mode twice", claim: claimOf(modes(corev1.ReadWriteOnce, corev1.ReadWriteOnce))},
	}
}

// oneWriter does not have SINGLE_NODE_MULTI_WRITER, and so not the access modes that came with it.
func oneWriter() driverSpec {
	driver := pool()
	driver.without = []string{"SINGLE_NODE_MULTI_WRITER"}
	driver.accessModes = []string{"SINGLE_NODE_WRITER", "MULTI_NODE_READER_ONLY", "MULTI_NODE_MULTI_WRITER"}
	return driver
}

func volumeCases() []testCase {
	return append(accessModeCases(), []testCase{
		{name: "block", claim: claimOf(harness.Block)},
		{name: "block, ReadWriteMany", claim: claimOf(harness.Block, modes(corev1.ReadWriteMany))},
		{
			name: "block, with a file system and mount options in the class", claim: claimOf(harness.Block),
			class: classOf(parameters(fsTypeKey, "xfs"), mountOptions("noatime")),
		},
		{name: "size in decimal", claim: claimOf(harness.Size("1500M"))},
		{name: "size with a fraction", claim: claimOf(harness.Size("1.5Gi"))},
		{name: "size of an odd number of bytes", claim: claimOf(harness.Size("1073741825"))},
		{name: "size with a fraction of a byte", claim: claimOf(harness.Size("1073741824500m"))},
		{name: "more than the driver has", claim: claimOf(harness.Size("2Ti")), expect: failed},
		{
			name: "limit on the size", claim: claimOf(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.Resources.Limits = claim.Spec.Resources.Requests.DeepCopy()
			}),
		},
		{
			name: "selector", expect: refused, claim: claimOf(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.Selector = selectorOf("tier", "gold")
			}),
		},
		{
			name: "labels and annotations of the claim", claim: claimOf(annotated("example.com/team", "blue"), func(claim *corev1.PersistentVolumeClaim) {
				claim.Labels = map[string]string{"app": "db"}
			}),
		},
	}...)
}

func fileSystemCases() []testCase {
	return []testCase{
		{name: "file system", class: classOf(parameters(fsTypeKey, "xfs"))},
		{name: "file system, old key", class: classOf(parameters("fstype", "xfs"))},
		{name: "file system, old key in other letters", class: classOf(parameters("FsType", "xfs"))},
		{name: "file system twice", class: classOf(parameters(fsTypeKey, "xfs", "fstype", "ext4")), expect: refused},
		{name: "file system twice, old keys", class: classOf(parameters("fsType", "xfs", "fstype", "xfs")), expect: refused},
		{name: "empty file system", class: classOf(parameters(fsTypeKey, ""))},
		{name: "mount options", class: classOf(mountOptions("noatime", "nodiratime"))},
		{name: "mount options and file system", class: classOf(mountOptions("discard"), parameters(fsTypeKey, "btrfs"))},
	}
}

func classCases() []testCase {
	return []testCase{
		{name: "parameters", class: classOf(parameters("tier", "gold", "iops", "3000", "empty", ""))},
		{name: "parameters that look reserved", class: classOf(parameters(
			"storage.k8s.io/fstype", "a", "csi.storage.k8s.io.example/fstype", "b", "csi.storage.k8s.io", "c"))},
		{name: "reserved parameter that nobody knows", class: classOf(parameters("csi.storage.k8s.io/unknown", "x")), expect: refused},
		{name: "reserved parameter of the driver's", class: classOf(parameters("csi.storage.k8s.io/pvc/name", "x")), expect: refused},
		{name: "Retain", class: classOf(harness.Retain)},
		{name: "no reclaim policy", class: classOf(func(class *storagev1.StorageClass) { class.ReclaimPolicy = nil })},
		{name: "no binding mode", class: classOf(func(class *storagev1.StorageClass) { class.VolumeBindingMode = nil })},
		{name: "expansion allowed", class: classOf(func(class *storagev1.StorageClass) { class.AllowVolumeExpansion = new(true) })},
		{name: "class in the old annotation", claim: claimOf(
			annotated("volume.beta.kubernetes.io/storage-class", thisClass),
			func(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = nil },
		)},
		{name: "class that does not exist", withoutClass: true, expect: quiet},
		{
			name: "class that does not exist, claim assigned", withoutClass: true, expect: quiet,
			claim: claimOf(annotated("volume.kubernetes.io/storage-provisioner", poolDriver)),
		},
		{
			name:  "claim assigned by the old annotation",
			claim: claimOf(annotated("volume.beta.kubernetes.io/storage-provisioner", poolDriver)),
		},
		{
			name: "class of another driver", expect: quiet,
			class: classOf(func(class *storagev1.StorageClass) { class.Provisioner = "other.csi.example.com" }),
		},
		{name: "class deleted before the volume", then: []ingredient{withoutClass}},
	}
}

func volumeFlagCases() []testCase {
	return []testCase{
		{name: "file system by default"},
		{name: "file system of the class", class: classOf(parameters(fsTypeKey, "xfs"))},
		{name: "file system of the class, old key", class: classOf(parameters("fstype", "xfs"))},
		{name: "empty file system of the class", class: classOf(parameters(fsTypeKey, ""))},
		{name: "block", claim: claimOf(harness.Block)},
		{name: "ReadOnlyMany", claim: claimOf(modes(corev1.ReadOnlyMany))},
		{name: "ReadOnlyMany, block", claim: claimOf(modes(corev1.ReadOnlyMany), harness.Block)},
		{name: "ReadOnlyMany and ReadWriteMany", claim: claimOf(modes(corev1.ReadOnlyMany, corev1.ReadWriteMany))},
		{name: "metadata beside parameters", class: classOf(parameters("tier", "gold"))},
		{
			name: "names in templates", with: []ingredient{secret("data", "key")},
			class: classOf(secretPair("provisioner", "${pvc.name}", "${pvc.namespace}"), secretPair("node-stage", "${pv.name}", "${pv.name}")),
		},
	}
}

func shortNameCases() []testCase {
	return []testCase{
		{name: "volume"},
		{name: "names in templates", class: classOf(secretPair("node-publish", "for-${pv.name}", thisNamespace))},
		{name: "Retain", class: classOf(harness.Retain)},
	}
}
