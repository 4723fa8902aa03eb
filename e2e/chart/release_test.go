package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
)

// TestReleasesDoNotCollide: of two drivers in one cluster, even if the releases have one name in two namespaces, no object is the other's.
func TestReleasesDoNotCollide(t *testing.T) {
	other := []string{"--set", "driver.name=other.csi.example.com", "--set", "storageClasses[0].name=other"}
	here := names(t, rendered(t, leastValues))
	there := names(t, rendered(t, leastValues, append(other, "--namespace", "elsewhere")...))
	beside := names(t, decode(t, otherRelease(t, other)))
	for name, space := range here {
		if got, both := there[name]; both && got == space {
			t.Errorf("both namespaces' releases have %s", name)
		}
		if _, both := beside[name]; both {
			t.Errorf("both releases of the namespace have %s", name)
		}
	}
}

func otherRelease(t *testing.T, args []string) string {
	t.Helper()
	stdout, stderr, err := run(t, "helm4", append([]string{"template", "other", chartDir, "--namespace", namespace, "--values", leastValues}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	return stdout
}

// TestAsPartOfAVendorsChart: the values are below the chart's name, global ones are shared, and the vendor turns it on and off.
func TestAsPartOfAVendorsChart(t *testing.T) {
	vendor := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(vendor, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Chart.yaml", "apiVersion: v2\nname: vendor\nversion: 1.0.0\ndependencies: [{name: berth, version: '>=0-0', condition: berth.enabled}]\n")
	write("values.yaml", `
global: {imageRegistry: mirror.example.org, vendor: {of: its own}}
berth:
  enabled: true
  nameOverride: controller
  driver: {name: pool.csi.example.com, image: {repository: example/pool}}
`)
	if err := os.CopyFS(filepath.Join(vendor, "charts/berth"), os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	for _, helm := range majors() {
		stdout, stderr, err := run(t, helm, "template", "storage", vendor, "--namespace", namespace)
		if err != nil {
			t.Fatalf("%s: %v\n%s", helm, err, stderr)
		}
		deployment, ok := decode(t, stdout)["Deployment storage-controller"].(*appsv1.Deployment)
		if !ok {
			t.Fatalf("%s: there is no Deployment storage-controller", helm)
		}
		var images []string
		for _, container := range deployment.Spec.Template.Spec.Containers {
			images = append(images, container.Image)
		}
		want := []string{"mirror.example.org/berth-csi/berth:0.1.0", "mirror.example.org/example/pool"}
		if diff := cmp.Diff(want, images); diff != "" {
			t.Errorf("%s: images (-want +got):\n%s", helm, diff)
		}
		if stdout, _, err = run(t, helm, "template", "storage", vendor, "--set", "berth.enabled=false"); err != nil || strings.Contains(stdout, "kind:") {
			t.Errorf("%s: turned off it renders %q, %v", helm, stdout, err)
		}
	}
}

func TestLongNamesStayValid(t *testing.T) {
	objects := decode(t, template(t, "helm4", leastValues, "--set", "fullnameOverride="+strings.Repeat("a", 49)+"-bcdefghijklmnop", "--set", "metrics.dashboard.enabled=true"))
	for name := range objects {
		kind, rest, _ := strings.Cut(name, " ")
		if limit := 63; (kind == "Service" || kind == "Deployment") && len(rest) > limit {
			t.Errorf("%s has %d characters", name, len(rest))
		}
	}
}

func TestNotes(t *testing.T) {
	tests := map[string]struct {
		values, says string
	}{
		"how to see it ready":       {"", "kubectl -n storage rollout status deployment/pool-berth"},
		"how to ask for a claim":    {"", "helm test pool --namespace storage"},
		"how to leave nothing":      {"", "secret/pool-csi-example-com-admission"},
		"of a webhook that refuses": {"admission: {mutating: {failurePolicy: Fail}}", "admission.mutating.failurePolicy is Fail"},
		"of a socket of root's":     {"driver: {securityContext: {runAsUser: 0}}", "the driver runs as root and Berth does not"},
		"of a single replica":       {"replicas: 1", "with one replica"},
		"of nothing to ask for":     {"storageClasses: []", `There is no storage class yet`},
		"of a bundle that is owed":  {"admission: {certificates: {mode: existingSecret, existingSecret: {name: a}}}", "API servers have to be told whom to trust"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Helm 3 does not tell them without a cluster.
			stdout, stderr, err := run(t, "helm4", "install", release, chartDir, "--namespace", namespace, "--dry-run=client",
				"--values", leastValues, "--values", valuesFile(t, tt.values))
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr)
			}
			if _, notes, _ := strings.Cut(stdout, "\nNOTES:\n"); !strings.Contains(notes, tt.says) {
				t.Errorf("they do not say %q:\n%s", tt.says, notes)
			}
		})
	}
}
