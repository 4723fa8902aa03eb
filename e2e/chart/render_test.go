package chart

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/yaml"
)

var update = flag.Bool("update", false, "write testdata/rendered anew")

// TestRenders compares what the chart renders with what it rendered when somebody last looked at it: make update-chart, and read the difference.
func TestRenders(t *testing.T) {
	for mode, values := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			texts := map[string]map[string]string{}
			for _, helm := range majors() {
				texts[helm] = documents(t, template(t, helm, values, apiVersions()...))
			}
			if diff := cmp.Diff(parsed(t, texts["helm3"]), parsed(t, texts["helm4"])); diff != "" {
				t.Errorf("Helm 3 and Helm 4 differ (-3 +4):\n%s", diff)
			}
			var text strings.Builder
			for _, name := range slices.Sorted(maps.Keys(texts["helm4"])) {
				text.WriteString("---\n" + texts["helm4"][name])
			}
			path := filepath.Join("testdata", "rendered", mode+".yaml")
			if *update {
				if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(golden), text.String()); diff != "" {
				t.Errorf("make update-chart, if this is meant (-was +is):\n%s", diff)
			}
			decode(t, text.String())
		})
	}
}

// apiVersions are what Helm would find in a cluster that has everything.
func apiVersions() []string {
	return []string{"--api-versions", "storage.k8s.io/v1/VolumeAttributesClass"}
}

func parsed(t *testing.T, texts map[string]string) map[string]any {
	t.Helper()
	objects := map[string]any{}
	for name, text := range texts {
		var object any
		if err := yaml.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		objects[name] = object
	}
	return objects
}

func TestLint(t *testing.T) {
	for mode, values := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			for _, helm := range majors() {
				if stdout, stderr, err := run(t, helm, "lint", "--strict", "--namespace", namespace, "--values", values, chartDir); err != nil {
					t.Errorf("%s: %v\n%s%s", helm, err, stdout, stderr)
				}
			}
		})
	}
}

// TestReadmeTellsTheValues writes the README again, in a copy.
func TestReadmeTellsTheValues(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "berth")
	if err := os.CopyFS(dir, os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := run(t, "helm-docs", "--log-level=warning", "--chart-search-root="+filepath.Dir(dir), "--template-files=README.md.gotmpl", "--sort-values-order=file"); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	stands, err := os.ReadFile(filepath.Join(chartDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(stands), string(made)); diff != "" {
		t.Errorf("make update-chart (-stands +would be):\n%s", diff)
	}
	for line := range strings.SplitSeq(string(made), "\n") {
		if strings.HasPrefix(line, "| ") && strings.HasSuffix(line, "|  |") {
			t.Errorf("this value has no description: %s", line)
		}
	}
}
