package webhook

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1listers "k8s.io/client-go/listers/core/v1"
	storagev1listers "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/static"
	"github.com/berth-csi/berth/topology"
)

const (
	testDriver = "driver.example"
	keyGA      = "volume.kubernetes.io/storage-provisioner"
	keyBeta    = "volume.beta.kubernetes.io/storage-provisioner"
	keyHint    = "driver.example/topology-hint"
)

// makeClaim is a claim of 1Gi in class "fast" that is about to be created.
func makeClaim(changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new("fast"),
			VolumeMode:       new(corev1.PersistentVolumeFilesystem),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	for _, change := range changes {
		change(claim)
	}
	return claim
}

type claimChange = func(*corev1.PersistentVolumeClaim)

func annotated(pairs ...string) claimChange {
	return func(claim *corev1.PersistentVolumeClaim) {
		if claim.Annotations == nil {
			claim.Annotations = map[string]string{}
		}
		for i := 0; i < len(pairs); i += 2 {
			claim.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func ofClass(name string) claimChange {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = &name }
}

func withoutClass(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = nil }

func called(name string) claimChange {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Name = name }
}

func requesting(size string) claimChange {
	return func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(size)
	}
}

func ofMode(mode corev1.PersistentVolumeMode) claimChange {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeMode = &mode }
}

func boundTo(volume string) claimChange {
	return func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.VolumeName, claim.Status.Phase = volume, corev1.ClaimBound
	}
}

func fromSnapshot(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: new(snapshotv1.GroupName), Kind: "VolumeSnapshot", Name: "snap"}
}

func fromClaim(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "source"}
}

func fromPopulator(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: new("books.example"), Kind: "Shelf", Name: "novels"}
}

func fromFarSnapshot(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: new(snapshotv1.GroupName), Kind: "VolumeSnapshot", Name: "snap", Namespace: new("far")}
}

func objectName(namespace, name string) cache.ObjectName { return cache.NewObjectName(namespace, name) }

func deletion() *metav1.Time { return new(metav1.NewTime(time.Unix(1, 0))) }

func deleting(claim *corev1.PersistentVolumeClaim) { claim.DeletionTimestamp = deletion() }

// makeClass is class "fast" of the driver, with Immediate binding.
func makeClass(changes ...func(*storagev1.StorageClass)) *storagev1.StorageClass {
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: testDriver, VolumeBindingMode: new(storagev1.VolumeBindingImmediate),
	}
	for _, change := range changes {
		change(class)
	}
	return class
}

func classOf(provisioner string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) { class.Provisioner = provisioner }
}

func waitForFirstConsumer(class *storagev1.StorageClass) {
	class.VolumeBindingMode = new(storagev1.VolumeBindingWaitForFirstConsumer)
}

func allowedZones(zones ...string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		class.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
			{Key: "zone", Values: zones}}}}
	}
}

// makeVolume is an Available volume of 1Gi in class "fast".
func makeVolume(changes ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv"},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "fast",
			VolumeMode:       new(corev1.PersistentVolumeFilesystem),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadOnlyMany},
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable},
	}
	for _, change := range changes {
		change(volume)
	}
	return volume
}

type volumeChange = func(*corev1.PersistentVolume)

func inPhase(phase corev1.PersistentVolumePhase) volumeChange {
	return func(volume *corev1.PersistentVolume) { volume.Status.Phase = phase }
}

func claimedBy(name string, uid types.UID) volumeChange {
	return func(volume *corev1.PersistentVolume) {
		volume.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: name, UID: uid}
	}
}

// of makes it a volume of a driver, accessible from some segments.
func of(driver string, segments ...topology.Segment) volumeChange {
	return func(volume *corev1.PersistentVolume) {
		volume.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "handle"}
		volume.Spec.NodeAffinity = topology.NodeAffinity(segments)
	}
}

// makeSource is the claim "source" with its volume in zone b.
func makeSource(changes ...claimChange) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	claim := makeClaim(append([]claimChange{called("source"), boundTo("pv-source")}, changes...)...)
	claim.UID = "source-uid"
	volume := makeVolume(claimedBy("source", "source-uid"), inPhase(corev1.VolumeBound), of(testDriver, zone("b")))
	volume.Name, volume.Spec.VolumeMode = "pv-source", claim.Spec.VolumeMode
	return claim, volume
}

