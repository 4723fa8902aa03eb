//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// nodes is a story of a driver that runs on each node, in distributed mode.
type nodes struct {
	*story

	byZone map[string]*harness.Instance
}

// quickly has the nodes take their turns within moments.
func quickly(options *harness.InstanceOptions) {
	options.Berth.Flags = append(options.Berth.Flags, "--node-deployment-base-delay=1s", "--node-deployment-max-delay=4s")
}

// onNodes begins a story with an instance on the node of each zone: zone-a, zone-b and zone-c.
func onNodes(t *testing.T, name string, edits ...func(zone string, options *harness.InstanceOptions)) *nodes {
	t.Helper()
	s := inOwnWorld(t, name, func(options *harness.WorldOptions) {
		options.WithoutBerth = true
		// The world's own driver lends its name. Nobody calls it.
		options.Driver.Config = harness.ZonesConfig(options.Name+".csi.berth.dev", "nowhere")
	})
	n := &nodes{story: s, byZone: map[string]*harness.Instance{}}
	t.Cleanup(n.stop)
	for _, zone := range []string{"zone-a", "zone-b", "zone-c"} {
		var options harness.InstanceOptions
		quickly(&options)
		for _, edit := range edits {
			edit(zone, &options)
		}
		instance, err := s.StartInstance(t.Context(), zone, options)
		must(t, err)
		n.byZone[zone] = instance
	}
	return n
}

// stop ends the instances. None may have asked for what its role does not grant.
func (n *nodes) stop() {
	for _, instance := range n.byZone {
		check(n.t, instance.Stop(context.Background()))
	}
	refused, err := n.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		return n.instanceOf(event.User.Username) != "" && event.ResponseStatus.Code == 403
	})
	check(n.t, err)
	for _, event := range refused {
		n.t.Errorf("%s may not %s %s", event.User.Username, event.Verb, event.ObjectRef.Resource)
	}
}

// instanceOf is the zone of the instance that a user is; empty: another user.
func (n *nodes) instanceOf(user string) string {
	for zone, instance := range n.byZone {
		if user == "system:serviceaccount:"+harness.BerthNamespace+":"+instance.Account {
			return zone
		}
	}
	return ""
}

// zoneOf is where a volume is, by its node affinity.
func (n *nodes) zoneOf(volume *corev1.PersistentVolume) string {
	n.t.Helper()
	for zone := range n.byZone {
		for _, term := range volume.Spec.NodeAffinity.Required.NodeSelectorTerms {
			for _, expression := range term.MatchExpressions {
				if expression.Key == n.ZoneKey() && slices.Equal(expression.Values, []string{zone}) {
					return zone
				}
			}
		}
	}
	n.t.Fatalf("volume %s is in no zone: %v", volume.Name, volume.Spec.NodeAffinity)
	return ""
}

// called is how often each instance's driver was called about a subject.
func (n *nodes) called(method, subject string) map[string]int {
	n.t.Helper()
	counts := map[string]int{}
	for zone, instance := range n.byZone {
		calls, err := instance.Driver.CallsFor(n.t.Context(), method, subject)
		must(n.t, err)
		if len(calls) > 0 {
			counts[zone] = len(calls)
		}
	}
	return counts
}

// wantCalled checks that the driver of one zone was called once about a subject, and no other.
func (n *nodes) wantCalled(method, subject, zone string) {
	n.t.Helper()
	if got := n.called(method, subject); !maps.Equal(got, map[string]int{zone: 1}) {
		n.t.Errorf("%s of %s was called %v, want once in %s", method, subject, got, zone)
	}
}

// placed creates a Pod for a claim on the node of a zone.
func (n *nodes) placed(pod, claim, zone string) {
	n.t.Helper()
	_, err := n.Client().CoreV1().Pods(n.namespace).Create(n.t.Context(),
		harness.Pod(n.namespace, pod, claim, harness.OnNodesWith(n.ZoneKey(), zone)), metav1.CreateOptions{})
	must(n.t, err)
}

// logs are the ends of all instances' logs, for error messages.
func (n *nodes) logs() string {
	var b strings.Builder
	for zone, instance := range n.byZone {
		fmt.Fprintf(&b, "\n%s:\n%s", zone, instance.Berth.LogTail(8))
	}
	return b.String()
}

