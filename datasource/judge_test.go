package datasource

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// flaw is a way to break one check.
type flaw struct {
	reason string
	spoil  func(*Facts)
}

// snapshotFlaws and cloneFlaws break the checks of fromSnapshot(farAway) and fromClaim(farAwayClone), in the promised order. Several
// are to be applied from the last to the first.
func snapshotFlaws() []flaw {
	return append(commonFlaws(), []flaw{
		{ReasonSnapshotsNotSupported, func(f *Facts) { f.Capabilities.Snapshot = false }},
		{ReasonSnapshotsNotServed, func(f *Facts) { f.SnapshotsServed = false }},
		{ReasonSnapshotNotFound, func(f *Facts) { f.Snapshot = nil }},
		{ReasonSnapshotDeleting, func(f *Facts) { f.Snapshot.DeletionTimestamp = deletion() }},
		{ReasonSnapshotNotBound, func(f *Facts) { f.Snapshot.Status.BoundVolumeSnapshotContentName = nil }},
		{ReasonContentNotFound, func(f *Facts) { f.Content = nil }},
		{ReasonContentMismatch, func(f *Facts) { f.Content.Spec.VolumeSnapshotRef.UID = "other" }},
		{ReasonOtherDriver, func(f *Facts) { f.Content.Spec.Driver = "other" }},
		{ReasonSnapshotNotReady, func(f *Facts) { f.Snapshot.Status.ReadyToUse = nil }},
		{ReasonSnapshotHandleMissing, func(f *Facts) { f.Content.Status = nil }},
		{ReasonRequestTooSmall, func(f *Facts) { f.Snapshot.Status.RestoreSize = new(resource.MustParse("3Gi")) }},
		{ReasonVolumeModeDiffers, func(f *Facts) { f.Content.Spec.SourceVolumeMode = new(corev1.PersistentVolumeBlock) }},
	}...)
}

func cloneFlaws() []flaw {
	return append(commonFlaws(), []flaw{
		{ReasonClonesNotSupported, func(f *Facts) { f.Capabilities.Clone = false }},
		{ReasonSourceClaimNotFound, func(f *Facts) { f.SourceClaim = nil }},
		{ReasonSourceClaimNotBound, func(f *Facts) { f.SourceClaim.Status.Phase = corev1.ClaimLost }},
		{ReasonSourceClaimDeleting, func(f *Facts) { f.SourceClaim.DeletionTimestamp = deletion() }},
		{ReasonNoStorageClass, func(f *Facts) { f.SourceClaim.Spec.StorageClassName = nil }},
		{ReasonRequestTooSmall, func(f *Facts) { f.SourceClaim.Spec.Resources = storage("3Gi") }},
		{ReasonSourceVolumeNotFound, func(f *Facts) { f.SourceVolume = nil }},
		{ReasonSourceVolumeNotCSI, func(f *Facts) { f.SourceVolume.Spec.CSI = nil }},
		{ReasonOtherDriver, func(f *Facts) { f.SourceVolume.Spec.CSI.Driver = "other" }},
		{ReasonSourceVolumeMismatch, func(f *Facts) { f.SourceVolume.Spec.ClaimRef = nil }},
		{ReasonSourceVolumeNotBound, func(f *Facts) { f.SourceVolume.Status.Phase = corev1.VolumeReleased }},
		{ReasonVolumeModeDiffers, func(f *Facts) { f.SourceVolume.Spec.VolumeMode = new(corev1.PersistentVolumeBlock) }},
	}...)
}

func commonFlaws() []flaw {
	return []flaw{
		{ReasonNoClaim, func(f *Facts) { f.Claim = nil }},
		{ReasonCrossNamespaceDisabled, func(f *Facts) { f.CrossNamespace = false }},
		{ReasonGrantsNotServed, func(f *Facts) { f.GrantsServed = false }},
		{ReasonNotGranted, func(f *Facts) { f.Grants = nil }},
	}
}

// Each flaw hides all that come after it.
func TestTheFirstFlawDecides(t *testing.T) {
	tests := map[string]struct {
		facts func() Facts
		flaws []flaw
	}{
		"a snapshot": {func() Facts { return fromSnapshot(farAway) }, snapshotFlaws()},
		"a clone":    {func() Facts { return fromClaim(farAwayClone) }, cloneFlaws()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketch(Judge(tt.facts())); got != "allow" {
				t.Fatalf("without a flaw: %s", got)
			}
			for i, flaw := range tt.flaws {
				facts := tt.facts()
				for _, later := range slices.Backward(tt.flaws[i:]) {
					later.spoil(&facts)
				}
				if got := Judge(facts); got.Reason != flaw.reason {
					t.Errorf("got %s, want %s", sketch(got), flaw.reason)
				}
			}
		})
	}
}

// farAwayClone moves the source claim to another namespace, with the gate on and a grant.
func farAwayClone(facts *Facts) {
	facts.Claim = makeClaim(dataSourceRef(nil, "PersistentVolumeClaim", "source", new("far")))
	facts.Reference, _ = Resolve(facts.Claim)
	facts.SourceClaim.Namespace, facts.SourceVolume.Spec.ClaimRef.Namespace = "far", "far"
	facts.CrossNamespace, facts.GrantsServed = true, true
	grant := makeGrant()
	grant.Spec.To[0].Group, grant.Spec.To[0].Kind = "", "PersistentVolumeClaim"
	facts.Grants = append(facts.Grants, grant)
}

func TestJudgeOfOtherKinds(t *testing.T) {
	tests := map[string]struct {
		reference Reference
		want      string
	}{
		"no data source":                   {Reference{}, "allow"},
		"a populator is neither":           {Reference{Kind: Populator, Namespace: "ns", Name: "x", Group: "example.com", ResourceKind: "Backup"}, "unknown VolumePopulator: the claim's volume is expected from a volume populator for Backup.example.com ns/x"},
		"a populator in another namespace": {Reference{Kind: Populator, Namespace: "far", CrossNamespace: true}, "unknown VolumePopulator"},
		"a kind that nobody knows":         {Reference{Kind: 99}, "unknown VolumePopulator"},
		"a snapshot of which nothing is":   {Reference{Kind: Snapshot}, "unknown NoClaim"},
		"a clone of which nothing is":      {Reference{Kind: Clone}, "unknown NoClaim"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketch(Judge(Facts{Reference: tt.reference})); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestTheZeroVerdictAllowsNothingAndRefusesNobody(t *testing.T) {
	if got := (Verdict{}).Decision; got != Unknown {
		t.Errorf("got %s", got)
	}
}

func TestSourceOf(t *testing.T) {
	tests := map[string]struct {
		facts Facts
		want  Source
	}{
		"no data source":                       {Facts{}, Source{}},
		"a snapshot":                           {fromSnapshot(), Source{SnapshotHandle: "snapshot-handle"}},
		"a clone":                              {fromClaim(), Source{VolumeHandle: "volume-handle"}},
		"a populator":                          {Facts{Reference: Reference{Kind: Populator}}, Source{}},
		"a snapshot of which nothing is known": {Facts{Reference: Reference{Kind: Snapshot}}, Source{}},
		"a clone of which nothing is known":    {Facts{Reference: Reference{Kind: Clone}}, Source{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, SourceOf(tt.facts)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
