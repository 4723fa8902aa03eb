package capacity

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

func TestOwnerLookup(t *testing.T) {
	reference := func(version, kind, name string) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: version, Kind: kind, Name: name, UID: "of-1", Controller: new(true)}
	}
	pod := func(by ...metav1.OwnerReference) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pod", UID: "of-pod", OwnerReferences: by}}
	}
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "set", UID: "of-1", OwnerReferences: []metav1.OwnerReference{reference("apps/v1", "Deployment", "app")}}}
	another := set.DeepCopy()
	another.UID = "of-another"
	bySet, byStateful := reference("apps/v1", "ReplicaSet", "set"), reference("apps/v1", "StatefulSet", "app")
	blocking := byStateful
	blocking.BlockOwnerDeletion = new(true)
	tests := map[string]struct {
		objects []runtime.Object
		level   int
		want    metav1.OwnerReference
		err     string
	}{
		"the Pod":                              {[]runtime.Object{pod()}, 0, metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "pod", UID: "of-pod", Controller: new(true)}, ""},
		"its controller, without a lock on it": {[]runtime.Object{pod(blocking)}, 1, byStateful, ""},
		"a Deployment's ReplicaSet":            {[]runtime.Object{pod(bySet), set}, 1, bySet, ""},
		"the Deployment":                       {[]runtime.Object{pod(bySet), set}, 2, reference("apps/v1", "Deployment", "app"), ""},
		"no such Pod":                          {nil, 0, metav1.OwnerReference{}, "read Pod ns/pod, which POD_NAME and NAMESPACE name"},
		"a Pod of nobody":                      {[]runtime.Object{pod()}, 1, metav1.OwnerReference{}, "Pod ns/pod has no controller, so there is nothing at --capacity-ownerref-level=1 (choose 0 or less)"},
		"nothing above a StatefulSet":          {[]runtime.Object{pod(byStateful)}, 2, metav1.OwnerReference{}, "choose --capacity-ownerref-level=1"},
		"a ReplicaSet that is gone":            {[]runtime.Object{pod(bySet)}, 2, metav1.OwnerReference{}, "read ReplicaSet ns/set"},
		"another ReplicaSet of that name":      {[]runtime.Object{pod(bySet), another}, 2, metav1.OwnerReference{}, "is not the one that made the Pod"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := OwnerLookup{Client: fake.NewClientset(c.objects...), Namespace: "ns", Pod: "pod", Level: c.level}.Find(t.Context())
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want an error with %q", err, c.err)
				}
				if strings.Contains(c.err, "choose") && !errors.Is(err, ErrNoOwner) {
					t.Errorf("%v is not ErrNoOwner", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, *got); diff != "" {
				t.Errorf("owner (-want +got):\n%s", diff)
			}
		})
	}
}
