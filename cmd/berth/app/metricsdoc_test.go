package app

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/provisioner"
)

// everything is a registry with all that the parts of a process register, as run.go and provision.go put them together.
func everything(t *testing.T) *prometheus.Registry {
	t.Helper()
	options, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	options.Components.Components = []string{componentProvisioner, componentWebhook}
	options.Capacity.Enabled, options.Capacity.OwnerLevel = true, -1
	options.Admission.ServiceNames = []string{"berth.kube-system.svc"}
	shared := &rest.Config{Host: "http://127.0.0.1:1"} // nothing is asked
	client, err := kubernetes.NewForConfig(shared)
	if err != nil {
		t.Fatal(err)
	}
	optional, err := newOptionalClients(shared)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{config: &Config{}, registry: prometheus.NewRegistry()}
	factory := informers.NewSharedInformerFactory(client, 0)
	calls := csi.NewController(nil, 0, 1)
	p.registerLimits(calls)

	driver := csi.Driver{Name: "driver.example"}
	config := newProvisioner(options, client, optional, nil)(driver, csi.Node{}, true)
	config.Driver, config.Informers, config.Registry = calls, factory, p.registry
	if _, err := provisioner.New(config); err != nil {
		t.Fatal(err)
	}
	publisher, err := newCapacity(options, shared)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := publisher(t.Context(), p, capacityParts{Calls: calls, Driver: csi.Driver{Name: driver.Name, Capacity: true}, Informer: factory}); made == nil || err != nil {
		t.Fatal(made, err)
	}
	admission, err := newAdmissionConfig(options, client, optional, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newAdmission(admission, subject{driver: driver.Name}, factory, p.registry, klog.Background()); err != nil {
		t.Fatal(err)
	}
	return p.registry
}

var description = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)

// registered are all metrics and their labels.
func registered(t *testing.T) map[string][]string {
	t.Helper()
	registry, descriptions := everything(t), make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		registry.Describe(descriptions)
	}()
	found := map[string][]string{}
	for desc := range descriptions {
		match := description.FindStringSubmatch(desc.String())
		if match == nil {
			t.Errorf("cannot read %s", desc)
			continue
		}
		found[match[1]] = strings.FieldsFunc(match[2], func(r rune) bool { return r == ',' })
	}
	return found
}

func TestEveryMetricIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, path := range []string{"../../../docs/operating.md", "../../../docs/admission.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "| `") {
				continue
			}
			first, _, _ := strings.Cut(line[2:], "|")
			for _, match := range regexp.MustCompile("`((?:berth|controller|csistoragecapacities)_[a-z_]+)`").FindAllStringSubmatch(first, -1) {
				documented[match[1]] = true
			}
		}
	}
	want := slices.Sorted(maps.Keys(registered(t)))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(documented))); diff != "" {
		t.Errorf("the tables in docs/operating.md and docs/admission.md have other metrics than the program (-program +docs): %s", diff)
	}
}

// A label whose values are claims, volumes or nodes would make as many series as there are of them.
func TestNoMetricHasALabelOfManyValues(t *testing.T) {
	few := map[string]string{
		"class": "the classes of one driver", "source": "kinds that claims name", "operation": "calls, or CREATE and UPDATE", "outcome": "five", "result": "a few",
		"reason": "constants", "step": "constants", "handler": "three", "decision": "a few", "certificate": "a few", "phase": "a few",
		"configuration": "three", "field": "constants", "name": "queues", "kind": "constants",
	}
	for name, labels := range registered(t) {
		for _, label := range labels {
			if few[label] == "" {
				t.Errorf("%s has the label %s: if it has few values, say so here", name, label)
			}
		}
	}
}
