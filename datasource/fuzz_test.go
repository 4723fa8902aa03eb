package datasource

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
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

func FuzzJudge(f *testing.F) {
	add := func(facts Facts, switches uint8) {
		f.Add(marshal(f, facts.Claim), marshal(f, facts.Snapshot), marshal(f, facts.Content), marshal(f, facts.SourceClaim),
			marshal(f, facts.SourceVolume), marshal(f, facts.Grants), switches)
	}
	add(fromSnapshot(), 0xff)
	add(fromSnapshot(farAway), 0xff)
	add(fromClaim(), 0xff)
	add(fromClaim(farAwayClone), 0xff)
	add(fromSnapshot(permit("maybe"), claimMode(new(corev1.PersistentVolumeBlock))), 0xff)
	add(fromSnapshot(requests("-1"), restoreSize("1e30")), 0xff)
	add(Facts{}, 0)
	add(Facts{Claim: makeClaim(dataSource(new("example.com"), "Backup", "x"))}, 0)
	f.Fuzz(func(t *testing.T, claim, snapshot, content, sourceClaim, sourceVolume, grants string, switches uint8) {
		facts := Facts{
			Claim:                 object[corev1.PersistentVolumeClaim](claim),
			Driver:                testDriver,
			Capabilities:          Capabilities{Snapshot: switches&1 != 0, Clone: switches&2 != 0},
			CrossNamespace:        switches&4 != 0,
			PreventModeConversion: switches&8 != 0,
			SnapshotsServed:       switches&16 != 0,
			GrantsServed:          switches&32 != 0,
			Snapshot:              object[snapshotv1.VolumeSnapshot](snapshot),
			Content:               object[snapshotv1.VolumeSnapshotContent](content),
			SourceClaim:           object[corev1.PersistentVolumeClaim](sourceClaim),
			SourceVolume:          object[corev1.PersistentVolume](sourceVolume),
		}
		if list := object[[]*gatewayv1beta1.ReferenceGrant](grants); list != nil {
			facts.Grants = *list
		}
		facts.Reference, _ = Resolve(facts.Claim)
		if switches&64 == 0 { // nobody keeps a caller from a reference that does not fit
			facts.Reference.Kind = Kind(switches>>7) + Snapshot
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
