package chart

import (
	"maps"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

// manifests are objects by kind and name.
type manifests map[string]runtime.Object

// decode reads what Helm printed. A field that the object's API does not have, or has twice, fails the test.
func decode(t *testing.T, printed string) manifests {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, certmanagerv1.AddToScheme, snapshotv1.AddToScheme, monitoringv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	objects := manifests{}
	for name, text := range documents(t, printed) {
		object, _, err := decoder.Decode([]byte(text), nil, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		objects[name] = object
	}
	return objects
}

// documents splits what Helm printed by kind, namespace and name. Two objects of one identity fail the test: the second would replace the first.
func documents(t *testing.T, printed string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for text := range strings.SplitSeq("\n"+printed, "\n---") {
		var head struct {
			metav1.TypeMeta `json:",inline"`
			Metadata        struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal([]byte(text), &head); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if head.Kind == "" {
			if lines := strings.TrimSpace(text); lines != "" && !strings.HasPrefix(lines, "#") {
				t.Errorf("this is no object:\n%s", text)
			}
			continue
		}
		name := head.Kind + " " + head.Metadata.Name
		if head.Metadata.Namespace != "" && head.Metadata.Namespace != namespace {
			name += " in " + head.Metadata.Namespace
		}
		if _, twice := all[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		all[name] = strings.TrimSpace(text) + "\n"
	}
	return all
}

// rendered renders with Helm 4 and decodes.
func rendered(t *testing.T, values string, args ...string) manifests {
	t.Helper()
	return decode(t, template(t, "helm4", values, args...))
}

// of are the objects of a type.
func of[T runtime.Object](objects manifests) map[string]T {
	all := map[string]T{}
	for name, object := range objects {
		if typed, ok := object.(T); ok {
			all[name] = typed
		}
	}
	return all
}

// podSpecs are all Pods that would run, with their labels.
func podSpecs(objects manifests) map[string]corev1.PodTemplateSpec {
	all := map[string]corev1.PodTemplateSpec{}
	for name, deployment := range of[*appsv1.Deployment](objects) {
		all[name] = deployment.Spec.Template
	}
	for name, set := range of[*appsv1.DaemonSet](objects) {
		all[name] = set.Spec.Template
	}
	for name, pod := range of[*corev1.Pod](objects) {
		all[name] = corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	}
	return all
}

// berthOf is the process's container of a Pod.
func berthOf(t *testing.T, spec *corev1.PodSpec) *corev1.Container {
	t.Helper()
	for i := range spec.Containers {
		if spec.Containers[i].Name == "berth" {
			return &spec.Containers[i]
		}
	}
	t.Fatalf("there is no container berth in %v", spec.Containers)
	return nil
}

// flagsOf are a container's flags, by name. A flag without a value has "true".
func flagsOf(container *corev1.Container) map[string]string {
	flags := map[string]string{}
	for _, arg := range container.Args {
		name, value, ok := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !ok {
			value = "true"
		}
		flags[name] = value
	}
	return flags
}

// selects reports whether all labels of a selector are among labels.
func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return len(selector) > 0
}

// names are the names of all objects, without their kinds.
func names(t *testing.T, objects manifests) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, object := range maps.All(objects) {
		accessor, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = accessor.GetNamespace()
	}
	return all
}
