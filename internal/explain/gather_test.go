package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotfake "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned/fake"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	gatewayfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"
)

// cluster is one with a claim that waits for its Pod, and everything about it.
type cluster struct {
	*Gatherer
	core     *fake.Clientset
	metadata *metadatafake.FakeMetadataClient
	snapshot *snapshotfake.Clientset
}

func newCluster(t *testing.T, edits ...func(*Facts)) cluster {
	t.Helper()
	facts := situation(edits...)
	facts.Claim.Finalizers = nil
	rooms := roomIn("a", "4Gi", "")
	rooms.ObjectMeta = metav1.ObjectMeta{Namespace: "storage", Name: "room", Labels: map[string]string{labelDriverName: testDriver}}
	otherClass := rooms
	otherClass.Name, otherClass.StorageClassName = "other", "slow"
	held := lease("berth-7d9f", 2*time.Second)
	user, bystander := pod(), pod()
	bystander.Name, bystander.Spec.Volumes = "bystander", nil
	ours := event("Warning", "ProvisioningFailed", "full", time.Second, 1)
	ours.ObjectMeta = metav1.ObjectMeta{Namespace: "shop", Name: "ours"}
	others := ours
	others.Name, others.InvolvedObject.UID = "others", "another"
	objects := []runtime.Object{
		facts.Claim, facts.Class.Value, &held, &rooms, &otherClass, &user, &bystander, &ours, &others,
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: testDriver}},
		&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: "n1"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Namespace: "storage", Name: "pool-csi-example-com-journal", Labels: map[string]string{"berth.dev/journal": "pool-csi-example-com-journal"},
		}},
	}
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	partial := func(kind, namespace, name string, labels map[string]string) runtime.Object {
		return &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: kind},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		}
	}
	var names []runtime.Object
	for _, zone := range []string{"a", "b"} {
		objects = append(objects, &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n-" + zone}, Spec: storagev1.CSINodeSpec{
			Drivers: []storagev1.CSINodeDriver{{Name: testDriver, TopologyKeys: []string{zoneKey}}},
		}})
		names = append(names, partial("Node", "", "n-"+zone, map[string]string{zoneKey: zone}))
	}
	names = append(names, partial("Namespace", "", "shop", nil), partial("PersistentVolumeClaim", "shop", "data", nil),
		partial("PersistentVolumeClaim", "prod", "dta", nil))
	c := cluster{
		core: fake.NewClientset(objects...), metadata: metadatafake.NewSimpleMetadataClient(scheme, names...),
		//nolint:staticcheck // this clientset has no other constructor
		snapshot: snapshotfake.NewSimpleClientset(&snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "nightly"},
			Status: &snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: new("content")}}),
	}
	c.Gatherer = &Gatherer{
		Client: c.core, Metadata: c.metadata, Snapshots: c.snapshot, Grants: gatewayfake.NewClientset(), Now: func() time.Time { return three },
	}
	return c
}

// fail has a read fail.
func (c cluster) fail(verb, resource string, err error) {
	react := func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err }
	c.core.PrependReactor(verb, resource, react)
	c.metadata.PrependReactor(verb, resource, react)
	c.snapshot.PrependReactor(verb, resource, react)
}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("not for you"))
}

