package datasource

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
)

func marshal(tb testing.TB, object any) string {
	tb.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// object is what can be read of a text; nil if it says so. What cannot be read is left out, which makes odd objects.
func object[T any](text string) *T {
	var o *T
	_ = json.Unmarshal([]byte(text), &o)
	return o
}

func checkVerdict(t *testing.T, verdict Verdict) {
	t.Helper()
	switch verdict.Decision {
	case Allow:
		if verdict != allow() {
			t.Errorf("allowed for a reason: %s", verdict)
		}
	case Deny, Unknown:
		if verdict.Reason == "" || verdict.Message == "" {
			t.Errorf("%s without a reason or a message: %+v", verdict.Decision, verdict)
		}
	default:
		t.Errorf("decision %d", verdict.Decision)
	}
}

func FuzzResolve(f *testing.F) {
	group := new(snapshotv1.GroupName)
	for _, claim := range []*corev1.PersistentVolumeClaim{
		nil, makeClaim(),
		makeClaim(dataSource(group, "VolumeSnapshot", "snap")),
		makeClaim(dataSource(nil, "PersistentVolumeClaim", "source")),
		makeClaim(dataSourceRef(group, "VolumeSnapshot", "snap", new("far"))),
		makeClaim(dataSource(nil, "VolumeSnapshot", "")),
		makeClaim(dataSourceRef(new("example.com"), "PersistentVolumeClaim", "x", new(""))),
	} {
		f.Add(marshal(f, claim))
	}
	f.Fuzz(func(t *testing.T, text string) {
		claim := object[corev1.PersistentVolumeClaim](text)
		before := claim.DeepCopy()
		reference, verdict := Resolve(claim)
		checkVerdict(t, verdict)
		if claim == nil {
			return
		}
		if diff := cmp.Diff(before, claim); diff != "" {
			t.Errorf("the claim was changed: %s", diff)
		}
		given := claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil
		switch {
		case verdict.Decision == Unknown:
			t.Errorf("of a claim that is there all is known: %s", verdict.Message)
		case (reference != Reference{}) && !given:
			t.Errorf("%v out of nothing", reference)
		case verdict.Decision == Allow && given != (reference.Kind != None):
			t.Errorf("given: %t, got %v", given, reference)
		case verdict.Decision == Allow && given && reference.Name == "":
			t.Errorf("allowed without a name: %v", reference)
		case reference.Kind == Snapshot && reference.Group != snapshotv1.GroupName, reference.Kind == Clone && reference.Group != "":
			t.Errorf("of a wrong group: %v", reference)
		case !reference.CrossNamespace && given && reference.Namespace != claim.Namespace:
			t.Errorf("another namespace in secret: %v", reference)
		}
	})
}

// Facts that would be allowed, with some flaws, and with a JSON text read over each of their objects.
func FuzzJudge(f *testing.F) {
	for _, text := range []string{
		"", "{}", `{"status":null}`, `{"spec":null}`, `{"metadata":{"name":"","uid":null,"annotations":null}}`,
		`{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["` + FinalizerSnapshot + `"]}}`,
		`{"metadata":{"annotations":{"` + AnnotationAllowModeChange + `":"maybe"}},"spec":{"volumeMode":"Block"}}`,
		`{"spec":{"resources":{"requests":{"storage":"-1"}}},"status":{"restoreSize":"1e30"}}`,
		`{"spec":{"dataSourceRef":{"kind":"Backup","apiGroup":"example.com","name":"x","namespace":"ns"}}}`,
		`{"status":{"boundVolumeSnapshotContentName":"","error":{"message":"m"},"snapshotHandle":"","phase":""}}`,
		`{"spec":{"csi":{"volumeHandle":""},"claimRef":null,"volumeSnapshotRef":{},"sourceVolumeMode":"","from":[],"to":null}}`,
		`[null,{"metadata":{"namespace":"far"},"spec":{"from":[{"kind":"PersistentVolumeClaim","namespace":"ns"}],"to":[{"name":"x"}]}}]`,
		marshal(f, makeClaim()), marshal(f, makeSnapshot()), marshal(f, makeContent()), marshal(f, makeSource()), marshal(f, makeVolume()),
	} {
		for _, kind := range []Kind{Snapshot, Clone} {
			f.Add(int(kind), uint32(0), text)
			f.Add(int(kind), uint32(1<<15), text) // of another mode
		}
	}
	f.Add(int(None), uint32(0), "")
	f.Add(int(Populator), ^uint32(0), "null")
	f.Fuzz(func(t *testing.T, kind int, spoiled uint32, text string) {
		facts, flaws := fromSnapshot(farAway), snapshotFlaws()
		if Kind(kind) == Clone {
			facts, flaws = fromClaim(farAwayClone), cloneFlaws()
		}
		for i, flaw := range slices.Backward(flaws) {
			if spoiled&(1<<i) != 0 {
				flaw.spoil(&facts)
			}
		}
		facts.PreventModeConversion = spoiled>>31 == 0
		for _, object := range []any{
			&facts.Claim, &facts.Snapshot, &facts.Content, &facts.SourceClaim, &facts.SourceVolume, &facts.Grants,
		} {
			_ = json.Unmarshal([]byte(text), object) // what cannot be read is left as it was
		}
		if reference, verdict := Resolve(facts.Claim); verdict.Decision == Allow && reference.Kind != None {
			facts.Reference = reference
		} else { // nobody keeps a caller from a reference that does not fit
			facts.Reference.Kind = Kind(kind)
		}
		checkFacts(t, facts)
	})
}

// checkFacts checks what holds for all facts.
func checkFacts(t *testing.T, facts Facts) {
	t.Helper()
	verdict, mode, source := Judge(facts), CheckVolumeMode(facts), SourceOf(facts)
	checkVerdict(t, verdict)
	checkVerdict(t, mode)
	if verdict.Decision == Allow && mode.Decision == Deny {
		t.Errorf("the guard allows what early feedback denies: %s", mode.Message)
	}
	fromSomething := facts.Reference.Kind == Snapshot || facts.Reference.Kind == Clone
	if verdict.Decision == Allow && ((source.SnapshotHandle != "") != (facts.Reference.Kind == Snapshot) ||
		(source.VolumeHandle != "") != (facts.Reference.Kind == Clone)) {
		t.Errorf("from %s, but the driver is told %+v", facts.Reference, source)
	}
	if verdict.Decision != Allow && !fromSomething && facts.Reference.Kind == None {
		t.Errorf("an empty volume was not allowed: %s", verdict.Message)
	}
	if again := Judge(facts); again != verdict {
		t.Errorf("judged twice: %s, then %s", sketch(verdict), sketch(again))
	}
}
