//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// withCapacity has Berth publish capacity, with objects that nobody owns.
func withCapacity(options *harness.WorldOptions) {
	berthFlags("--enable-capacity", "--capacity-ownerref-level=-1")(options)
	options.Berth.Env = append(options.Berth.Env, "NAMESPACE="+harness.BerthNamespace)
}

// poolsOf gives each zone a pool of that size.
func poolsOf(size string) func(*harness.WorldOptions) {
	return func(options *harness.WorldOptions) {
		options.Driver.Config = harness.ZonesConfig(options.Name+".csi.berth.dev", "zone-a", "zone-b", "zone-c")
		for i := range options.Driver.Config.Pools {
			options.Driver.Config.Pools[i].Size = size
		}
	}
}

// capacities are the objects of the world's driver: "class in zone" -> what they say.
func (s *story) capacities(ctx context.Context) (map[string]string, []storagev1.CSIStorageCapacity, error) {
	list, err := s.Client().StorageV1().CSIStorageCapacities(harness.BerthNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: "csi.storage.k8s.io/managed-by=external-provisioner,csi.storage.k8s.io/drivername=" + s.Driver.Name,
	})
	if err != nil {
		return nil, nil, err
	}
	said := map[string]string{}
	for _, object := range list.Items {
		key := object.StorageClassName + " in " + object.NodeTopology.MatchLabels[s.ZoneKey()]
		what := object.Capacity.String()
		if object.MaximumVolumeSize != nil {
			what += " at most " + object.MaximumVolumeSize.String()
		}
		if before, twice := said[key]; twice {
			what = before + " and " + what
		}
		said[key] = what
	}
	return said, list.Items, nil
}

// wantCapacities waits until exactly these are published, and returns the objects.
func (s *story) wantCapacities(want map[string]string) []storagev1.CSIStorageCapacity {
	s.t.Helper()
	var objects []storagev1.CSIStorageCapacity
	must(s.t, harness.Eventually(s.t.Context(), "the right capacity is published", func(ctx context.Context) error {
		said, all, err := s.capacities(ctx)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, said); diff != "" {
			return fmt.Errorf("published (-want +got):\n%s\nBerth's log ends with:\n%s", diff, s.Berth.LogTail(5))
		}
		objects = all
		return nil
	}))
	return objects
}

// capacityWrites are the requests that changed the driver's objects, by the Berths of this world.
func (s *story) capacityWrites() []harness.AuditEvent {
	s.t.Helper()
	writes, err := s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		return strings.HasPrefix(event.User.Username, s.User()) && event.ObjectRef.Resource == "csistoragecapacities" &&
			slices.Contains([]string{"create", "update", "patch", "delete"}, event.Verb)
	})
	must(s.t, err)
	return writes
}