func TestGatherFindsWhatBelongsToTheClaim(t *testing.T) {
	c := newCluster(t, delayedBinding)
	facts, err := c.Gather(t.Context(), "shop", "data")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{
		"class": facts.Class.Value.Name, "driver": facts.Driver, "leases": len(facts.Leases.Value), "journal": facts.Journal.Value.Where,
		"pods": len(facts.Pods.Value), "events": len(facts.Events.Value), "rooms": len(facts.Rooms.Value), "volume": facts.VolumeName,
		"nodes": facts.Nodes.Value, "unseen": facts.Unseen,
	}
	want := map[string]any{
		"class": "fast", "driver": testDriver, "leases": 1, "journal": "storage/pool-csi-example-com-journal",
		"pods": 1, "events": 1, "rooms": 1, "volume": "pvc-" + claimUID,
		"nodes": []NodeFacts{inZone("n-a", "a"), inZone("n-b", "b")}, "unseen": []Unseen(nil),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGatherOnlyReads(t *testing.T) {
	for _, name := range []string{"data", "dta"} {
		c := newCluster(t, delayedBinding, fromSnapshot())
		if _, err := c.Gather(t.Context(), "shop", name); err != nil {
			t.Fatal(err)
		}
		for _, action := range slices.Concat(c.core.Actions(), c.metadata.Actions(), c.snapshot.Actions()) {
			if verb := action.GetVerb(); verb != "get" && verb != "list" {
				t.Errorf("it has done %s %s", verb, action.GetResource().Resource)
			}
		}
		for _, action := range c.core.Actions() { // the other fakes forget what they were asked for
			if list, ok := action.(clienttesting.ListActionImpl); ok && list.ListOptions.Limit != pageSize {
				t.Errorf("list of %s is not limited: %+v", action.GetResource().Resource, list.ListOptions)
			}
		}
	}
}

// A person at night may read few things. Whichever of them it is that fails, the rest is explained.
func TestGatherGoesOnWithoutWhatItMayNotRead(t *testing.T) {
	tests := map[string]struct {
		edits    []func(*Facts)
		verb, of string
		unseen   string
	}{
		"the class": {nil, "get", "storageclasses", "the StorageClass"},
		"the class of a claim that is assigned": {[]func(*Facts){func(f *Facts) {
			f.Claim.Annotations = map[string]string{volumehelpers.AnnStorageProvisioner: testDriver}
		}}, "get", "storageclasses", "the StorageClass"},
		"classes":              {[]func(*Facts){func(f *Facts) { f.Claim.Spec.StorageClassName = new("gone") }}, "list", "storageclasses", "the other StorageClasses"},
		"the CSIDriver":        {nil, "get", "csidrivers", "the CSIDriver"},
		"Leases":               {nil, "list", "leases", "the Leases of all namespaces (--driver-namespace names one)"},
		"the journal":          {nil, "list", "configmaps", `the journal, ConfigMaps of namespace "storage"`},
		"the volume":           {nil, "get", "persistentvolumes", "the PersistentVolume"},
		"events":               {nil, "list", "events", "the claim's events"},
		"CSINodes":             {nil, "list", "csinodes", "the CSINodes"},
		"Nodes":                {nil, "list", "nodes", "the Nodes"},
		"the selected Node":    {[]func(*Facts){selected("n-a", "a")}, "get", "nodes", "the Node"},
		"the selected CSINode": {[]func(*Facts){selected("n-a", "a")}, "get", "csinodes", "the CSINode"},
		"capacity":             {nil, "list", "csistoragecapacities", "the CSIStorageCapacities"},
		"Pods":                 {nil, "list", "pods", "the Pods of the namespace"},
		"the attributes class": {[]func(*Facts){attributes(Look[*storagev1.VolumeAttributesClass]{})}, "get", "volumeattributesclasses", "the VolumeAttributesClass"},
		"a snapshot":           {[]func(*Facts){fromSnapshot()}, "get", "volumesnapshots", "the data source, VolumeSnapshot shop/nightly"},
		"a snapshot's content": {[]func(*Facts){fromSnapshot()}, "get", "volumesnapshotcontents", "the data source, VolumeSnapshot shop/nightly"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, append([]func(*Facts){delayedBinding}, tt.edits...)...)
			c.fail(tt.verb, tt.of, forbidden(tt.of))
			facts, err := c.Gather(t.Context(), "shop", "data")
			if err != nil {
				t.Fatalf("the whole fails: %v", err)
			}
			var unseen []string
			for _, one := range facts.Unseen {
				unseen = append(unseen, one.What)
				if !one.Forbidden {
					t.Errorf("%s is not known to be a matter of permission: %s", one.What, one.Why)
				}
			}
			if diff := cmp.Diff([]string{tt.unseen}, unseen); diff != "" {
				t.Errorf("what was not seen (-want +got):\n%s", diff)
			}
			findings := Diagnose(facts)
			last := findings[len(findings)-1]
			if want := (Finding{Severity: Unknown, About: aboutUnseen, Text: fmt.Sprintf("Could not look at %s (permission).", tt.unseen)}); last != want {
				t.Errorf("it says %+v, want %+v", last, want)
			}
			for _, finding := range findings {
				if strings.Contains(finding.Text, "not exist") && tt.of != "storageclasses" && finding.About != aboutSource {
					t.Errorf("what may not be read is taken for absent: %+v", finding)
				}
			}
		})
	}
}

func TestGatherReadsASnapshotWhoseContentItMayNotRead(t *testing.T) {
	c := newCluster(t, fromSnapshot())
	c.fail("get", "volumesnapshotcontents", forbidden("volumesnapshotcontents"))
	facts, err := c.Gather(t.Context(), "shop", "data")
	if err != nil {
		t.Fatal(err)
	}
	if !facts.ContentHidden || facts.Source.Value.Snapshot == nil {
		t.Errorf("the snapshot was not read: %+v", facts.Source)
	}
}

func TestGatherFailsIfTheClaimCannotBeRead(t *testing.T) {
	c := newCluster(t)
	c.fail("get", "persistentvolumeclaims", forbidden("persistentvolumeclaims"))
	if _, err := c.Gather(t.Context(), "shop", "data"); err == nil || !strings.Contains(err.Error(), "read claim shop/data: ") {
		t.Errorf("got %v", err)
	}
}