// makeSnapshot is the snapshot "snap" of the claim "source", taken of a volume of that mode; empty: nobody knows.
func makeSnapshot(mode corev1.PersistentVolumeMode) (*snapshotv1.VolumeSnapshot, *snapshotv1.VolumeSnapshotContent) {
	snapshot := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "snap", UID: "snap-uid"},
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: new("source")}},
		Status: &snapshotv1.VolumeSnapshotStatus{
			BoundVolumeSnapshotContentName: new("content"), ReadyToUse: new(true), RestoreSize: new(resource.MustParse("1Gi")),
		},
	}
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "content"},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: testDriver, VolumeSnapshotRef: corev1.ObjectReference{Namespace: "ns", Name: "snap", UID: "snap-uid"},
		},
		Status: &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: new("handle")},
	}
	if mode != "" {
		content.Spec.SourceVolumeMode = &mode
	}
	return snapshot, content
}

func zone(name string) topology.Segment { return topology.NewSegment(map[string]string{"zone": name}) }

// room is a zone with so many GiB free, for volumes of any size up to that.
func room(name string, gib int64) topology.Room {
	return topology.Room{Segment: zone(name), Free: gib << 30, Largest: gib << 30}
}

// published is the object that says so.
func published(class, name string, gib int64) *storagev1.CSIStorageCapacity {
	return &storagev1.CSIStorageCapacity{
		ObjectMeta:       metav1.ObjectMeta{Namespace: "berth", Name: class + "-" + name},
		StorageClassName: class,
		NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{"zone": name}},
		Capacity:         resource.NewQuantity(gib<<30, resource.BinarySI),
	}
}

// watched is what a watch knows of one kind of object; nil: it does not watch.
type watched[T any] map[string]*T

func (w watched[T]) find(name string) (*T, bool, error) { return w[name], w != nil, nil }

type snapshotsWatched struct {
	watched[snapshotv1.VolumeSnapshot]
}

func (w snapshotsWatched) Get(namespace, name string) (*snapshotv1.VolumeSnapshot, bool, error) {
	return w.find(namespace + "/" + name)
}

type contentsWatched struct {
	watched[snapshotv1.VolumeSnapshotContent]
}

func (w contentsWatched) Get(name string) (*snapshotv1.VolumeSnapshotContent, bool, error) {
	return w.find(name)
}

type grantsWatched struct {
	synced bool
	all    []*gatewayv1beta1.ReferenceGrant
}

func (g grantsWatched) Synced() bool { return g.synced }

func (g grantsWatched) List(context.Context, string) ([]*gatewayv1beta1.ReferenceGrant, bool, error) {
	return g.all, true, nil
}

// liveSources answers live reads.
type liveSources func(context.Context, datasource.Reference) (datasource.Facts, error)

func (l liveSources) Gather(ctx context.Context, reference datasource.Reference) (datasource.Facts, error) {
	return l(ctx, reference)
}

// noLiveReads fails a test that reads the API server.
func noLiveReads(tb testing.TB) Sources {
	tb.Helper()
	return liveSources(func(_ context.Context, reference datasource.Reference) (datasource.Facts, error) {
		tb.Errorf("%s was read live", reference)
		return datasource.Facts{}, nil
	})
}