func TestCapacityFollowsClassesSegmentsAndVolumes(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "room", withCapacity)
	// A parameter of ours, which the driver would never see in CreateVolume.
	everywhere := s.class(harness.WaitForFirstConsumer, func(class *storagev1.StorageClass) {
		class.Parameters = map[string]string{"csi.storage.k8s.io/fstype": "xfs"}
	})
	in := func(class, zone string) string { return class + " in " + zone }
	want := map[string]string{in(everywhere, "zone-a"): "1Ti", in(everywhere, "zone-b"): "1Ti", in(everywhere, "zone-c"): "1Ti"}
	s.class() // Immediate: the scheduler does not look
	s.wantCapacities(want)
	calls, err := s.Driver.Calls(t.Context(), "GetCapacity")
	must(t, err)
	if len(calls) != 3 {
		t.Errorf("the driver was asked %d times, want once a zone", len(calls))
	}
	for _, call := range calls {
		if strings.Contains(string(call.Request), "csi.storage.k8s.io/") {
			t.Errorf("the driver was told what is ours: %s", call.Request)
		}
	}

	limited := s.class(harness.WaitForFirstConsumer, harness.AllowedTopologies(s.ZoneKey(), "zone-b"))
	want[in(limited, "zone-b")] = "1Ti"
	s.wantCapacities(want)

	s.claim("data", everywhere)
	_, err = s.Client().CoreV1().Pods(s.namespace).Create(t.Context(),
		harness.Pod(s.namespace, "user", "data", harness.OnNodesWith(s.ZoneKey(), "zone-b")), metav1.CreateOptions{})
	must(t, err)
	s.bound("data")
	want[in(everywhere, "zone-b")], want[in(limited, "zone-b")] = "1023Gi", "1023Gi"
	s.wantCapacities(want)
	must(t, s.Client().CoreV1().Pods(s.namespace).Delete(t.Context(), "user", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	s.drop("data")
	want[in(everywhere, "zone-b")], want[in(limited, "zone-b")] = "1Ti", "1Ti"
	objects := s.wantCapacities(want)

	// What others do is put right.
	capacities := s.Client().StorageV1().CSIStorageCapacities(harness.BerthNamespace)
	edited := objects[0].DeepCopy()
	edited.Capacity = new(resource.MustParse("5"))
	_, err = capacities.Update(t.Context(), edited, metav1.UpdateOptions{})
	must(t, err)
	must(t, capacities.Delete(t.Context(), objects[1].Name, metav1.DeleteOptions{}))
	s.wantCapacities(want)

	must(t, s.Client().StorageV1().StorageClasses().Delete(t.Context(), limited, metav1.DeleteOptions{}))
	delete(want, in(limited, "zone-b"))
	s.wantCapacities(want)

	node := s.NodeIn("zone-c").Name
	must(t, s.Client().StorageV1().CSINodes().Delete(t.Context(), node, metav1.DeleteOptions{}))
	must(t, s.Client().CoreV1().Nodes().Delete(t.Context(), node, metav1.DeleteOptions{}))
	delete(want, in(everywhere, "zone-c"))
	s.wantCapacities(want)
}

func TestCapacityAdoptsWhatTheEstablishedProvisionerPublished(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "adopt", func(options *harness.WorldOptions) { options.WithoutBerth = true })
	class := s.class(harness.WaitForFirstConsumer)
	_, err := harness.BerthAccount(t.Context(), s.ControlPlane, "berth-"+s.World.Name) // which makes the namespace
	must(t, err)
	old, err := s.Client().CoreV1().ConfigMaps(harness.BerthNamespace).Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: s.World.Name}}, metav1.CreateOptions{})
	must(t, err)
	capacities := s.Client().StorageV1().CSIStorageCapacities(harness.BerthNamespace)
	publish := func(class, zone, size string) *storagev1.CSIStorageCapacity {
		object, err := capacities.Create(t.Context(), &storagev1.CSIStorageCapacity{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "csisc-", Labels: map[string]string{
				"csi.storage.k8s.io/drivername": s.Driver.Name, "csi.storage.k8s.io/managed-by": "external-provisioner",
			}, OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: old.Name, UID: old.UID, Controller: new(true)}}},
			NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{s.ZoneKey(): zone}},
			StorageClassName: class, Capacity: new(resource.MustParse(size)),
		}, metav1.CreateOptions{})
		must(t, err)
		return object
	}
	right, wrong := publish(class, "zone-a", "1Ti"), publish(class, "zone-b", "7Gi")
	publish("gone", "zone-a", "1Ti")

	options := harness.WorldOptions{Name: s.World.Name}
	withCapacity(&options)
	s.Berth, err = s.StartBerth(t.Context(), options.Berth)
	must(t, err)
	objects := s.wantCapacities(map[string]string{class + " in zone-a": "1Ti", class + " in zone-b": "1Ti", class + " in zone-c": "1Ti"})
	for _, object := range objects {
		switch object.NodeTopology.MatchLabels[s.ZoneKey()] {
		case "zone-a":
			if object.UID != right.UID || object.ResourceVersion != right.ResourceVersion {
				t.Errorf("what was right has become %s", object.Name)
			}
		case "zone-b":
			if object.UID != wrong.UID {
				t.Errorf("what was wrong was made anew as %s", object.Name)
			}
		}
	}

	// One too many: the older stays. API servers count in whole seconds.
	must(t, harness.Eventually(t.Context(), "a second passes", func(context.Context) error {
		if age := time.Since(right.CreationTimestamp.Time); age < 2*time.Second {
			return fmt.Errorf("it is %s old", age)
		}
		return nil
	}))
	publish(class, "zone-a", "1Ti")
	must(t, harness.Eventually(t.Context(), "the second one goes", func(ctx context.Context) error {
		_, all, err := s.capacities(ctx)
		if err == nil && (len(all) != 3 || !slices.ContainsFunc(all, func(o storagev1.CSIStorageCapacity) bool { return o.UID == right.UID })) {
			err = fmt.Errorf("there are %d objects", len(all))
		}
		return err
	}))
}

