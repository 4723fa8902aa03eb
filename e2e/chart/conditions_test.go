package chart

import (
	"context"
	"strings"
	"testing"

	celgo "github.com/google/cel-go/cel"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
)

// minimum is the Kubernetes that Chart.yaml asks for at least: expressions have to compile there.
const minimum = "1.30"

// change is what somebody does to an object; without old it is created.
type change struct{ old, object runtime.Object }

type nobody struct{}

func (nobody) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionNoOpinion, "", nil
}

// called asks the API server's own code whether a webhook would be called.
func called(t *testing.T, w hook, c change) bool {
	t.Helper()
	conditions := cel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	matcher := webhook.NewValidatingWebhookAccessor("", w.configuration, &w.ValidatingWebhook).GetCompiledMatcher(conditions)
	kind := corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim")
	resource := corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	if _, ok := c.object.(*snapshotv1.VolumeSnapshotContent); ok {
		kind = snapshotv1.SchemeGroupVersion.WithKind("VolumeSnapshotContent")
		resource = snapshotv1.SchemeGroupVersion.WithResource("volumesnapshotcontents")
	}
	operation := admission.Create
	if c.old != nil {
		operation = admission.Update
	}
	attributes := &admission.VersionedAttributes{
		Attributes:    admission.NewAttributesRecord(c.object, c.old, kind, "shop", "data", resource, "", operation, nil, false, &user.DefaultInfo{Name: "somebody"}),
		VersionedKind: kind,
	}
	attributes.VersionedObject.Set(c.object)
	if c.old != nil {
		attributes.VersionedOldObject.Set(c.old)
	}
	result := matcher.Match(t.Context(), attributes, nil, nobody{})
	if result.Error != nil {
		t.Fatalf("%s: %v", w.Name, result.Error)
	}
	return result.Matches
}

func claim(edits ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data"},
		Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: new("pool")},
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

func classless(c *corev1.PersistentVolumeClaim)  { c.Spec.StorageClassName = nil }
func staticOnly(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = new("") }
func named(c *corev1.PersistentVolumeClaim)      { c.Spec.VolumeName = "pv" }
func deleting(c *corev1.PersistentVolumeClaim)   { c.DeletionTimestamp = &metav1.Time{} }
func selecting(c *corev1.PersistentVolumeClaim) {
	c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
}

func annotated(key, value string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { metav1.SetMetaDataAnnotation(&c.ObjectMeta, key, value) }
}

func from(kind string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) {
		c.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: kind, Name: "source"}
	}
}

// fromBefore is a data source as only the older field has it, which is all that a mutating webhook may see.
func fromBefore(kind string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) {
		c.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: kind, Name: "source"}
	}
}

const (
	olderClass = corev1.BetaStorageClassAnnotation
	hint       = "pool.csi.example.com/topology-hint"
	allowance  = "snapshot.storage.kubernetes.io/allow-volume-mode-change"
)

func TestClaimsThatAreReviewed(t *testing.T) {
	bound := func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pvc-1" }
	tests := map[string]struct {
		change
		mutate, validate bool
	}{
		"a new claim":                              {change{nil, claim()}, true, false},
		"a new claim of the older annotation":      {change{nil, claim(classless, annotated(olderClass, "pool"))}, true, false},
		"a new claim without a class":              {change{nil, claim(classless)}, false, false},
		"a new claim for static volumes":           {change{nil, claim(staticOnly)}, false, false},
		"a new claim of a named volume":            {change{nil, claim(named)}, false, false},
		"a new claim that selects":                 {change{nil, claim(selecting)}, false, false},
		"a restore":                                {change{nil, claim(from("VolumeSnapshot"))}, true, true},
		"a clone":                                  {change{nil, claim(from("PersistentVolumeClaim"))}, true, true},
		"a clone by the older field":               {change{nil, claim(fromBefore("PersistentVolumeClaim"))}, true, true},
		"a restore without a class":                {change{nil, claim(classless, from("VolumeSnapshot"))}, false, false},
		"a populator's":                            {change{nil, claim(from("Database"))}, true, false},
		"a class that is filled in":                {change{claim(classless), claim()}, true, false},
		"a class of a restore that is filled in":   {change{claim(classless, from("VolumeSnapshot")), claim(from("VolumeSnapshot"))}, true, true},
		"a claim that is bound":                    {change{claim(), claim(bound)}, false, false},
		"a label or another annotation":            {change{claim(), claim(annotated("a", "b"))}, false, false},
		"a larger request":                         {change{claim(bound), claim(bound, annotated("a", "b"))}, false, false},
		"a hint that is written":                   {change{claim(), claim(annotated(hint, "v1:"))}, true, false},
		"a hint that stays":                        {change{claim(annotated(hint, "x")), claim(annotated(hint, "x"), annotated("a", "b"))}, false, false},
		"a selected node":                          {change{claim(from("VolumeSnapshot")), claim(from("VolumeSnapshot"), annotated("volume.kubernetes.io/selected-node", "n"))}, false, false},
		"a claim that is being deleted":            {change{claim(classless), claim(deleting)}, false, false},
		"a restore that is given up":               {change{claim(classless, from("VolumeSnapshot")), claim(from("VolumeSnapshot"), deleting)}, false, false},
		"a class by annotation that is taken away": {change{claim(annotated(olderClass, "pool")), claim(annotated(olderClass, ""))}, false, false},
	}
	all := hooks(t, rendered(t, leastValues))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := called(t, all["claims.mutate.pool.csi.example.com"], tt.change); got != tt.mutate {
				t.Errorf("the mutating webhook: %v", got)
			}
			if got := called(t, all["claims.validate.pool.csi.example.com"], tt.change); got != tt.validate {
				t.Errorf("the validating webhook: %v", got)
			}
		})
	}
}

