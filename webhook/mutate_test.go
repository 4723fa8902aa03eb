package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/topology"
)

// sketch is a result in a line.
func sketch(result Result) string {
	var b strings.Builder
	switch result := result.(type) {
	case Admit:
		b.WriteString(result.Reason)
		for _, change := range result.Changes {
			if change.Remove {
				b.WriteString(" -" + change.Key)
			} else {
				b.WriteString(" " + change.Key + "=" + change.Value)
			}
		}
		for _, text := range result.Warnings {
			b.WriteString(" | " + text)
		}
		for key, value := range result.Audit {
			b.WriteString(" [" + key + ": " + value + "]")
		}
	case Refuse:
		b.WriteString("refused: " + result.Reason + ": " + result.Message)
	}
	return b.String()
}

func TestMutate(t *testing.T) {
	const both = " " + keyGA + "=driver.example " + keyBeta + "=driver.example"
	plain := func(facts *MutateFacts) {}
	class := func(changes ...func(*MutateFacts)) func(*MutateFacts) {
		return func(facts *MutateFacts) {
			for _, change := range changes {
				change(facts)
			}
		}
	}
	ofOther := func(facts *MutateFacts) { facts.Class = makeClass(classOf("other.example")) }
	unknown := func(facts *MutateFacts) { facts.Class = nil }
	delayed := func(facts *MutateFacts) { facts.Class = makeClass(waitForFirstConsumer) }
	rooms := func(rooms ...topology.Room) func(*MutateFacts) {
		return func(facts *MutateFacts) { facts.Rooms = rooms }
	}
	volumes := func(volumes ...*corev1.PersistentVolume) func(*MutateFacts) {
		return func(facts *MutateFacts) { facts.Volumes = volumes }
	}
	updated := func(changes ...claimChange) func(*MutateFacts) {
		return func(facts *MutateFacts) { facts.Old = makeClaim(changes...) }
	}
	tests := map[string]struct {
		claim *corev1.PersistentVolumeClaim
		facts func(*MutateFacts)
		want  string
	}{
		"a claim of our class is given to the driver":        {makeClaim(), plain, "Annotated" + both},
		"and so is one that waits for its first Pod":         {makeClaim(), delayed, "Annotated" + both},
		"the class may be in the old annotation":             {makeClaim(withoutClass, annotated(corev1.BetaStorageClassAnnotation, "fast")), plain, "Annotated" + both},
		"only the key that is missing is written":            {makeClaim(annotated(keyGA, testDriver)), plain, "Annotated " + keyBeta + "=driver.example"},
		"another driver's name is replaced":                  {makeClaim(annotated(keyGA, "old.example", keyBeta, testDriver)), plain, "Annotated " + keyGA + "=driver.example"},
		"nothing is left to write the second time":           {makeClaim(annotated(keyGA, testDriver, keyBeta, testDriver)), plain, "AlreadyAnnotated"},
		"a claim without a class is left alone":              {makeClaim(withoutClass), unknown, "NoStorageClass"},
		"a claim that wants no class is left alone":          {makeClaim(ofClass("")), unknown, "NoStorageClass"},
		"a class that nobody knows is left alone":            {makeClaim(), unknown, "StorageClassUnknown"},
		"another driver's class is left alone":               {makeClaim(), ofOther, "OtherProvisioner"},
		"and so is what it says of a hint":                   {makeClaim(annotated(keyHint, "nonsense")), ofOther, "OtherProvisioner"},
		"our name on another driver's claim is taken back":   {makeClaim(annotated(keyGA, testDriver, keyBeta, testDriver)), ofOther, "AnnotationRemoved -" + keyGA + " -" + keyBeta},
		"only our name is":                                   {makeClaim(annotated(keyGA, testDriver, keyBeta, "other.example")), ofOther, "AnnotationRemoved -" + keyGA},
		"not on an update, which may be the binder's":        {makeClaim(annotated(keyGA, testDriver)), class(ofOther, updated()), "OtherProvisioner"},
		"an in-tree class is the controller-manager's":       {makeClaim(annotated(keyGA, testDriver)), func(facts *MutateFacts) { facts.Class = makeClass(classOf("kubernetes.io/tree")) }, "InTreeProvisioner"},
		"an in-tree class that was not taken over is others": {makeClaim(), func(facts *MutateFacts) { facts.Class = makeClass(classOf("kubernetes.io/bush")) }, "OtherProvisioner"},
		"a claim that names its volume is left alone":        {makeClaim(boundTo("pv")), plain, "VolumeNamed"},
		"a claim with a selector is left alone":              {makeClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.Selector = &metav1.LabelSelector{} }), plain, "VolumeSelector"},
		"a volume populator's claim is left alone":           {makeClaim(fromPopulator), plain, "VolumePopulator"},
		"a source that nobody could follow is left alone":    {makeClaim(fromSnapshot, func(claim *corev1.PersistentVolumeClaim) { claim.Spec.DataSource.Name = "" }), plain, "InvalidDataSource"},
		"a claim that is being deleted is left alone":        {makeClaim(deleting), plain, "Deleting"},
		"a volume that would do is in play":                  {makeClaim(), volumes(makeVolume()), "StaticVolume"},
		"one that would not do is not":                       {makeClaim(requesting("2Gi")), volumes(makeVolume()), "Annotated" + both},
		"a restore is given to the driver":                   {makeClaim(fromSnapshot), plain, "Annotated" + both},
		"a clone is given to the driver":                     {makeClaim(fromClaim), plain, "Annotated" + both},

		"an update that gives the class is like a creation": {makeClaim(), updated(withoutClass), "Annotated" + both},
		"an update that had a class is none":                {makeClaim(), updated(), "NothingNew"},
		"an update that gets no class is none":              {makeClaim(withoutClass), class(unknown, updated(withoutClass)), "NoStorageClass"},

		"a place with room is a hint":              {makeClaim(), rooms(room("a", 1), room("b", 4)), "AnnotatedWithHint" + both + " " + keyHint + "=v1;zone=b;zone=a"},
		"the scheduler needs none":                 {makeClaim(), class(delayed, rooms(room("a", 1))), "Annotated" + both},
		"a driver without topology needs none":     {makeClaim(), class(rooms(room("a", 1)), func(facts *MutateFacts) { facts.Topology = false }), "Annotated" + both},
		"a hint that somebody wrote is kept":       {makeClaim(annotated(keyHint, "v1;zone=c")), rooms(room("a", 1)), "Annotated" + both},
		"no place with room is said":               {makeClaim(requesting("8Gi")), rooms(room("a", 1)), "Annotated" + both + ` | no place of storage class "fast" is known to have room for this claim: provisioning may have to wait`},
		"a place outside the allowed ones is none": {makeClaim(), class(rooms(room("a", 9), room("b", 4)), func(facts *MutateFacts) { facts.Class = makeClass(allowedZones("b")) }), "AnnotatedWithHint" + both + " " + keyHint + "=v1;zone=b"},
		"a restore goes where its source is":       {makeClaim(fromSnapshot), class(rooms(room("a", 9)), func(facts *MutateFacts) { facts.Source = []topology.Segment{zone("b")} }), "AnnotatedWithHint" + both + " " + keyHint + "=v1;zone=b"},
		"within the allowed places": {makeClaim(fromClaim), func(facts *MutateFacts) {
			facts.Source, facts.Class = []topology.Segment{zone("b"), zone("c")}, makeClass(allowedZones("c"))
		}, "AnnotatedWithHint" + both + " " + keyHint + "=v1;zone=c"},
		"a restore of nobody knows where has none":   {makeClaim(fromSnapshot), rooms(room("a", 9)), "Annotated" + both},
		"a hint that cannot be read is refused":      {makeClaim(annotated(keyHint, "zone=a")), plain, "refused: InvalidTopologyHint: annotation driver.example/topology-hint is no topology hint: it begins with \"zone=a\" and not with the version \"v1\", as in \"v1;zone=a;zone=b\"; correct it, or leave it out to have segments chosen that have room"},
		"and so is one of a claim for the scheduler": {makeClaim(annotated(keyHint, "v1;zone")), delayed, "refused: InvalidTopologyHint: annotation driver.example/topology-hint is no topology hint: \"zone\" in it is not of the form key=value; correct it, or leave it out to have segments chosen that have room"},
		"an update may not break a hint":             {makeClaim(annotated(keyHint, "v1;")), updated(annotated(keyHint, "v1;zone=a")), "refused: InvalidTopologyHint: annotation driver.example/topology-hint is no topology hint: it names no segment, as in \"v1;zone=a;zone=b\"; correct it, or leave it out to have segments chosen that have room"},
		"a hint for the scheduler is idle":           {makeClaim(annotated(keyHint, "v1;zone=a")), delayed, "Annotated" + both + ` | annotation driver.example/topology-hint has no effect: with storage class "fast" the scheduler chooses the place`},
		"and so is one that is not allowed":          {makeClaim(annotated(keyHint, "v1;zone=a;zone=c")), func(facts *MutateFacts) { facts.Class = makeClass(allowedZones("b")) }, "Annotated" + both + ` | annotation driver.example/topology-hint has no effect: storage class "fast" allows none of its segments`},
		"but not one that is in part":                {makeClaim(annotated(keyHint, "v1;zone=a;zone=b")), func(facts *MutateFacts) { facts.Class = makeClass(allowedZones("b")) }, "Annotated" + both},
		"an update may leave a broken one":           {makeClaim(annotated(keyHint, "v1;")), updated(annotated(keyHint, "v1;")), "NothingNew"},

		"a source that the API server may drop is warned of": {makeClaim(fromFarSnapshot), plain, "Annotated" + both +
			" | spec.dataSourceRef.namespace takes the feature gate CrossNamespaceVolumeDataSource: an API server that has it off drops spec.dataSourceRef, and the volume will be empty"},
		"not where the gate is on": {makeClaim(fromFarSnapshot), func(facts *MutateFacts) { facts.CrossNamespace = true }, "Annotated" + both},
		"not for other drivers":    {makeClaim(fromFarSnapshot), ofOther, "OtherProvisioner"},

		"a claim full of annotations is left alone": {makeClaim(annotated("a", strings.Repeat("x", maxAnnotations-100))), plain, "AnnotationsFull"},
		"a hint that does not fit is left out":      {makeClaim(annotated("a", strings.Repeat("x", maxAnnotations-150))), rooms(room("a", 1)), "Annotated" + both},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			facts := MutateFacts{Driver: testDriver, InTree: "kubernetes.io/tree", Topology: true, SpreadBy: tt.claim.Name, Class: makeClass()}
			tt.facts(&facts)
			before := tt.claim.DeepCopy()
			if diff := cmp.Diff(tt.want, sketch(Mutate(tt.claim, facts))); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, tt.claim); diff != "" {
				t.Errorf("the claim was changed: %s", diff)
			}
		})
	}
}

func TestMutateTakesAVolumeReservedForTheClaimItIs(t *testing.T) {
	claim := makeClaim()
	claim.UID = "uid"
	facts := MutateFacts{Driver: testDriver, Class: makeClass(), Old: makeClaim(withoutClass), Volumes: []*corev1.PersistentVolume{makeVolume(claimedBy("data", "uid"))}}
	if got := sketch(Mutate(claim, facts)); got != ReasonStaticVolume {
		t.Errorf("got %s", got)
	}
	if got := sketch(Mutate(claim, MutateFacts{Driver: testDriver})); got != ReasonClassUnknown {
		t.Errorf("without facts: %s", got)
	}
}