func TestDistributedModeMakesVolumesWhereTheyAreToBe(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "nodes")

	delayed := n.class(harness.WaitForFirstConsumer)
	claim := n.claim("delayed", delayed)
	n.placed("user", "delayed", "zone-b")
	_, volume := n.bound("delayed")
	wantAffinity(n.story, volume, "zone-b")
	n.wantCalled(harness.CreateVolume, volumeName(claim), "zone-b")
	calls, err := n.byZone["zone-b"].Driver.CallsFor(t.Context(), harness.CreateVolume, volumeName(claim))
	must(t, err)
	request, err := calls[0].CreateVolume()
	must(t, err)
	if requirement := request.AccessibilityRequirements; requirement == nil || len(requirement.Requisite) != 1 ||
		requirement.Requisite[0].Segments[n.ZoneKey()] != "zone-b" || len(requirement.Preferred) != 1 {
		t.Errorf("the driver was asked for %+v, want zone-b and nothing else", requirement)
	}

	names := n.claims(n.class(), 12)
	claims, err := n.WaitBound(t.Context(), n.namespace, names...)
	if err != nil {
		t.Fatalf("%v%s", err, n.logs())
	}
	volumes := map[string]*corev1.PersistentVolume{volume.Name: volume}
	spread := map[string]int{}
	for _, claim := range claims {
		volume, err := n.Client().CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		must(t, err)
		volumes[volume.Name] = volume
		zone := n.zoneOf(volume)
		spread[zone]++
		if got, want := claim.Annotations[selectedNode], n.byZone[zone].Node; got != want {
			t.Errorf("claim %s is of node %q and its volume of %q", claim.Name, got, want)
		}
		n.wantCalled(harness.CreateVolume, volumeName(claim), zone)
	}
	t.Logf("12 claims with Immediate binding went to %v", spread)
	if len(spread) < 2 {
		t.Errorf("one node took everything: %v", spread)
	}

	must(t, n.Client().CoreV1().Pods(n.namespace).Delete(t.Context(), "user", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	for _, name := range append(names, "delayed") {
		n.drop(name)
	}
	must(t, n.WaitVolumesGone(t.Context(), slices.Collect(maps.Keys(volumes))...))
	for _, volume := range volumes {
		n.wantCalled(harness.DeleteVolume, volume.Spec.CSI.VolumeHandle, n.zoneOf(volume))
	}
}

func TestDistributedModePassesOverAFullNode(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "fullnode", func(zone string, options *harness.InstanceOptions) {
		if zone == "zone-a" {
			options.Size = "1Gi"
		}
		if zone == "zone-b" {
			options.Driver = func(config *harness.DriverConfig) { config.Pools[0].MaxVolumeSize = "1Gi" }
		}
	})
	class := n.class()
	names := make([]string, 4)
	for i := range names {
		names[i] = fmt.Sprintf("two-%d", i)
		n.claim(names[i], class, harness.Size("2Gi"))
	}
	claims, err := n.WaitBound(t.Context(), n.namespace, names...)
	if err != nil {
		t.Fatalf("%v%s", err, n.logs())
	}
	for _, claim := range claims {
		n.wantCalled(harness.CreateVolume, volumeName(claim), "zone-c")
	}

	// One that fits nowhere waits, without a word from any node, and goes on when there is room.
	hopeless := n.claim("hopeless", class, harness.Size("2Ti"))
	n.await("every node has found that it has no room", func(ctx context.Context) error {
		var errs []error
		for zone, instance := range n.byZone {
			_, page, err := instance.Berth.Get(ctx, "/metrics")
			if err == nil && !strings.Contains(page, `berth_claim_turns_total{result="no_room"}`) {
				err = fmt.Errorf("%s does not count it", zone)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if got := n.called(harness.CreateVolume, volumeName(hopeless)); len(got) != 0 {
		t.Errorf("drivers without room were asked for a volume: %v", got)
	}
	if events := n.events("hopeless"); len(events) != 0 {
		t.Errorf("the nodes said %v", events)
	}
	n.explains("hopeless", "runs on each node (--node-deployment): 3 nodes have a journal", "No node has taken it yet")
}

// A node's instance is killed while its driver makes a volume, and the claim is deleted before it comes back. Only that node can find out.
func TestDistributedModeRecoversFromTheJournalOfTheNode(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "nodejournal")
	b := n.byZone["zone-b"]
	must(t, b.Driver.SetFaults(t.Context(), harness.Fault{Method: harness.CreateVolume, Action: "lost", Code: "DeadlineExceeded"}))
	claim := n.claim("data", n.class(harness.WaitForFirstConsumer))
	n.placed("user", "data", "zone-b")
	n.await("the volume exists", func(ctx context.Context) error {
		volumes, err := b.Driver.Volumes(ctx)
		if err == nil && len(volumes) != 1 {
			err = fmt.Errorf("the driver has %v%s", volumes, n.logs())
		}
		return err
	})
	b.Berth.Kill()
	page, err := n.Client().CoreV1().ConfigMaps(harness.BerthNamespace).Get(t.Context(), n.journalName()+"-"+b.Node, metav1.GetOptions{})
	must(t, err)
	if len(page.BinaryData) != 1 || len(page.OwnerReferences) != 0 {
		t.Errorf("the node's journal has %d entries and is of %v, want one entry and no owner", len(page.BinaryData), page.OwnerReferences)
	}
	if table := n.journal(); !strings.Contains(table, n.namespace+"/data") || !strings.Contains(table, b.Node) {
		t.Errorf("berth journal does not tell of the volume:\n%s", table)
	}
	must(t, n.Client().CoreV1().Pods(n.namespace).Delete(t.Context(), "user", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	n.drop("data")
	_, err = harness.WatchClaims(t.Context(), n.Client(), n.namespace, func(claims harness.Seen[*corev1.PersistentVolumeClaim]) bool {
		return len(claims) == 0
	})
	must(t, err)

	must(t, b.Driver.ClearFaults(t.Context()))
	must(t, b.Berth.Start(t.Context()))
	n.await("the volume is deleted", func(ctx context.Context) error {
		volumes, err := b.Driver.Volumes(ctx)
		if err == nil && len(volumes) != 0 {
			err = fmt.Errorf("the driver has %v%s", volumes, n.logs())
		}
		return err
	})
	if got := n.called(harness.CreateVolume, volumeName(claim)); len(got) != 1 {
		t.Errorf("CreateVolume was called %v, want zone-b alone", got)
	}
	exit, err := b.Berth.Stop(t.Context())
	if err != nil || exit != (harness.Exit{}) {
		t.Fatalf("Berth ended with %s, %v", exit, err)
	}
	// Now that it is empty, it goes with the node.
	must(t, n.Client().CoreV1().Nodes().Delete(t.Context(), b.Node, metav1.DeleteOptions{}))
	n.await("the journal goes with its node", func(ctx context.Context) error {
		pages, err := n.Client().CoreV1().ConfigMaps(harness.BerthNamespace).List(ctx, metav1.ListOptions{LabelSelector: "berth.dev/journal=" + n.journalName()})
		if err == nil && len(pages.Items) != 2 {
			err = fmt.Errorf("there are %d journals, want those of the other nodes", len(pages.Items))
		}
		return err
	})
}

func TestDistributedModePublishesTheCapacityOfEachNode(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "noderoom", func(_ string, options *harness.InstanceOptions) {
		options.Berth.Flags = append(options.Berth.Flags, "--enable-capacity", "--capacity-ownerref-level=-1")
		options.Berth.Env = append(options.Berth.Env, "NAMESPACE="+harness.BerthNamespace)
	})
	class := n.class(harness.WaitForFirstConsumer)
	limited := n.class(harness.WaitForFirstConsumer, harness.AllowedTopologies(n.ZoneKey(), "zone-b"))
	want := func(said map[string]string) {
		t.Helper()
		n.await("each node publishes its own", func(ctx context.Context) error {
			list, err := n.Client().StorageV1().CSIStorageCapacities(harness.BerthNamespace).List(ctx, metav1.ListOptions{
				LabelSelector: "csi.storage.k8s.io/drivername=" + n.Driver.Name,
			})
			if err != nil {
				return err
			}
			got := map[string]string{}
			for _, object := range list.Items {
				zone := object.NodeTopology.MatchLabels[n.ZoneKey()]
				if by, of := object.Labels["csi.storage.k8s.io/managed-by"], "external-provisioner-"+n.NodeIn(zone).Name; by != of {
					return fmt.Errorf("the object of %s is managed by %q, want %q", zone, by, of)
				}
				got[object.StorageClassName+" in "+zone] += object.Capacity.String()
			}
			if !maps.Equal(got, said) {
				return fmt.Errorf("published is %v, want %v%s", got, said, n.logs())
			}
			return nil
		})
	}
	said := map[string]string{class + " in zone-a": "1Ti", class + " in zone-b": "1Ti", class + " in zone-c": "1Ti", limited + " in zone-b": "1Ti"}
	want(said)
	n.claim("data", class)
	n.placed("user", "data", "zone-c")
	n.bound("data")
	said[class+" in zone-c"] = "1023Gi"
	want(said)
	must(t, n.Client().StorageV1().StorageClasses().Delete(t.Context(), limited, metav1.DeleteOptions{}))
	delete(said, limited+" in zone-b")
	want(said)
}

// A node on which nobody runs the driver cannot make a volume, and cannot say so. The other nodes' instances do.
func TestDistributedModeTakesAClaimFromANodeWithoutTheDriver(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "stray")
	bare := harness.NodeSpec{Name: n.Name + "-bare", Labels: map[string]string{n.ZoneKey(): "zone-bare"}}
	_, err := n.Client().CoreV1().Nodes().Create(t.Context(), harness.Node(bare), metav1.CreateOptions{})
	must(t, err)

	// The Pod may go to the node without the driver as well as to that of zone-b; it is kept to the first, until that is closed.
	n.claim("data", n.class(harness.WaitForFirstConsumer))
	b := n.byZone["zone-b"].Node
	cordon := func(node string, closed bool) {
		object, err := n.Client().CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
		must(t, err)
		object.Spec.Unschedulable = closed
		_, err = n.Client().CoreV1().Nodes().Update(t.Context(), object, metav1.UpdateOptions{})
		must(t, err)
	}
	cordon(b, true)
	pod := harness.Pod(n.namespace, "user", "data")
	pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: n.ZoneKey(), Operator: corev1.NodeSelectorOpIn, Values: []string{"zone-bare", "zone-b"},
		}}}},
	}}}
	_, err = n.Client().CoreV1().Pods(n.namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	must(t, err)
	n.await("the node without the driver is selected", func(ctx context.Context) error {
		claim, err := n.Client().CoreV1().PersistentVolumeClaims(n.namespace).Get(ctx, "data", metav1.GetOptions{})
		if err == nil && claim.Annotations[selectedNode] != bare.Name {
			err = fmt.Errorf("selected is %q", claim.Annotations[selectedNode])
		}
		return err
	})
	n.explains("data", fmt.Sprintf("driver %s is not on the selected node %q", n.Driver.Name, bare.Name))
	cordon(bare.Name, true)
	cordon(b, false)
	n.told("data", "ProvisioningFailed", bare.Name, "does not have driver "+n.Driver.Name)
	_, volume := n.bound("data")
	wantAffinity(n.story, volume, "zone-b")
}