func TestCapacityIsNotWrittenAnewByTheNextLeader(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "heir", withCapacity, withLeaderElection, berthFlags("--leader-election-identity=first", "--capacity-poll-interval=1s"))
	class := s.class(harness.WaitForFirstConsumer)
	want := map[string]string{class + " in zone-a": "1Ti", class + " in zone-b": "1Ti", class + " in zone-c": "1Ti"}
	before := s.wantCapacities(want)

	options := harness.WorldOptions{Name: s.World.Name}
	withCapacity(&options)
	options.Berth.Name, options.Berth.LeaderElection = "second", true
	options.Berth.Flags = append(append(options.Berth.Flags, leaseFlags()...), "--leader-election-identity=second", "--capacity-poll-interval=1s")
	second, err := s.StartBerth(t.Context(), options.Berth)
	must(t, err)
	t.Cleanup(func() {
		_, err := second.Stop(context.Background())
		check(t, err)
	})
	asked := func() int {
		calls, err := s.Driver.Calls(t.Context(), "GetCapacity")
		must(t, err)
		return len(calls)
	}
	_, err = s.Berth.Stop(t.Context())
	must(t, err)
	must(t, harness.Eventually(t.Context(), "the second leads", func(context.Context) error { return s.wantHolder("second") }))
	begun := asked()
	must(t, harness.Eventually(t.Context(), "the second has asked about everything, more than once", func(context.Context) error {
		if got := asked() - begun; got < 9 {
			return fmt.Errorf("the driver was asked %d times", got)
		}
		return nil
	}))
	after := s.wantCapacities(want)
	versions := func(objects []storagev1.CSIStorageCapacity) map[string]string {
		all := map[string]string{}
		for _, object := range objects {
			all[object.Name] = object.ResourceVersion
		}
		return all
	}
	if diff := cmp.Diff(versions(before), versions(after)); diff != "" {
		t.Errorf("objects were written (-before +after):\n%s", diff)
	}
	if writes := s.capacityWrites(); len(writes) != 3 {
		t.Errorf("there were %d writes, want the first leader's 3", len(writes))
	}
}

func TestCapacitySaysThatTheDriverHadNoRoomBeforeTheSchedulerChoosesAgain(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "noroom", withCapacity, driverFaults(harness.Fault{
		Method: harness.CreateVolume, Action: "error", Code: "ResourceExhausted", Times: 1,
	}))
	class := s.class(harness.WaitForFirstConsumer)
	want := map[string]string{class + " in zone-a": "1Ti", class + " in zone-b": "1Ti", class + " in zone-c": "1Ti"}
	s.wantCapacities(want)
	s.schedulerLooks()
	s.claim("data", class)
	_, err := s.Client().CoreV1().Pods(s.namespace).Create(t.Context(), harness.Pod(s.namespace, "user", "data"), metav1.CreateOptions{})
	must(t, err)
	_, volume := s.bound("data")
	zone := volume.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values[0]
	exhausted := ""
	must(t, harness.Eventually(t.Context(), "it is published where there is no room", func(ctx context.Context) error {
		said, _, err := s.capacities(ctx)
		for key, what := range said {
			if strings.HasSuffix(what, fmt.Sprintf("at most %d", 1<<30-1)) {
				exhausted = key
			}
		}
		if err == nil && exhausted == "" {
			err = fmt.Errorf("published is %v", said)
		}
		return err
	}))
	if exhausted == class+" in "+zone {
		t.Errorf("the volume is in %s, which the driver had no room in", zone)
	}
	writes, err := s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		return event.User.Username == s.User() && (event.Verb == "update" && event.ObjectRef.Resource == "csistoragecapacities" ||
			event.Verb == "patch" && event.ObjectRef.Resource == "persistentvolumeclaims" && event.ObjectRef.Subresource == "")
	})
	must(t, err)
	var order []string
	for _, write := range writes {
		order = append(order, write.ObjectRef.Resource)
	}
	told, back := slices.Index(order, "csistoragecapacities"), slices.Index(order, "persistentvolumeclaims")
	if told < 0 || back < 0 || told > back {
		t.Errorf("writes were %v, want the capacity before the claim", order)
	}
}

// schedulerLooks has the scheduler look at what is published for the driver.
func (s *story) schedulerLooks() {
	s.t.Helper()
	_, err := s.Client().StorageV1().CSIDrivers().Create(s.t.Context(), &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: s.Driver.Name}, Spec: storagev1.CSIDriverSpec{StorageCapacity: new(true)},
	}, metav1.CreateOptions{})
	must(s.t, err)
}