func content(edits ...func(*snapshotv1.VolumeSnapshotContent)) *snapshotv1.VolumeSnapshotContent {
	c := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "content"},
		Spec:       snapshotv1.VolumeSnapshotContentSpec{Driver: "pool.csi.example.com"},
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

func TestContentsThatAreReviewed(t *testing.T) {
	type edit = func(*snapshotv1.VolumeSnapshotContent)
	mode := func(mode corev1.PersistentVolumeMode) edit {
		return func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.SourceVolumeMode = &mode }
	}
	allowed := func(value string) edit {
		return func(c *snapshotv1.VolumeSnapshotContent) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, allowance, value)
		}
	}
	labelled := func(c *snapshotv1.VolumeSnapshotContent) { c.Labels = map[string]string{"a": "b"} }
	other := func(c *snapshotv1.VolumeSnapshotContent) { c.Spec.Driver = "other" }
	going := func(c *snapshotv1.VolumeSnapshotContent) { c.DeletionTimestamp = &metav1.Time{} }
	tests := map[string]struct {
		change
		want bool
	}{
		"a new one":                     {change{nil, content()}, false},
		"a new one with its mode":       {change{nil, content(mode("Block"))}, false},
		"a new one with an annotation":  {change{nil, content(allowed(""))}, true},
		"one of another driver":         {change{nil, content(allowed("yes"), other)}, false},
		"a mode that is set":            {change{content(), content(mode("Block"))}, true},
		"a mode that is taken away":     {change{content(mode("Block")), content()}, true},
		"a mode that stays":             {change{content(mode("Block")), content(mode("Block"), labelled)}, false},
		"an annotation that is set":     {change{content(), content(allowed("true"))}, true},
		"an annotation that is changed": {change{content(allowed("true")), content(allowed("maybe"))}, true},
		"an annotation that stays":      {change{content(allowed("maybe")), content(allowed("maybe"), labelled)}, false},
		"something else":                {change{content(), content(labelled)}, false},
		"a mode of one that is going":   {change{content(), content(mode("Block"), going)}, false},
	}
	w := hooks(t, rendered(t, leastValues))["contents.validate.pool.csi.example.com"]
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := called(t, w, tt.change); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestConditionsCompileInTheOldestCluster: what an API server accepts as new has to be in the language of that version.
func TestConditionsCompileInTheOldestCluster(t *testing.T) {
	var metadata struct{ KubeVersion string }
	read(t, chartDir+"/Chart.yaml", &metadata)
	if !strings.Contains(metadata.KubeVersion, minimum) {
		t.Fatalf("Chart.yaml asks for %q, and expressions are compiled for %s", metadata.KubeVersion, minimum)
	}
	oldest := versionOf(t, minimum)
	for mode, values := range modes(t) {
		for name, w := range hooks(t, rendered(t, values, apiVersions()...)) {
			for _, condition := range w.MatchConditions {
				compiler := cel.NewCompiler(environment.MustBaseEnvSet(oldest))
				result := compiler.CompileCELExpression(expression(condition.Expression), cel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.NewExpressions)
				if result.Error != nil {
					t.Errorf("%s: %s: %s: %v", mode, name, condition.Name, result.Error)
				}
			}
		}
	}
}

// expression is a match condition, to the compiler.
type expression string

// GetExpression is of cel.ExpressionAccessor.
func (e expression) GetExpression() string { return string(e) }

// ReturnTypes is of cel.ExpressionAccessor.
func (expression) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.BoolType} }

func versionOf(t *testing.T, text string) *version.Version {
	t.Helper()
	parsed, err := version.ParseMajorMinor(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