// Nobody but the node's own instance makes its volumes. While it is away the claim waits, and the others leave it there.
func TestDistributedModeWaitsForTheInstanceOfTheNode(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "away")
	c := n.byZone["zone-c"]
	exit, err := c.Berth.Stop(t.Context())
	if err != nil || exit != (harness.Exit{}) {
		t.Fatalf("Berth ended with %s, %v", exit, err)
	}
	class := n.class(harness.WaitForFirstConsumer)
	n.claim("data", class)
	n.placed("user", "data", "zone-c")
	n.await("another node has looked after the claim", func(ctx context.Context) error {
		looks, err := n.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
			return event.Verb == "get" && event.ObjectRef.Resource == "csinodes" && event.ObjectRef.Name == c.Node
		})
		if err == nil && len(looks) == 0 {
			err = errors.New("nobody has")
		}
		return err
	})
	claim, err := n.Client().CoreV1().PersistentVolumeClaims(n.namespace).Get(t.Context(), "data", metav1.GetOptions{})
	must(t, err)
	if got := claim.Annotations[selectedNode]; got != c.Node || claim.Spec.VolumeName != "" {
		t.Errorf("meanwhile the claim is of node %q with volume %q", got, claim.Spec.VolumeName)
	}
	must(t, c.Berth.Start(t.Context()))
	n.bound("data")
	n.wantCalled(harness.CreateVolume, volumeName(claim), "zone-c")
}