// occupy has most of a node's processors taken, so that the scheduler prefers another one.
func (s *story) occupy(zone string) {
	s.t.Helper()
	pod := harness.Pod(s.namespace, "busy-"+zone, "", func(pod *corev1.Pod) {
		pod.Spec.NodeName = s.NodeIn(zone).Name
		pod.Spec.Volumes, pod.Spec.Containers[0].VolumeMounts = nil, nil
		pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("60")}
	})
	_, err := s.Client().CoreV1().Pods(s.namespace).Create(s.t.Context(), pod, metav1.CreateOptions{})
	must(s.t, err)
}

// The scheduler would place all of them on the node that is empty, and decides faster than it can be told. The driver is not asked for what does not fit.
func TestCapacityForABurstThatJustFits(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "burst", withCapacity, berthFlags("--strict-topology"), poolsOf("10Gi"))
	for _, zone := range []string{"zone-a", "zone-b", "zone-c"} {
		must(t, harness.CreateNode(t.Context(), s.Client(), s.NodeIn(zone)))
	}
	s.occupy("zone-b")
	s.occupy("zone-c")
	s.schedulerLooks()
	class := s.class(harness.WaitForFirstConsumer)
	s.wantCapacities(map[string]string{class + " in zone-a": "10Gi", class + " in zone-b": "10Gi", class + " in zone-c": "10Gi"})
	const pods = 30
	names := s.claims(class, pods)
	began := time.Now()
	for _, name := range names {
		pod := harness.Pod(s.namespace, name, name)
		_, err := s.Client().CoreV1().Pods(s.namespace).Create(t.Context(), pod, metav1.CreateOptions{})
		must(t, err)
	}
	_, err := s.WaitBound(t.Context(), s.namespace, names...)
	must(t, err)
	took := time.Since(began)
	calls, err := s.Driver.Calls(t.Context(), harness.CreateVolume)
	must(t, err)
	exhausted := 0
	for _, call := range calls {
		if call.Code == "ResourceExhausted" {
			exhausted++
		}
	}
	t.Logf("%d Pods in room for %d: all bound after %s, ResourceExhausted %d times, CreateVolume %d times, %d writes of capacity",
		pods, pods, took.Round(time.Millisecond), exhausted, len(calls), len(s.capacityWrites()))
	// Without reservations it is about 20. The driver is only asked for a claim that was sent back to where it came from.
	if exhausted > pods/10 {
		t.Errorf("the driver had no room %d times", exhausted)
	}
	s.wantCapacities(map[string]string{class + " in zone-a": "0", class + " in zone-b": "0", class + " in zone-c": "0"})
}

func TestCapacityBelongsToTheDeployment(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "owned", func(options *harness.WorldOptions) { options.WithoutBerth = true })
	labels := map[string]string{"app": s.World.Name}
	// The account makes the namespace.
	kubeconfig, err := harness.BerthAccount(t.Context(), s.ControlPlane, "berth-"+s.World.Name)
	must(t, err)
	deployment, err := s.Client().AppsV1().Deployments(harness.BerthNamespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: s.World.Name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.invalid/none"}}},
			},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	pod := ""
	must(t, harness.Eventually(t.Context(), "the Deployment has a Pod", func(ctx context.Context) error {
		pods, err := s.Client().CoreV1().Pods(harness.BerthNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + s.World.Name})
		if err == nil && len(pods.Items) != 1 {
			err = fmt.Errorf("there are %d", len(pods.Items))
		}
		if err == nil {
			pod = pods.Items[0].Name
		}
		return err
	}))

	class := s.class(harness.WaitForFirstConsumer)
	s.Berth, err = s.StartBerth(t.Context(), harness.BerthOptions{
		Kubeconfig: kubeconfig, Flags: []string{"--enable-capacity", "--capacity-ownerref-level=2"},
		Env: []string{"NAMESPACE=" + harness.BerthNamespace, "POD_NAME=" + pod},
	})
	must(t, err)
	for _, object := range s.wantCapacities(map[string]string{class + " in zone-a": "1Ti", class + " in zone-b": "1Ti", class + " in zone-c": "1Ti"}) {
		want := []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: s.World.Name, UID: deployment.UID, Controller: new(true)}}
		if diff := cmp.Diff(want, object.OwnerReferences); diff != "" {
			t.Errorf("owners of %s (-want +got):\n%s", object.Name, diff)
		}
	}
}
