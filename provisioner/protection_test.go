package provisioner

import (
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/datasource"
)

// marked puts our finalizer on an object, after somebody else's.
func marked(object metav1.Object, finalizer string) {
	object.SetFinalizers([]string{"other.example/finalizer", finalizer})
}

func markedSnapshot(snapshot *snapshotv1.VolumeSnapshot) {
	marked(snapshot, datasource.FinalizerSnapshot)
}

func markedClaim(claim *corev1.PersistentVolumeClaim) { marked(claim, datasource.FinalizerClaim) }

func snapshotGoes(snapshot *snapshotv1.VolumeSnapshot) {
	snapshot.DeletionTimestamp = new(metav1.Now())
}

func TestWhichSourcesAreReleased(t *testing.T) {
	snapshot := func(changes ...func(*snapshotv1.VolumeSnapshot)) ReleaseInput {
		facts := *snapshotFacts()
		facts.Snapshot = makeSnapshot(append([]func(*snapshotv1.VolumeSnapshot){markedSnapshot}, changes...)...)
		return ReleaseInput{Driver: testDriver, Facts: facts, Kind: datasource.Snapshot}
	}
	clone := func(changes ...func(*corev1.PersistentVolumeClaim)) ReleaseInput {
		facts := *claimFacts()
		facts.SourceClaim = makeSource(append([]func(*corev1.PersistentVolumeClaim){markedClaim}, changes...)...)
		return ReleaseInput{Driver: testDriver, Facts: facts, Kind: datasource.Clone}
	}
	with := func(in ReleaseInput, change func(*ReleaseInput)) ReleaseInput {
		change(&in)
		return in
	}
	noContent := func(in *ReleaseInput) { in.Facts.Content = nil }
	othersContent := func(in *ReleaseInput) {
		in.Facts.Content = makeContent(func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.Driver = "other" })
	}
	noVolume := func(in *ReleaseInput) { in.Facts.SourceVolume = nil }
	othersVolume := func(in *ReleaseInput) {
		in.Facts.SourceVolume = makeSourceVolume(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "other" })
	}
	waiting := func(in *ReleaseInput) { in.Waiting = 1 }
	tests := map[string]struct {
		in  ReleaseInput
		why string // empty: it is released
	}{
		"a snapshot nobody waits for":                   {snapshot(), ""},
		"a snapshot that goes":                          {snapshot(snapshotGoes), ""},
		"a snapshot that goes, without its content":     {with(snapshot(snapshotGoes), noContent), ""},
		"a snapshot that is gone":                       {ReleaseInput{Driver: testDriver, Kind: datasource.Snapshot}, "it is gone"},
		"a snapshot without our finalizer":              {snapshot(func(s *snapshotv1.VolumeSnapshot) { s.Finalizers = []string{datasource.FinalizerClaim} }), "it is not protected"},
		"a snapshot that claims wait for":               {with(snapshot(), waiting), "claims wait to be made from it"},
		"a snapshot that goes while claims wait for it": {with(snapshot(snapshotGoes), waiting), "claims wait to be made from it"},
		"a snapshot of nobody knows which driver":       {with(snapshot(), noContent), "nobody knows whose it is"},
		"another driver's snapshot":                     {with(snapshot(), othersContent), "it is another driver's"},
		"another driver's snapshot that goes":           {with(snapshot(snapshotGoes), othersContent), "it is another driver's"},

		"a claim nobody waits for":               {clone(), ""},
		"a claim that goes":                      {clone(deleting), ""},
		"a claim that goes, without its volume":  {with(clone(deleting), noVolume), ""},
		"a claim that is gone":                   {ReleaseInput{Driver: testDriver, Kind: datasource.Clone}, "it is gone"},
		"a claim without our finalizer":          {clone(func(c *corev1.PersistentVolumeClaim) { c.Finalizers = []string{datasource.FinalizerSnapshot} }), "it is not protected"},
		"a claim that clones wait for":           {with(clone(), waiting), "claims wait to be made from it"},
		"a claim of nobody knows which driver":   {with(clone(), noVolume), "nobody knows whose it is"},
		"a claim whose volume is not CSI's":      {with(clone(), func(in *ReleaseInput) { in.Facts.SourceVolume.Spec.CSI = nil }), "nobody knows whose it is"},
		"a claim of another driver":              {with(clone(), othersVolume), "it is another driver's"},
		"a claim of another driver that goes":    {with(clone(deleting), othersVolume), "it is another driver's"},
		"what a populator fills from":            {ReleaseInput{Driver: testDriver, Kind: datasource.Populator}, "it is gone"},
		"nothing":                                {ReleaseInput{Driver: testDriver}, "it is gone"},
		"facts of a snapshot, asked for a claim": {with(snapshot(), func(in *ReleaseInput) { in.Kind = datasource.Clone }), "it is gone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			release, why := MayRelease(tt.in)
			if release != (tt.why == "") || why != tt.why {
				t.Errorf("got %v, %q; want %q", release, why, tt.why)
			}
		})
	}
}
