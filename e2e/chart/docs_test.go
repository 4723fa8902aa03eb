package chart

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestDocumentedValuesRender: what the pages tell an administrator to write works, as it stands there.
func TestDocumentedValuesRender(t *testing.T) {
	for _, page := range []string{"../../docs/install.md", "../../docs/migrate-from-csi-provisioner.md", chartDir + "/README.md"} {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := yamlBlocks(string(content))
		if len(blocks) == 0 {
			t.Errorf("%s has no values", page)
		}
		for number, block := range blocks {
			t.Run(fmt.Sprintf("%s %d", page, number), func(t *testing.T) {
				t.Parallel()
				var values map[string]any
				if err := yaml.Unmarshal([]byte(block), &values); err != nil {
					t.Fatalf("%v in\n%s", err, block)
				}
				if inner, ok := values["berth"].(map[string]any); ok { // as part of a vendor's chart
					values = inner
				}
				text, err := yaml.Marshal(values)
				if err != nil {
					t.Fatal(err)
				}
				for _, helm := range majors() {
					template(t, helm, leastValues, "--values", valuesFile(t, string(text)))
				}
			})
		}
	}
}

// yamlBlocks are the values on a page: neither lists of rules nor a vendor's Chart.yaml.
func yamlBlocks(page string) []string {
	var blocks []string
	for _, part := range strings.Split(page, "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		lines := strings.Split(block, "\n")
		indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
		for i := range lines {
			lines[i] = lines[i][min(indent, len(lines[i])):]
		}
		block = strings.Join(lines, "\n")
		if !strings.HasPrefix(block, "# Chart.yaml") && !strings.Contains(block, "\n- apiGroups") {
			blocks = append(blocks, block)
		}
	}
	return blocks
}