// What a volume is made from is on one node, and so is what is made from it.
func TestDistributedModeClonesAndRestoresOnTheNodeOfTheSource(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "sources")
	n.claim("original", n.class(harness.WaitForFirstConsumer))
	n.placed("user", "original", "zone-b")
	n.bound("original")
	n.World.Driver = n.byZone["zone-b"].Driver // whose snapshots are taken
	n.take("snap", "original")
	immediate := n.class()
	for i := range 3 {
		clone := n.claim(fmt.Sprintf("clone-%d", i), immediate, harness.FromClaim("original"))
		restored := n.claim(fmt.Sprintf("restored-%d", i), immediate, harness.FromSnapshot("snap"))
		for _, claim := range []*corev1.PersistentVolumeClaim{clone, restored} {
			n.bound(claim.Name)
			n.wantCalled(harness.CreateVolume, volumeName(claim), "zone-b")
		}
	}
	n.released(claimNamed("original"))
	n.released(snapshotNamed("snap"))
}

// A volume that calls itself accessible from everywhere is on one node all the same. Drivers on other nodes would call it deleted.
func TestDistributedModeDeletesNoVolumeOfUnknownPlace(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "unplaced")
	b := n.byZone["zone-b"]
	n.claim("data", n.class(harness.WaitForFirstConsumer, harness.Retain))
	n.placed("user", "data", "zone-b")
	_, volume := n.bound("data")
	must(t, n.Client().CoreV1().Pods(n.namespace).Delete(t.Context(), "user", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	n.drop("data")
	_, err := n.WaitVolumePhase(t.Context(), volume.Name, corev1.VolumeReleased)
	must(t, err)
	must(t, n.Client().CoreV1().PersistentVolumes().Delete(t.Context(), volume.Name, metav1.DeleteOptions{}))
	must(t, n.WaitVolumesGone(t.Context(), volume.Name))

	// Somebody takes it over by hand, and leaves out where it is.
	imported, err := n.Client().CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name + "-imported"},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: volume.Spec.Capacity, AccessModes: volume.Spec.AccessModes, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: n.namespace, Name: "gone", UID: "gone"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: n.Driver.Name, VolumeHandle: volume.Spec.CSI.VolumeHandle}},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = n.WaitVolumePhase(t.Context(), imported.Name, corev1.VolumeReleased)
	must(t, err)
	// Each node has seen it: what came after it is done.
	after := n.class(harness.WaitForFirstConsumer)
	for zone := range n.byZone {
		n.claim("after-"+zone, after)
		n.placed("after-"+zone, "after-"+zone, zone)
		n.bound("after-" + zone)
	}
	if got := n.called(harness.DeleteVolume, volume.Spec.CSI.VolumeHandle); len(got) != 0 {
		t.Fatalf("DeleteVolume was called %v for a volume that does not say where it is", got)
	}
	imported, err = n.Client().CoreV1().PersistentVolumes().Get(t.Context(), imported.Name, metav1.GetOptions{})
	must(t, err)
	imported.Spec.NodeAffinity = volume.Spec.NodeAffinity
	_, err = n.Client().CoreV1().PersistentVolumes().Update(t.Context(), imported, metav1.UpdateOptions{})
	must(t, err)
	must(t, n.WaitVolumesGone(t.Context(), imported.Name))
	n.wantCalled(harness.DeleteVolume, volume.Spec.CSI.VolumeHandle, "zone-b")
	if volumes, err := b.Driver.Volumes(t.Context()); err != nil || slices.ContainsFunc(volumes, func(v harness.Volume) bool { return v.ID == volume.Spec.CSI.VolumeHandle }) {
		t.Errorf("the driver still has %v, %v", volumes, err)
	}
}

