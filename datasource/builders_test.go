package datasource

import (
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
)

const testDriver = "driver.example"

func storage(size string) corev1.VolumeResourceRequirements {
	return corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}}
}

// makeClaim is a claim of 2Gi in namespace "ns" without a data source.
func makeClaim(changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data", UID: "claim-uid"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new("fast"), VolumeMode: new(corev1.PersistentVolumeFilesystem), Resources: storage("2Gi"),
		},
	}
	for _, change := range changes {
		change(claim)
	}
	return claim
}

func dataSource(group *string, kind, name string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: group, Kind: kind, Name: name}
	}
}

func dataSourceRef(group *string, kind, name string, namespace *string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: group, Kind: kind, Name: name, Namespace: namespace}
	}
}

// makeSnapshot is a snapshot of 1Gi that can be restored from.
func makeSnapshot() *snapshotv1.VolumeSnapshot {
	return &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "snap", UID: "snap-uid"},
		Status: &snapshotv1.VolumeSnapshotStatus{
			BoundVolumeSnapshotContentName: new("content"), ReadyToUse: new(true), RestoreSize: new(resource.MustParse("1Gi")),
		},
	}
}

func makeContent() *snapshotv1.VolumeSnapshotContent {
	return &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "content", Annotations: map[string]string{}},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: testDriver, SourceVolumeMode: new(corev1.PersistentVolumeFilesystem),
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: "ns", Name: "snap", UID: "snap-uid"},
		},
		Status: &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: new("snapshot-handle")},
	}
}

// makeSource is a claim of 1Gi that can be cloned.
func makeSource() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "source", UID: "source-uid"},
		Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: new("slow"), VolumeName: "pv", Resources: storage("1Gi")},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
}

func makeVolume() *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv"},
		Spec: corev1.PersistentVolumeSpec{
			ClaimRef: &corev1.ObjectReference{Namespace: "ns", Name: "source", UID: "source-uid"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: testDriver, VolumeHandle: "volume-handle"}},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
	}
}

func makeGrant(changes ...func(*gatewayv1beta1.ReferenceGrant)) *gatewayv1beta1.ReferenceGrant {
	grant := &gatewayv1beta1.ReferenceGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: "far", Name: "grant"},
		Spec: gatewayv1beta1.ReferenceGrantSpec{
			From: []gatewayv1beta1.ReferenceGrantFrom{{Group: "", Kind: "PersistentVolumeClaim", Namespace: "ns"}},
			To:   []gatewayv1beta1.ReferenceGrantTo{{Group: snapshotv1.GroupName, Kind: "VolumeSnapshot"}},
		},
	}
	for _, change := range changes {
		change(grant)
	}
	return grant
}

// fromSnapshot is a claim that may be made from a snapshot.
func fromSnapshot(changes ...func(*Facts)) Facts {
	return makeFacts(Facts{
		Claim:           makeClaim(dataSource(new(snapshotv1.GroupName), "VolumeSnapshot", "snap")),
		SnapshotsServed: true, Snapshot: makeSnapshot(), Content: makeContent(),
	}, changes...)
}

// fromClaim is a claim that may be cloned from another one.
func fromClaim(changes ...func(*Facts)) Facts {
	return makeFacts(Facts{
		Claim:       makeClaim(dataSource(nil, "PersistentVolumeClaim", "source")),
		SourceClaim: makeSource(), SourceVolume: makeVolume(),
	}, changes...)
}

func makeFacts(facts Facts, changes ...func(*Facts)) Facts {
	facts.Reference, _ = Resolve(facts.Claim)
	facts.Driver = testDriver
	facts.Capabilities = Capabilities{Snapshot: true, Clone: true}
	facts.PreventModeConversion = true
	for _, change := range changes {
		change(&facts)
	}
	return facts
}

// farAway moves the snapshot to another namespace, with the gate on and a grant.
func farAway(facts *Facts) {
	facts.Claim = makeClaim(dataSourceRef(new(snapshotv1.GroupName), "VolumeSnapshot", "snap", new("far")))
	facts.Reference, _ = Resolve(facts.Claim)
	facts.Snapshot.Namespace, facts.Content.Spec.VolumeSnapshotRef.Namespace = "far", "far"
	facts.CrossNamespace, facts.GrantsServed = true, true
	facts.Grants = []*gatewayv1beta1.ReferenceGrant{makeGrant()}
}

func deletion() *metav1.Time { return new(metav1.NewTime(time.Unix(1, 0))) }

// sketch is a verdict in a line.
func sketch(verdict Verdict) string {
	if verdict == (Verdict{Decision: Allow}) {
		return "allow"
	}
	return verdict.Decision.String() + " " + verdict.Reason + ": " + verdict.Message
}

// judged is one row of a check's table: the facts, how the verdict's sketch begins, and what its message must name.
type judged struct {
	facts Facts
	want  string
	names []string
}

func runJudged(t *testing.T, check Check, tests map[string]judged) {
	t.Helper()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := sketch(check(tt.facts))
			if !strings.HasPrefix(got, tt.want) {
				t.Fatalf("got %s\nwant %s", got, tt.want)
			}
			for _, text := range tt.names {
				if !strings.Contains(got, text) {
					t.Errorf("%s\ndoes not name %s", got, text)
				}
			}
		})
	}
}
