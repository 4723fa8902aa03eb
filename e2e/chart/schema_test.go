package chart

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// TestWrongValuesAreNamed: who makes a mistake is told where.
func TestWrongValuesAreNamed(t *testing.T) {
	tests := map[string]struct{ values, names string }{
		"no driver's name":                   {"driver: {name: ''}", "driver"},
		"a driver's name with a slash":       {"driver: {name: a/b}", "name"},
		"a value that does not exist":        {"replica: 2", "replica"},
		"one deep down that does not exist":  {"admission: {mutating: {timeout: 2}}", "timeout"},
		"replicas as text":                   {"replicas: two", "replicas"},
		"negative replicas":                  {"replicas: -1", "replicas"},
		"an unknown topology":                {"topology: both", "topology"},
		"a failure policy in lower case":     {"admission: {mutating: {failurePolicy: fail}}", "failurePolicy"},
		"more time than an API server gives": {"admission: {validating: {timeoutSeconds: 31}}", "timeoutSeconds"},
		"a duration without a unit":          {"leaderElection: {leaseDuration: '15'}", "leaseDuration"},
		"a number for a duration":            {"provisioner: {timeout: 10}", "timeout"},
		"too many digits of a UID":           {"provisioner: {volumeNameUuidLength: 33}", "volumeNameUuidLength"},
		"a gate that is text":                {"featureGates: {Topology: 'yes'}", "Topology"},
		"an unknown way of certificates":     {"admission: {certificates: {mode: helm}}", "mode"},
		"a plain URL":                        {"admission: {url: http://berth}", "url"},
		"a relative socket":                  {"driver: {socket: {directory: csi}}", "directory"},
		"a digest that is none":              {"image: {digest: latest}", "digest"},
		"a class without a name":             {"storageClasses: [{default: true}]", "storageClasses"},
		"a class that binds at some time":    {"storageClasses: [{name: a, volumeBindingMode: Later}]", "volumeBindingMode"},
		"a class with nested parameters":     {"storageClasses: [{name: a, parameters: {b: {c: d}}}]", "parameters"},
		"a Secret of no namespace":           {"rbac: {secrets: [{names: [a]}]}", "secrets"},
		"the leader's match condition":       {"admission: {mutating: {matchConditions: [{name: berth-classes, expression: 'true'}]}}", "matchConditions"},
		"an argument that is no flag":        {"extraArgs: [now]", "extraArgs"},
		"a port out of range":                {"http: {port: 70000}", "port"},
		"a collector without a port":         {"tracing: {endpoint: collector}", "endpoint"},
		"a collector as a URL":               {"tracing: {endpoint: 'http://collector:4317'}", "endpoint"},
		"more traces than claims":            {"tracing: {samplingRatePerMillion: 1000001}", "samplingRatePerMillion"},
		"a reader of no kind":                {"http: {readers: [{name: prometheus}]}", "readers"},
		"a level of the log as text":         {"log: {level: debug}", "level"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, helm := range majors() {
				said := refused(t, helm, leastValues, "--values", valuesFile(t, tt.values))
				if !strings.Contains(said, "schema") || !strings.Contains(said, tt.names) {
					t.Errorf("%s does not name %q:\n%s", helm, tt.names, said)
				}
			}
		})
	}
}

// TestContradictionsAreExplained: what a schema cannot say.
func TestContradictionsAreExplained(t *testing.T) {
	tests := map[string]struct{ values, says string }{
		"no driver anywhere":               {"driver: {image: {repository: ''}}", "driver.external.hostPath"},
		"a driver's container of no image": {"driver: {container: {name: a}}", "driver.container has no image"},
		"a driver's container in no YAML":  {"driver: {container: 'a: b: c'}", "driver.container is not a container"},
		"two that both provision":          {"leaderElection: {enabled: false}", "leaderElection.enabled"},
		"a Secret without a name":          {"admission: {certificates: {mode: existingSecret}}", "admission.certificates.existingSecret.name"},
		"a monitor of no Service":          {"metrics: {serviceMonitor: {enabled: true}, service: {enabled: false}}", "metrics.service.enabled"},
		"a Pod monitor without a token":    {"http: {authorization: true}\nmetrics: {podMonitor: {enabled: true}}", "metrics.podMonitor.endpoint.authorization"},
		"attributes in an old cluster":     {"volumeAttributesClasses: [{name: a, parameters: {b: c}}]", "Kubernetes 1.34"},
		"less time than stopping takes":    {"terminationGracePeriodSeconds: 20", "terminationGracePeriodSeconds"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, helm := range majors() {
				said := refused(t, helm, leastValues, "--values", valuesFile(t, tt.values), "--kube-version", "1.33.0")
				if !strings.Contains(said, tt.says) {
					t.Errorf("%s does not say %q:\n%s", helm, tt.says, said)
				}
			}
		})
	}
}

func TestOldClustersAreRefused(t *testing.T) {
	for _, helm := range majors() {
		if said := refused(t, helm, leastValues, "--kube-version", "1.29.0"); !strings.Contains(said, "1.29.0") {
			t.Errorf("%s: %s", helm, said)
		}
	}
}

// TestSchemaKnowsEveryValue: a value that the schema does not know could not be set, and one that only the schema knows does nothing.
func TestSchemaKnowsEveryValue(t *testing.T) {
	var schema, values map[string]any
	read(t, chartDir+"/values.schema.json", &schema)
	read(t, chartDir+"/values.yaml", &values)
	compareKeys(t, "", schema, values)
}

// compareKeys compares objects that the schema describes key by key.
func compareKeys(t *testing.T, path string, schema, values map[string]any) {
	t.Helper()
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return
	}
	for key, value := range values {
		inner, known := properties[key].(map[string]any)
		if !known {
			t.Errorf("the schema does not know %s%s", path, key)
			continue
		}
		if object, ok := value.(map[string]any); ok {
			compareKeys(t, path+key+".", inner, object)
		}
	}
	for key := range properties {
		// A chart that this one is a part of turns it on and off with enabled.
		if _, known := values[key]; !known && path+key != "enabled" {
			t.Errorf("values.yaml does not tell of %s%s", path, key)
		}
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestSchemaIsJSON(t *testing.T) {
	content, err := os.ReadFile(chartDir + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(content) {
		t.Error("values.schema.json is no JSON")
	}
}
