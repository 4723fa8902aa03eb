package app

import (
	"context"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiadmission "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/client-go/tools/cache"
)

// matches has the API server's own code evaluate an expression for the creation of an object.
func matches(t *testing.T, expression string, resource schema.GroupVersionResource, object runtime.Object) bool {
	t.Helper()
	compiler := cel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	condition := &matchconditions.MatchCondition{Name: conditionName, Expression: expression}
	evaluator := compiler.CompileCondition([]cel.ExpressionAccessor{condition},
		cel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.NewExpressions)
	matcher := matchconditions.NewMatcher(evaluator, new(admissionregistrationv1.Fail), "webhook", "admit", "test")
	kind := resource.GroupVersion().WithKind("Kind")
	attributes := &apiadmission.VersionedAttributes{
		Attributes: apiadmission.NewAttributesRecord(object, nil, kind, "ns", "name", resource, "", apiadmission.Create,
			&metav1.CreateOptions{}, false, &user.DefaultInfo{Name: "somebody"}),
		VersionedKind: kind,
	}
	attributes.VersionedObject.Set(object)
	result := matcher.Match(context.Background(), attributes, nil, nil)
	if result.Error != nil {
		t.Fatalf("the API server cannot evaluate %s: %v", expression, result.Error)
	}
	return result.Matches
}

func TestMatchExpression(t *testing.T) {
	claims := corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	contents := snapshotv1.SchemeGroupVersion.WithResource("volumesnapshotcontents")
	claim := func(class *string, annotations map[string]string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
			Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: class}}
	}
	content := func(driver string) *snapshotv1.VolumeSnapshotContent {
		return &snapshotv1.VolumeSnapshotContent{Spec: snapshotv1.VolumeSnapshotContentSpec{Driver: driver}}
	}
	ours, few := []string{"slow", "fast"}, []string{}
	tests := map[string]struct {
		classes  []string
		resource schema.GroupVersionResource
		object   runtime.Object
		want     bool
	}{
		"a claim of one of the classes":        {ours, claims, claim(new("fast"), nil), true},
		"a claim of another class":             {ours, claims, claim(new("other"), map[string]string{"a": "b"}), false},
		"a claim without a class":              {ours, claims, claim(nil, nil), false},
		"a claim that wants none":              {ours, claims, claim(new(""), nil), false},
		"a class in the annotation":            {ours, claims, claim(nil, map[string]string{corev1.BetaStorageClassAnnotation: "slow"}), true},
		"the annotation comes before":          {ours, claims, claim(new("fast"), map[string]string{corev1.BetaStorageClassAnnotation: "other"}), false},
		"given to the driver in another class": {ours, claims, claim(new("other"), map[string]string{"volume.kubernetes.io/storage-provisioner": "driver"}), true},
		"given to another driver":              {ours, claims, claim(new("other"), map[string]string{"volume.kubernetes.io/storage-provisioner": "x"}), false},
		"no classes":                           {few, claims, claim(new("fast"), nil), false},
		"our snapshot's content":               {ours, contents, content("driver"), true},
		"another driver's":                     {ours, contents, content("x"), false},
		"our content without classes":          {few, contents, content("driver"), true},
		"anything else":                        {few, corev1.SchemeGroupVersion.WithResource("pods"), &corev1.Pod{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := matches(t, matchExpression("driver", tt.classes), tt.resource, tt.object); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if matchExpression("d", []string{"a", "b"}) != matchExpression("d", []string{"b", "a"}) {
		t.Error("the order of classes matters, so it would be written again and again")
	}
}

func TestOnlyTheDriversClassesAreNews(t *testing.T) {
	class := func(provisioner string) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "class"}, Provisioner: provisioner}
	}
	ours, other := class("driver"), class("other")
	told := 0
	events := classEvents("driver", func() { told++ })
	tests := map[string]struct {
		event func()
		want  int
	}{
		"ours comes":                    {func() { events.OnAdd(ours, false) }, 1},
		"another one comes":             {func() { events.OnAdd(other, false) }, 0},
		"ours changes and stays ours":   {func() { events.OnUpdate(ours, ours) }, 0},
		"another one becomes ours":      {func() { events.OnUpdate(other, ours) }, 1},
		"ours becomes another driver's": {func() { events.OnUpdate(ours, other) }, 1},
		"ours goes":                     {func() { events.OnDelete(ours) }, 1},
		"ours went unnoticed":           {func() { events.OnDelete(cache.DeletedFinalStateUnknown{Key: "class", Obj: ours}) }, 1},
		"another one goes":              {func() { events.OnDelete(other) }, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			told = 0
			tt.event()
			if told != tt.want {
				t.Errorf("told %d times, want %d", told, tt.want)
			}
		})
	}
	if got := classNames("driver", []*storagev1.StorageClass{ours, other}); len(got) != 1 {
		t.Errorf("got %v, want one", got)
	}
}
