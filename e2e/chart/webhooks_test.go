package chart

import (
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// hook is what mutating and validating webhooks have in common.
type hook struct {
	configuration string
	annotations   map[string]string
	admissionregistrationv1.ValidatingWebhook
}

// hooks are all webhooks, by name. Each has to be the only one of its configuration: one that leaves would leave the process's fields behind.
func hooks(t *testing.T, objects manifests) map[string]hook {
	t.Helper()
	all := map[string]hook{}
	for name, c := range of[*admissionregistrationv1.MutatingWebhookConfiguration](objects) {
		if len(c.Webhooks) != 1 {
			t.Fatalf("%s has %d webhooks", name, len(c.Webhooks))
		}
		w := c.Webhooks[0]
		all[w.Name] = hook{c.Name, c.Annotations, admissionregistrationv1.ValidatingWebhook{
			Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
			NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects,
			TimeoutSeconds: w.TimeoutSeconds, AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
		}}
	}
	for name, c := range of[*admissionregistrationv1.ValidatingWebhookConfiguration](objects) {
		if len(c.Webhooks) != 1 {
			t.Fatalf("%s has %d webhooks", name, len(c.Webhooks))
		}
		all[c.Webhooks[0].Name] = hook{c.Name, c.Annotations, c.Webhooks[0]}
	}
	return all
}

// TestProcessOwnsItsFields: what the process applies is nowhere in the chart, not even empty, in any mode. Helm 4 would own it, too, and the next
// upgrade would conflict.
func TestProcessOwnsItsFields(t *testing.T) {
	for mode, values := range modes(t) {
		text := template(t, "helm4", values, apiVersions()...)
		for _, word := range []string{"caBundle", "name: berth-classes", "kind: Lease", "kind: Secret\n"} {
			if strings.Contains(text, word) {
				t.Errorf("%s: %q is rendered", mode, word)
			}
		}
	}
}

func TestWebhooksAreHarmless(t *testing.T) {
	objects := rendered(t, leastValues)
	all := hooks(t, objects)
	if len(all) != 3 {
		t.Fatalf("there are %d webhooks", len(all))
	}
	for name, w := range all {
		if *w.FailurePolicy != admissionregistrationv1.Ignore || *w.SideEffects != admissionregistrationv1.SideEffectClassNone ||
			*w.MatchPolicy != admissionregistrationv1.Equivalent || *w.TimeoutSeconds > 3 {
			t.Errorf("%s: %+v", name, w)
		}
		if len(w.AdmissionReviewVersions) != 1 || w.AdmissionReviewVersions[0] != "v1" {
			t.Errorf("%s: versions %v", name, w.AdmissionReviewVersions)
		}
		for _, rule := range w.Rules {
			for _, resource := range rule.Resources {
				if strings.ContainsAny(resource, "/*") {
					t.Errorf("%s matches %s", name, resource)
				}
			}
		}
	}
	mutating := of[*admissionregistrationv1.MutatingWebhookConfiguration](objects)
	for name, c := range mutating {
		if *c.Webhooks[0].ReinvocationPolicy != admissionregistrationv1.IfNeededReinvocationPolicy {
			t.Errorf("%s is not called again", name)
		}
	}
}

func TestNamespacesThatAreLeftAlone(t *testing.T) {
	tests := map[string]struct {
		labels map[string]string
		want   bool
	}{
		"the release's own":          {map[string]string{corev1.LabelMetadataName: namespace}, false},
		"one that asks for it":       {map[string]string{corev1.LabelMetadataName: "shop", "berth.dev/admission": "ignore"}, false},
		"not any other":              {map[string]string{corev1.LabelMetadataName: "shop"}, true},
		"not by any value":           {map[string]string{corev1.LabelMetadataName: "shop", "berth.dev/admission": "please"}, true},
		"not the one of kube-system": {map[string]string{corev1.LabelMetadataName: "kube-system"}, true},
	}
	for name, w := range hooks(t, rendered(t, leastValues)) {
		if w.Rules[0].Resources[0] != "persistentvolumeclaims" {
			continue // contents are in no namespace
		}
		selector, err := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
		if err != nil {
			t.Fatal(err)
		}
		for title, tt := range tests {
			if got := selector.Matches(labels.Set(tt.labels)); got != tt.want {
				t.Errorf("%s, %s: got %v", name, title, got)
			}
		}
	}
}

// TestWebhooksReachTheProcess follows a call: from the configuration to the Service, its Pods, their port, the flags and the certificate's name.
func TestWebhooksReachTheProcess(t *testing.T) {
	for _, mode := range []string{"default", "split", "cert-manager"} {
		objects := rendered(t, "testdata/values/"+mode+".yaml", apiVersions()...)
		for name, w := range hooks(t, objects) {
			reference := w.ClientConfig.Service
			service, ok := objects["Service "+reference.Name].(*corev1.Service)
			if !ok || service.Namespace != reference.Namespace || service.Spec.Ports[0].Port != *reference.Port {
				t.Fatalf("%s: %s leads to no Service", mode, name)
			}
			served := 0
			for deployment, pod := range podSpecs(objects) {
				if !selects(service.Spec.Selector, pod.Labels) {
					continue
				}
				served++
				container := berthOf(t, &pod.Spec)
				flags := flagsOf(container)
				if !strings.Contains(flags["components"], "webhook") {
					t.Errorf("%s: %s is called, and admits nothing", mode, deployment)
				}
				if port := container.Ports[1]; port.Name != service.Spec.Ports[0].TargetPort.StrVal || flags["admission-address"] != ":8443" || port.ContainerPort != 8443 {
					t.Errorf("%s: %s listens at %+v", mode, deployment, port)
				}
				if mode != "cert-manager" && flags["admission-service-names"] != reference.Name+"."+reference.Namespace+".svc" {
					t.Errorf("%s: the certificate is for %q", mode, flags["admission-service-names"])
				}
				if mode == "cert-manager" {
					continue // there the process writes to no configuration
				}
				known := "," + flags["admission-mutating-configurations"] + "," + flags["admission-validating-configurations"] + ","
				if !strings.Contains(known, ","+w.configuration+",") {
					t.Errorf("%s: %s does not keep %s", mode, deployment, w.configuration)
				}
			}
			if served != 1 {
				t.Errorf("%s: %d Deployments serve %s", mode, served, name)
			}
		}
	}
}

// TestWebhooksByURL: an API server outside of the cluster is given the URL, and the certificate its host.
func TestWebhooksByURL(t *testing.T) {
	objects := rendered(t, leastValues, "--set", "admission.url=https://berth.example.org:8443/hooks/")
	for name, w := range hooks(t, objects) {
		if w.ClientConfig.Service != nil || !strings.HasPrefix(*w.ClientConfig.URL, "https://berth.example.org:8443/hooks/") || strings.Contains(*w.ClientConfig.URL, "hooks//") {
			t.Errorf("%s: %+v", name, w.ClientConfig)
		}
	}
	deployment := objects["Deployment pool-berth"].(*appsv1.Deployment)
	if got := flagsOf(berthOf(t, &deployment.Spec.Template.Spec))["admission-service-names"]; !strings.HasSuffix(got, ",berth.example.org") {
		t.Errorf("the certificate is for %q", got)
	}
}