// cached are Lookups over real indexers that hold these objects.
func cached(tb testing.TB, objects ...any) Lookups {
	tb.Helper()
	classes := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
	claims := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	volumes := cache.NewIndexer(cache.MetaNamespaceKeyFunc, static.Indexers())
	rooms := &RoomIndex{classes: map[string]*classRooms{}}
	snapshots, contents := watched[snapshotv1.VolumeSnapshot]{}, watched[snapshotv1.VolumeSnapshotContent]{}
	for _, object := range objects {
		var err error
		switch object := object.(type) {
		case *storagev1.StorageClass:
			err = classes.Add(object)
		case *corev1.PersistentVolumeClaim:
			err = claims.Add(object)
		case *corev1.PersistentVolume:
			err = volumes.Add(object)
		case *storagev1.CSIStorageCapacity:
			rooms.replace(nil, object)
		case *snapshotv1.VolumeSnapshot:
			snapshots[object.Namespace+"/"+object.Name] = object
		case *snapshotv1.VolumeSnapshotContent:
			contents[object.Name] = object
		default:
			tb.Fatalf("no cache for a %T", object)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return Lookups{
		Classes: storagev1listers.NewStorageClassLister(classes),
		Claims:  corev1listers.NewPersistentVolumeClaimLister(claims),
		Volumes: static.Over(volumes), Rooms: rooms, Sources: noLiveReads(tb),
		Snapshots: snapshotsWatched{snapshots}, Contents: contentsWatched{contents},
	}
}

func testConfig(lookups Lookups) Config {
	return Config{Driver: testDriver, Topology: func() bool { return true }, PreventModeConversion: true, Lookups: lookups}
}

func marshal(tb testing.TB, object any) []byte {
	tb.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// reviewOf is a review of an object's creation, or of its update from old.
func reviewOf(kind metav1.GroupVersionKind, object, old []byte) *admissionv1.AdmissionReview {
	request := &admissionv1.AdmissionRequest{UID: "review-uid", Kind: kind, Operation: admissionv1.Create, Namespace: "ns"}
	request.Object.Raw = object
	if old != nil {
		request.Operation, request.OldObject.Raw = admissionv1.Update, old
	}
	return &admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: request}
}

func kindClaim() metav1.GroupVersionKind {
	return metav1.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}
}

func kindContent() metav1.GroupVersionKind {
	return metav1.GroupVersionKind{Group: "snapshot.storage.k8s.io", Version: "v1", Kind: "VolumeSnapshotContent"}
}

func post(handler http.Handler, path string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path+"?timeout=10s", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// ask has an object reviewed, and checks the answer as the API server does.
func ask(tb testing.TB, handler http.Handler, path string, review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
	tb.Helper()
	return checkedAnswer(tb, path, review.Request.UID, post(handler, path, marshal(tb, review)))
}

// checkedAnswer holds an answer to what the API server demands (apiserver, VerifyAdmissionResponse): a violation would be a failed call.
func checkedAnswer(tb testing.TB, path string, uid types.UID, w *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	tb.Helper()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		tb.Fatalf("status %d, %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil {
		tb.Fatal(err)
	}
	response := review.Response
	switch {
	case review.APIVersion != "admission.k8s.io/v1" || review.Kind != "AdmissionReview":
		tb.Fatalf("the answer is a %s of %s", review.Kind, review.APIVersion)
	case response == nil || response.UID != uid:
		tb.Fatalf("the answer is not to this request: %s", w.Body)
	case (len(response.Patch) > 0) != (response.PatchType != nil):
		tb.Fatalf("patch and patch type go together: %s", w.Body)
	case response.PatchType != nil && (*response.PatchType != admissionv1.PatchTypeJSONPatch || path != PathMutateClaim || !response.Allowed):
		tb.Fatalf("no patch is expected here: %s", w.Body)
	case !response.Allowed && (response.Result == nil || response.Result.Message == "" || response.Result.Code < 400):
		tb.Fatalf("refused without a word: %s", w.Body)
	}
	total := 0
	for _, text := range response.Warnings {
		total += len([]rune(text))
		if text == "" || strings.ContainsAny(text, "\n\r\x00") {
			tb.Errorf("warning %q does not fit a header", text)
		}
	}
	if total > 4096 {
		tb.Errorf("%d characters of warnings", total)
	}
	return response
}

// What app has to hand.
var (
	_ Sources   = (*datasource.Reader)(nil)
	_ Snapshots = (*datasource.SnapshotWatch)(nil)
	_ Grants    = (*datasource.GrantWatch)(nil)
)

// asLive answers live reads with what caches know.
func (l Lookups) asLive(ctx context.Context, reference datasource.Reference) (datasource.Facts, error) {
	if facts := l.cached(ctx, reference); facts != nil {
		return *facts, nil
	}
	return datasource.Facts{}, nil
}
