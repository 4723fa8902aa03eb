package explain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/datasource"
)

func TestDiagnoseNamesWhatWasNotSeen(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"what could not be seen is named": {
			facts: situation(func(f *Facts) {
				f.Unseen = []Unseen{{What: "the Nodes", Why: "x", Forbidden: true}, {What: "the Pods", Why: "the server\nis gone"}}
			}),
			found: []string{"unknown not seen", "unknown not seen"},
			tells: []string{"Could not look at the Nodes (permission).", "Could not look at the Pods (the server is gone)."},
		},
	})
}

// diagnosed is what is to be said of facts.
type diagnosed struct {
	facts   Facts
	verdict string   // what comes after "Claim shop/data is "; empty: other cases show it
	found   []string // "severity about", of all findings but information, in their order
	tells   []string // somewhere in the texts
	do      []string // somewhere in what to do
}

// diagnoses runs a table of cases.
func diagnoses(t *testing.T, tests map[string]diagnosed) {
	t.Helper()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			untouched := tt.facts.Claim.DeepCopy()
			findings := Diagnose(tt.facts)
			if diff := cmp.Diff(untouched, tt.facts.Claim); diff != "" {
				t.Errorf("the claim was changed:\n%s", diff)
			}
			var found []string
			var texts, steps strings.Builder
			for _, finding := range findings[1:] {
				fmt.Fprintln(&texts, finding.Text)
				if finding.Severity != Info {
					found = append(found, string(finding.Severity)+" "+finding.About)
				}
				if finding.Severity == Problem && finding.Do == "" {
					t.Errorf("nobody is told what to do about %q", finding.Text)
				}
			}
			fmt.Fprintln(&steps, strings.Join(advice(findings), "\n"))
			if want := "Claim shop/data is " + tt.verdict; tt.verdict != "" && findings[0].Text != want {
				t.Errorf("verdict:\n got %s\nwant %s", findings[0].Text, want)
			}
			if diff := cmp.Diff(tt.found, found); diff != "" {
				t.Errorf("findings (-want +got):\n%s\n%s", diff, texts.String())
			}
			for _, want := range tt.tells {
				if !strings.Contains(texts.String(), want) {
					t.Errorf("nothing tells %q:\n%s", want, texts.String())
				}
			}
			for _, want := range tt.do {
				if !strings.Contains(steps.String(), want) {
					t.Errorf("what to do lacks %q:\n%s", want, steps.String())
				}
			}
		})
	}
}

func unregistered(f *Facts) { f.Nodes = seen([]NodeFacts{{Name: "n1"}}) }

func leases(leases ...coordinationv1.Lease) func(*Facts) {
	return func(f *Facts) { f.Leases = seen(leases) }
}

func attributes(class Look[*storagev1.VolumeAttributesClass]) func(*Facts) {
	return func(f *Facts) {
		f.Claim.Spec.VolumeAttributesClassName = new("gold")
		f.AttributesClass = class
	}
}

func inTree(f *Facts) {
	f.InTree, f.Class.Value.Provisioner = "kubernetes.io/example", "kubernetes.io/example"
	f.Claim.Annotations[volumehelpers.AnnStorageProvisioner] = f.InTree
}

// unbound: the volume's object was written, and the claim does not say so yet.
func unbound(since time.Duration) func(*Facts) {
	return func(f *Facts) {
		f.Volume = seen(volume())
		f.Volume.Value.CreationTimestamp = at(since)
		f.Volume.Value.Status = corev1.PersistentVolumeStatus{}
	}
}

func manyRooms(n int) []storagev1.CSIStorageCapacity {
	var rooms []storagev1.CSIStorageCapacity
	for i := range n {
		rooms = append(rooms, roomIn(fmt.Sprintf("z%02d", i), "20Gi", ""))
	}
	return rooms
}

