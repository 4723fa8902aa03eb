package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/e2e/harness"
)

// memoryNamespace has the claims that are only there.
const memoryNamespace = "stock"

// otherDriver has half of the claims.
const otherDriver = "other.csi.berth.dev"

// withoutBinder are controllers that leave the bound claims as they are made, so that they need not be bound one by one.
const withoutBinder = "namespace-controller"

// memoryRest is how long the replicas are left alone before their memory is looked at: Go's runtime collects every two minutes if nothing else
// has it do so, and gives memory back to the system in the background.
const memoryRest = 150 * time.Second

// runMemory fills the cluster with nodes, and with claims that have their volumes, half of them another driver's; starts two replicas
// anew, as after an upgrade; has the leader make one volume; and looks at what both hold in memory when they rest.
func runMemory(ctx context.Context, e *environment, o Options) ([]reading, error) {
	if _, err := e.process.Stop(ctx); err != nil {
		return nil, err
	}
	if err := fill(ctx, e, o); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := e.replicas[0].Start(ctx); err != nil {
		return nil, err
	}
	// One volume says that the caches are filled, whoever it is.
	if err := makeVolumes(ctx, e, []string{"first"}); err != nil {
		return nil, err
	}
	started := time.Since(began)
	if err := addStandby(ctx, e); err != nil {
		return nil, err
	}
	sleep(ctx, o.MemoryRest)
	readings := []reading{{"start_seconds", unitSeconds, started.Seconds()}}
	for i, replica := range e.replicas {
		usage, err := replica.Usage()
		if err != nil {
			return nil, err
		}
		prefix := [...]string{"", "standby_"}[i]
		readings = append(readings,
			reading{prefix + "rss_bytes", unitBytes, float64(usage.RSS)},
			reading{prefix + "anonymous_bytes", unitBytes, float64(usage.AnonRSS)},
			reading{prefix + "peak_rss_bytes", unitBytes, float64(usage.PeakRSS)})
	}
	// That nobody has lost sight of anything: the leader still provisions.
	return readings, makeVolumes(ctx, e, []string{"last"})
}

// makeVolumes creates claims and waits for their PVs; nobody binds them here.
func makeVolumes(ctx context.Context, e *environment, names []string) error {
	if err := createAnnotatedClaims(ctx, e, names); err != nil {
		return err
	}
	return e.await(ctx,
		func() bool {
			pvs, _, _ := e.tracker.counts(names)
			return pvs == len(names)
		},
		func() string { return fmt.Sprintf("not all of %v have a PV", names) })
}

func createAnnotatedClaims(ctx context.Context, e *environment, names []string) error {
	return inParallel(ctx, names, func(ctx context.Context, name string) error {
		claim := harness.Claim(benchNamespace, name, classImmediate, harness.Annotation(volumehelpers.AnnStorageProvisioner, e.driver.Name))
		if _, err := e.client.CoreV1().PersistentVolumeClaims(benchNamespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create claim %s: %w", name, err)
		}
		return nil
	})
}

// warmMemory makes one volume, before there is anything else.
func warmMemory(ctx context.Context, e *environment) error {
	return makeVolumes(ctx, e, []string{"warm"})
}

// fill makes the nodes, and the claims with their volumes.
func fill(ctx context.Context, e *environment, o Options) error {
	began := time.Now()
	if err := harness.CreateNamespace(ctx, e.client, memoryNamespace); err != nil {
		return err
	}
	err := inParallel(ctx, numbered("node", o.MemoryNodes), func(ctx context.Context, name string) error {
		zone := zones[int(name[len(name)-1])%len(zones)]
		return harness.CreateNode(ctx, e.client, harness.NodeSpec{
			Name: name, Driver: e.driver.Name, MaxVolumes: 64,
			Labels: map[string]string{
				harness.ZoneKey(e.driver.Name): zone, "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "region",
				"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": "large",
			},
		})
	})
	if err != nil {
		return err
	}
	err = inParallel(ctx, numbered("data", o.MemoryClaims), func(ctx context.Context, name string) error {
		driver, class := e.driver.Name, classDelayed
		if name[len(name)-1]%2 == 1 {
			driver, class = otherDriver, "other"
		}
		return createBound(ctx, e, boundClaim{name: name, driver: driver, class: class})
	})
	fmt.Fprintf(e.progress, "  %s and %s made in %s\n", plural(o.MemoryNodes, "node"), plural(o.MemoryClaims, "bound claim"), time.Since(began).Round(time.Second))
	return err
}

func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%05d", prefix, i)
	}
	return names
}

// boundClaim is a claim that has had its volume for long.
type boundClaim struct{ name, driver, class string }

// createBound makes a claim and its volume as the provisioner and the binder leave them.
func createBound(ctx context.Context, e *environment, b boundClaim) error {
	claims, volumes := e.client.CoreV1().PersistentVolumeClaims(memoryNamespace), e.client.CoreV1().PersistentVolumes()
	claim := harness.Claim(memoryNamespace, b.name, b.class)
	claim.Labels = map[string]string{"app.kubernetes.io/name": "database", "app.kubernetes.io/instance": b.name}
	claim.Annotations = map[string]string{
		"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
		volumehelpers.AnnBetaStorageProvisioner: b.driver, volumehelpers.AnnStorageProvisioner: b.driver,
		volumehelpers.AnnSelectedNode: "node-00000",
	}
	claim, err := claims.Create(ctx, claim, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create claim %s: %w", b.name, err)
	}
	volume := boundVolume(claim, b)
	if volume, err = volumes.Create(ctx, volume, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the volume of claim %s: %w", b.name, err)
	}
	volume.Status.Phase = corev1.VolumeBound
	if _, err := volumes.UpdateStatus(ctx, volume, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("have the volume of claim %s Bound: %w", b.name, err)
	}
	claim.Spec.VolumeName = volume.Name
	if claim, err = claims.Update(ctx, claim, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("bind claim %s: %w", b.name, err)
	}
	claim.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, AccessModes: claim.Spec.AccessModes, Capacity: volume.Spec.Capacity}
	if _, err := claims.UpdateStatus(ctx, claim, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("have claim %s Bound: %w", b.name, err)
	}
	return nil
}

func boundVolume(claim *corev1.PersistentVolumeClaim, b boundClaim) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Finalizers: []string{"kubernetes.io/pv-protection", "external-provisioner.volume.kubernetes.io/finalizer"},
			Annotations: map[string]string{
				"pv.kubernetes.io/provisioned-by":                            b.driver,
				"volume.kubernetes.io/provisioner-deletion-secret-name":      "",
				"volume.kubernetes.io/provisioner-deletion-secret-namespace": "",
			},
		},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: b.class, Capacity: corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes: claim.Spec.AccessModes, VolumeMode: claim.Spec.VolumeMode, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: b.driver, VolumeHandle: name, FSType: "ext4",
				VolumeAttributes: map[string]string{"storage.kubernetes.io/csiProvisionerIdentity": "1767225600000-1234-" + b.driver, "pool": "fast"},
			}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: harness.ZoneKey(b.driver), Operator: corev1.NodeSelectorOpIn, Values: []string{zones[0]},
				}},
			}}}},
		},
	}
}

// memoryEstimate is for filling the cluster at about 500 writes a second, and the rest.
func memoryEstimate(_ subject, o Options) time.Duration {
	writes := 2*o.MemoryNodes + 5*o.MemoryClaims
	return time.Duration(writes)*2*time.Millisecond + o.MemoryRest
}