// What an instance watches: no nodes, and of capacity its own.
func TestDistributedModeWatchesNoNodes(t *testing.T) {
	t.Parallel()
	n := onNodes(t, "watches", func(_ string, options *harness.InstanceOptions) {
		options.Berth.Flags = append(options.Berth.Flags, "--enable-capacity", "--capacity-ownerref-level=-1")
		options.Berth.Env = append(options.Berth.Env, "NAMESPACE="+harness.BerthNamespace)
	})
	n.claim("data", n.class())
	n.bound("data")
	for _, instance := range n.byZone { // a watch is in the audit log when it has ended
		must(t, instance.Stop(t.Context()))
	}
	want := []string{
		"csistoragecapacities", "persistentvolumeclaims", "persistentvolumes", "storageclasses", "volumeattachments", "volumesnapshots",
	}
	// One that was stopped soon may not have come to all of it.
	n.await("the watches have ended", func(context.Context) error {
		seen := map[string]int{}
		for zone, instance := range n.byZone {
			watched := n.watched(instance.Account)
			maps.Copy(seen, watched)
			for resource := range watched {
				if !slices.Contains(want, resource) {
					n.t.Fatalf("%s has watched %s", zone, resource)
				}
			}
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(seen))); diff != "" {
			return fmt.Errorf("they have watched (-want +got):\n%s", diff)
		}
		return nil
	})
}

// watched is how often a service account has watched each resource.
func (n *nodes) watched(account string) map[string]int {
	n.t.Helper()
	requests, err := n.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		return event.Verb == "watch" && event.User.Username == "system:serviceaccount:"+harness.BerthNamespace+":"+account
	})
	must(n.t, err)
	counts := map[string]int{}
	for _, request := range requests {
		counts[request.ObjectRef.Resource]++
	}
	return counts
}
