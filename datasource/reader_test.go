package datasource

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclientset "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	snapshotfake "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned/fake"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	gatewayfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"
)

// noSuchAPI is what a client makes of the page that it gets for a path nobody serves.
func noSuchAPI(resource schema.GroupResource, name string) error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, "get", resource, name, "404 page not found", 0, true)
}

// failing has a client answer one verb on one resource with an error.
func failing(client *clienttesting.Fake, verb, resource string, err error) {
	client.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
}

// newSnapshotClient makes a fake client of the snapshot API.
func newSnapshotClient(objects ...runtime.Object) *snapshotfake.Clientset {
	return snapshotfake.NewSimpleClientset(objects...) //nolint:staticcheck // this clientset has no other constructor
}

// world is a cluster in which all sources of the builders are.
type world struct {
	core      *fake.Clientset
	snapshots *snapshotfake.Clientset
	grants    *gatewayfake.Clientset
}

func makeWorld() world {
	return world{
		fake.NewClientset(makeSource(), makeVolume()),
		newSnapshotClient(makeSnapshot(), makeContent()),
		gatewayfake.NewClientset(makeGrant()),
	}
}

func (w world) gather(t *testing.T, reference Reference) (Facts, error) {
	t.Helper()
	return NewReader(ReaderConfig{Client: w.core, Snapshots: w.snapshots, Grants: NewGrantWatch(w.grants, 0)}).Gather(t.Context(), reference)
}

var (
	snapshotReference = Reference{Kind: Snapshot, Namespace: "ns", Name: "snap", Group: snapshotv1.GroupName, ResourceKind: "VolumeSnapshot"}
	cloneReference    = Reference{Kind: Clone, Namespace: "ns", Name: "source", ResourceKind: "PersistentVolumeClaim"}
)