func TestDiagnoseOfAClaimThatIsNotThere(t *testing.T) {
	tests := map[string]struct {
		missing Missing
		verdict string
		tells   []string
		do      string
	}{
		"a name like another": {
			Missing{Namespace: seen(&metav1.PartialObjectMetadata{}), Others: seen([]string{"date", "logs", "data-web-0"})},
			"Claim shop/data does not exist.", []string{`Namespace "shop" has data-web-0, date.`}, "If you meant data-web-0, ask for that.",
		},
		"a claim of another namespace": {
			Missing{Namespace: seen(&metav1.PartialObjectMetadata{}), Others: seen([]string{"logs"}), Elsewhere: seen([]string{"prod"})},
			"Claim shop/data does not exist.",
			[]string{`Namespace "shop" has 1 claim, none of a similar name.`, `A claim "data" exists in namespace prod.`}, `If you meant the one in namespace "prod", ask for prod/data.`,
		},
		"a namespace that does not exist": {
			Missing{Namespace: Look[*metav1.PartialObjectMetadata]{Sight: Absent}, Others: seen([]string{})},
			`Claim shop/data does not exist: there is no namespace "shop".`, nil, "kubectl get pvc -A",
		},
		"a namespace with too many claims to look at": {
			Missing{Others: Look[[]string]{Sight: Seen, Value: []string{"a", "b"}, Partial: true}},
			"Claim shop/data does not exist.", []string{`None of the first 2 claims of namespace "shop" has a similar name.`}, "kubectl get pvc -A",
		},
		"nothing may be listed": {
			Missing{Namespace: Look[*metav1.PartialObjectMetadata]{Sight: Hidden}, Others: Look[[]string]{Sight: Hidden}},
			"Claim shop/data does not exist.", nil, "kubectl get pvc -A",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			findings := Diagnose(Facts{Now: three, Namespace: "shop", Name: "data", Missing: tt.missing})
			if findings[0].Text != tt.verdict || findings[0].Severity != Problem || findings[0].About != aboutVerdict {
				t.Errorf("verdict is %+v, want %q", findings[0], tt.verdict)
			}
			var texts []string
			for _, finding := range findings[1:] {
				texts = append(texts, finding.Text)
			}
			if !slices.Equal(texts, tt.tells) {
				t.Errorf("it tells %q, want %q", texts, tt.tells)
			}
			if !strings.Contains(findings[0].Do, tt.do) {
				t.Errorf("what to do is %q, want %q", findings[0].Do, tt.do)
			}
		})
	}
}

// TestDiagnoseIsTotal gives it facts with as little in them as can be: whatever is missing, there is an answer.
func TestDiagnoseIsTotal(t *testing.T) {
	objects := []*corev1.PersistentVolumeClaim{
		{}, {Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("x"), VolumeName: "y"}},
		{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}, Finalizers: []string{finalizerInUse, ""}}},
		{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{volumehelpers.AnnSelectedNode: "n"}}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("x")}},
		{Spec: corev1.PersistentVolumeClaimSpec{DataSource: &corev1.TypedLocalObjectReference{Kind: "VolumeSnapshot", APIGroup: new(snapshotv1.GroupName), Name: "s"}}},
	}
	for i, claim := range objects {
		for _, sight := range []Sight{NotLooked, Seen, Absent, Hidden} {
			facts := Facts{
				Claim: claim, Driver: "d", Journal: Look[JournalFacts]{Sight: sight}, Leases: Look[[]coordinationv1.Lease]{Sight: sight},
				Nodes: Look[[]NodeFacts]{Sight: sight}, Rooms: Look[[]storagev1.CSIStorageCapacity]{Sight: sight}, Pods: Look[[]corev1.Pod]{Sight: sight},
				Events: Look[[]corev1.Event]{Sight: sight}, Source: Look[datasource.Facts]{Sight: sight}, Node: Look[map[string]string]{Sight: sight},
				Class: Look[*storagev1.StorageClass]{Sight: sight}, CSINode: Look[*storagev1.CSINode]{Sight: sight}, Volume: Look[*corev1.PersistentVolume]{Sight: sight},
			}
			if sight == Seen {
				facts.Class.Value, facts.CSINode.Value, facts.Volume.Value = &storagev1.StorageClass{}, &storagev1.CSINode{}, &corev1.PersistentVolume{}
			}
			if findings := Diagnose(facts); len(findings) == 0 || findings[0].About != aboutVerdict || findings[0].Text == "" {
				t.Errorf("claim %d, sight %d: there is no verdict in %+v", i, sight, findings)
			}
		}
	}
}
