package main

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// The driver of most groups, its topology key, and its zones.
const (
	poolDriver = harness.DefaultDriverName
	zoneKey    = "topology.pool.csi.berth.dev/zone"
	rackKey    = "topology.pool.csi.berth.dev/rack"
)

// pool is the driver of most groups.
func pool() driverSpec { return inZones(poolDriver, zoneKey, "zone-a", "zone-b", "zone-c") }

// allGroups are all cases, in the order in which they are played.
func allGroups() []group {
	return []group{
		{name: "default flags", driver: pool(), cases: slices.Concat(
			volumeCases(), fileSystemCases(), classCases(), secretCases(), secretTemplateCases(), attributeCases(),
			restoreCases(), cloneCases(), otherSourceCases(), zoneCases(), faultCases(),
		)},
		{name: "volume flags", driver: pool(), cases: volumeFlagCases(), flags: []string{
			"--default-fstype=ext4", "--extra-create-metadata", "--controller-publish-readonly", "--volume-name-prefix=vol",
		}},
		{name: "short names", driver: pool(), cases: shortNameCases(), flags: []string{
			"--volume-name-prefix=kubernetes-dynamic", "--volume-name-uuid-length=12", "--extra-create-metadata",
		}},
		{name: "one writer", driver: oneWriter(), cases: accessModeCases()},
		{name: "lesser driver", driver: lesserDriver(), cases: lesserDriverCases()},
		{name: "no topology", driver: flatDriver(), cases: flatCases()},
		{name: "strict topology", driver: pool(), cases: strictCases(), flags: []string{"--strict-topology"}},
		{name: "no immediate topology", driver: pool(), cases: notImmediateCases(), flags: []string{"--immediate-topology=false"}},
		{name: "two keys", driver: twoKeys(), cases: twoKeyCases()},
		{name: "different keys", driver: differentKeys(), cases: differentKeyCases()},
		{name: "other namespaces", driver: pool(), cases: crossNamespaceCases(), flags: []string{
			"--feature-gates=CrossNamespaceVolumeDataSource=true",
		}},
		{name: "mode conversion", driver: pool(), cases: conversionCases(), flags: []string{"--prevent-volume-mode-conversion=false"}},
		{name: "ebs", driver: inZones(ebsDriver, ebsZoneKey, "us-east-1a", "us-east-1b"), cases: ebsCases()},
		{name: "gce-pd", driver: inZones(gceDriver, gceZoneKey, "us-central1-a", "us-central1-b"), cases: gceCases()},
		{name: "cinder", driver: inZones(cinderDriver, cinderZoneKey, "nova", "spare"), cases: cinderCases()},
		{name: "answer without a volume", driver: pool(), cases: nilVolumeCases()},
	}
}

// The shorthands below make a case a line or two.

func classOf(edits ...func(*storagev1.StorageClass)) []func(*storagev1.StorageClass) { return edits }

func claimOf(edits ...func(*corev1.PersistentVolumeClaim)) []func(*corev1.PersistentVolumeClaim) {
	return edits
}

// parameters are a class's, from pairs.
func parameters(pairs ...string) func(*storagev1.StorageClass) {
	all := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		all[pair[0]] = pair[1]
	}
	return harness.Parameters(all)
}

func modes(modes ...corev1.PersistentVolumeAccessMode) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.AccessModes = modes }
}

func mountOptions(options ...string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) { class.MountOptions = options }
}

// annotated gives a claim annotations, from pairs.
func annotated(pairs ...string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) {
		if claim.Annotations == nil {
			claim.Annotations = map[string]string{}
		}
		for pair := range slices.Chunk(pairs, 2) {
			claim.Annotations[pair[0]] = pair[1]
		}
	}
}

// allowed is a term of a class's allowed topologies with one key.
func allowed(key string, values ...string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		class.AllowedTopologies = append(class.AllowedTopologies, corev1.TopologySelectorTerm{
			MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: key, Values: values}},
		})
	}
}

// and adds a key to the last term of a class's allowed topologies.
func and(key string, values ...string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		last := &class.AllowedTopologies[len(class.AllowedTopologies)-1]
		last.MatchLabelExpressions = append(last.MatchLabelExpressions, corev1.TopologySelectorLabelRequirement{Key: key, Values: values})
	}
}