func TestGather(t *testing.T) {
	absent, far := snapshotReference, snapshotReference
	absent.Name = "absent"
	far.Namespace, far.CrossNamespace = "far", true
	absentClaim := cloneReference
	absentClaim.Name = "absent"
	unbound := makeSource()
	unbound.Name, unbound.Spec.VolumeName = "unbound", ""
	unboundClaim := cloneReference
	unboundClaim.Name = "unbound"
	snapshots := snapshotv1.Resource("volumesnapshots")
	contents := snapshotv1.Resource("volumesnapshotcontents")
	grants := gatewayv1beta1.Resource("referencegrants")
	tests := map[string]struct {
		reference Reference
		change    func(world)
		want      Facts
	}{
		"no data source": {Reference{}, nil, Facts{}},
		"a populator":    {Reference{Kind: Populator, Namespace: "ns", Name: "x"}, nil, Facts{}},
		"a snapshot":     {snapshotReference, nil, Facts{SnapshotsServed: true, Snapshot: makeSnapshot(), Content: makeContent()}},
		"no snapshot":    {absent, nil, Facts{SnapshotsServed: true}},
		"a snapshot that is not bound": {snapshotReference, func(w world) {
			snapshot := makeSnapshot()
			snapshot.Status = nil
			_ = w.snapshots.Tracker().Update(snapshotv1.SchemeGroupVersion.WithResource("volumesnapshots"), snapshot, "ns")
		}, func() Facts {
			snapshot := makeSnapshot()
			snapshot.Status = nil
			return Facts{SnapshotsServed: true, Snapshot: snapshot}
		}()},
		"no content": {snapshotReference, func(w world) {
			_ = w.snapshots.Tracker().Delete(snapshotv1.SchemeGroupVersion.WithResource("volumesnapshotcontents"), "", "content")
		}, Facts{SnapshotsServed: true, Snapshot: makeSnapshot()}},
		"no snapshot API": {snapshotReference, func(w world) {
			failing(&w.snapshots.Fake, "get", "volumesnapshots", noSuchAPI(snapshots, "snap"))
		}, Facts{}},
		"no snapshot API, as a mapper says it": {snapshotReference, func(w world) {
			failing(&w.snapshots.Fake, "get", "volumesnapshots", &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "VolumeSnapshot"}})
		}, Facts{}},
		"no snapshot API, by somebody between who names nothing": {snapshotReference, func(w world) {
			failing(&w.snapshots.Fake, "get", "volumesnapshots", &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Code: 404}})
		}, Facts{}},
		"no snapshot API, by somebody between who names the kind": {snapshotReference, func(w world) {
			failing(&w.snapshots.Fake, "get", "volumesnapshots", apierrors.NewNotFound(snapshots, ""))
		}, Facts{}},
		"no API of contents": {snapshotReference, func(w world) {
			failing(&w.snapshots.Fake, "get", "volumesnapshotcontents", noSuchAPI(contents, "content"))
		}, Facts{Snapshot: makeSnapshot()}},
		"a claim and its volume": {cloneReference, nil, Facts{SourceClaim: makeSource(), SourceVolume: makeVolume()}},
		"no claim":               {absentClaim, nil, Facts{}},
		"a claim without a volume": {unboundClaim, func(w world) {
			_ = w.core.Tracker().Add(unbound)
			failing(&w.core.Fake, "get", "persistentvolumes", errors.New("there is none to ask for"))
		}, Facts{SourceClaim: unbound}},
		"a claim whose volume went": {cloneReference, func(w world) {
			_ = w.core.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("persistentvolumes"), "", "pv")
		}, Facts{SourceClaim: makeSource()}},
		"another namespace": {far, nil, Facts{SnapshotsServed: true, GrantsServed: true, Grants: []*gatewayv1beta1.ReferenceGrant{makeGrant()}}},
		"another namespace, and no API of grants": {far, func(w world) {
			failing(&w.grants.Fake, "list", "referencegrants", noSuchAPI(grants, ""))
		}, Facts{SnapshotsServed: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			world := makeWorld()
			if tt.change != nil {
				tt.change(world)
			}
			got, err := world.gather(t, tt.reference)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatCannotBeReadIsAnErrorAndNotAFact(t *testing.T) {
	far := snapshotReference
	far.Namespace, far.CrossNamespace = "far", true
	tests := map[string]struct {
		reference Reference
		fail      func(world, error)
		want      string
	}{
		"the snapshot": {snapshotReference, func(w world, err error) { failing(&w.snapshots.Fake, "get", "volumesnapshots", err) }, "read VolumeSnapshot ns/snap: "},
		"its content": {snapshotReference, func(w world, err error) { failing(&w.snapshots.Fake, "get", "volumesnapshotcontents", err) },
			`read VolumeSnapshotContent "content" of VolumeSnapshot ns/snap: `},
		"the claim": {cloneReference, func(w world, err error) { failing(&w.core.Fake, "get", "persistentvolumeclaims", err) },
			"read PersistentVolumeClaim ns/source: "},
		"its volume": {cloneReference, func(w world, err error) { failing(&w.core.Fake, "get", "persistentvolumes", err) },
			`read PersistentVolume "pv" of PersistentVolumeClaim ns/source: `},
		"the grants": {far, func(w world, err error) { failing(&w.grants.Fake, "list", "referencegrants", err) },
			`list ReferenceGrants of namespace "far": `},
	}
	for name, tt := range tests {
		for _, cause := range []error{
			errors.New("connection refused"),
			apierrors.NewForbidden(schema.GroupResource{}, "x", errors.New("no right")),
		} {
			t.Run(name+": "+cause.Error(), func(t *testing.T) {
				world := makeWorld()
				tt.fail(world, cause)
				got, err := world.gather(t, tt.reference)
				if err == nil || err.Error() != tt.want+cause.Error() || !errors.Is(err, cause) {
					t.Errorf("got %v, want %s%v", err, tt.want, cause)
				}
				if diff := cmp.Diff(Facts{}, got); diff != "" {
					t.Errorf("facts with an error: %s", diff)
				}
			})
		}
	}
}

func TestNobodyAsksForGrantsWithTheGateOff(t *testing.T) {
	world := makeWorld()
	far := snapshotReference
	far.Namespace, far.CrossNamespace = "far", true
	got, err := NewReader(ReaderConfig{Client: world.core, Snapshots: world.snapshots}).Gather(t.Context(), far)
	if diff := cmp.Diff(Facts{SnapshotsServed: true}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// A real client against the two kinds of 404 that a real API server gives.
func TestAMissingAPIIsNotAMissingObject(t *testing.T) {
	object := apierrors.NewNotFound(snapshotv1.Resource("volumesnapshots"), "snap").Status()
	object.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	tests := map[string]struct {
		answer http.HandlerFunc
		served bool
	}{
		"no such API": {http.NotFound, false},
		"no such object": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(object)
		}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.answer)
			defer server.Close()
			client, err := snapshotclientset.NewForConfig(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			got, err := NewReader(ReaderConfig{Snapshots: client}).Gather(t.Context(), snapshotReference)
			if diff := cmp.Diff(Facts{SnapshotsServed: tt.served}, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

func TestAServerThatHangsIsGivenUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, served, err := live(t.Context(), func(ctx context.Context) (*corev1.PersistentVolume, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || served || time.Since(start) != 30*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}

func TestFactsAreEnoughToJudge(t *testing.T) {
	tests := map[string]Facts{"a snapshot": fromSnapshot(), "a clone": fromClaim()}
	for name, facts := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := makeWorld().gather(t, facts.Reference)
			if err != nil {
				t.Fatal(err)
			}
			got.Claim, got.Reference, got.Driver, got.Capabilities = facts.Claim, facts.Reference, facts.Driver, facts.Capabilities
			got.PreventModeConversion = facts.PreventModeConversion
			if verdict := sketch(Judge(got)); !strings.HasPrefix(verdict, "allow") {
				t.Error(verdict)
			}
		})
	}
}