func TestGatherLooksAroundForAClaimThatIsNotThere(t *testing.T) {
	c := newCluster(t)
	facts, err := c.Gather(t.Context(), "shop", "dta")
	if err != nil {
		t.Fatal(err)
	}
	if facts.Claim != nil || facts.Missing.Namespace.Sight != Seen ||
		!slices.Equal(facts.Missing.Others.Value, []string{"data"}) || !slices.Equal(facts.Missing.Elsewhere.Value, []string{"prod"}) {
		t.Errorf("got %+v", facts.Missing)
	}
	facts, err = c.Gather(t.Context(), "nowhere", "dta")
	if err != nil || facts.Missing.Namespace.Sight != Absent {
		t.Errorf("got %+v, %v, want a namespace that is absent", facts.Missing.Namespace, err)
	}
}

func TestGatherOfADeletedClaimLooksAtWhatHoldsItsVolume(t *testing.T) {
	c := newCluster(t, deleting, func(f *Facts) {
		f.Claim.Finalizers = []string{finalizerInUse}
		f.Claim.Spec.VolumeName = f.VolumeName
	})
	held, other := attachment("n1"), attachment("n2")
	held.Name, other.Name, other.Spec.Source.PersistentVolumeName = "held", "other", new("another")
	about := event("Normal", "VolumeStillAttached", "n1", time.Second, 1)
	about.ObjectMeta, about.InvolvedObject.UID = metav1.ObjectMeta{Namespace: "default", Name: "about"}, "volume"
	for _, object := range []runtime.Object{volume(), &held, &other, &about} {
		if err := c.core.Tracker().Add(object); err != nil {
			t.Fatal(err)
		}
	}
	facts, err := c.Gather(t.Context(), "shop", "data")
	if err != nil {
		t.Fatal(err)
	}
	if len(facts.Attachments.Value) != 1 || len(facts.VolumeEvents.Value) != 1 || len(facts.Pods.Value) != 1 {
		t.Errorf("got %d attachments, %d events and %d Pods, want one each", len(facts.Attachments.Value), len(facts.VolumeEvents.Value), len(facts.Pods.Value))
	}
	if facts.Nodes.Sight != NotLooked || facts.Rooms.Sight != NotLooked {
		t.Error("it has looked at nodes and capacity, which do not matter any more")
	}
}

func TestGatherOfAnInTreeClass(t *testing.T) {
	c := newCluster(t, func(f *Facts) {
		f.Class.Value.Provisioner = "kubernetes.io/aws-ebs"
		f.Claim.Annotations[volumehelpers.AnnStorageProvisioner] = "kubernetes.io/aws-ebs"
	})
	facts, err := c.Gather(t.Context(), "shop", "data")
	if err != nil || facts.Driver != "ebs.csi.aws.com" || facts.InTree != "kubernetes.io/aws-ebs" {
		t.Errorf("driver is %q, in-tree %q, %v", facts.Driver, facts.InTree, err)
	}
}

func TestManyReadsSoManyPagesAndNoMore(t *testing.T) {
	pages := func(failAt int, err error) (read func(context.Context, metav1.ListOptions) (page[int], error), asked *int) {
		asked = new(int)
		return func(_ context.Context, options metav1.ListOptions) (page[int], error) {
			if *asked++; *asked == failAt {
				return page[int]{}, err
			}
			return page[int]{items: []int{*asked, -*asked}, next: "more"}, nil
		}, asked
	}
	tests := map[string]struct {
		failAt int
		err    error
		want   Look[[]int]
		asked  int
		unseen int
	}{
		"up to the limit":                       {0, nil, Look[[]int]{Sight: Seen, Value: []int{1, 2, 3}, Partial: true}, 3, 0},
		"a page that fails leaves those before": {2, errors.New("expired"), Look[[]int]{Sight: Seen, Value: []int{1}, Partial: true}, 2, 0},
		"a first page that fails":               {1, errors.New("no"), Look[[]int]{Sight: Hidden}, 1, 1},
		"an API that is not served":             {1, apierrors.NewNotFound(schema.GroupResource{}, ""), Look[[]int]{Sight: Seen, Value: []int{}}, 1, 0},
		"no time":                               {1, context.DeadlineExceeded, Look[[]int]{Sight: Hidden}, 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := &reads{}
			read, asked := pages(tt.failAt, tt.err)
			got := many(t.Context(), r, "numbers", 3, metav1.ListOptions{}, read, func(n *int) bool { return *n > 0 })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if *asked != tt.asked || len(r.unseen) != tt.unseen {
				t.Errorf("%d pages were read and %d things not seen, want %d and %d", *asked, len(r.unseen), tt.asked, tt.unseen)
			}
			if tt.unseen > 0 && errors.Is(tt.err, context.DeadlineExceeded) && r.unseen[0].Why != unseenEnded {
				t.Errorf("it says %q", r.unseen[0].Why)
			}
		})
	}
}
