package app

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEveryEventIsDocumented: the reasons of events are constants in one file, and the page says of each what to do.
func TestEveryEventIsDocumented(t *testing.T) {
	source, err := os.ReadFile("../../../provisioner/reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, found := range regexp.MustCompile(`(?m)^\tReason\w+ = "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		reasons = append(reasons, found[1])
	}
	page, err := os.ReadFile("../../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Events\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var told []string
	for _, found := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(section, -1) {
		told = append(told, found[1])
	}
	slices.Sort(reasons)
	slices.Sort(told)
	if len(reasons) == 0 {
		t.Fatal("no reasons were found")
	}
	if diff := cmp.Diff(reasons, told); diff != "" {
		t.Errorf("docs/operating.md, Events (-there are, +it tells of):\n%s", diff)
	}
}
