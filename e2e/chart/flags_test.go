package chart

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// helped are the flags that a command's help tells of.
func helped(t *testing.T, command ...string) map[string]bool {
	t.Helper()
	stdout, stderr, err := run(t, "berth", append(command, "--help")...)
	if err != nil {
		t.Fatalf("berth %v --help: %v\n%s", command, err, stderr)
	}
	flags := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^\s+(?:-(\w), )?--([a-z-]+)`).FindAllStringSubmatch(stdout, -1) {
		flags[found[1]], flags[found[2]] = true, true
	}
	return flags
}

// TestFlagsExist: the process is given nothing that it does not know.
func TestFlagsExist(t *testing.T) {
	known := helped(t)
	for mode, values := range modes(t) {
		for name, pod := range podSpecs(rendered(t, values, apiVersions()...)) {
			if strings.HasPrefix(name, "Pod ") {
				continue
			}
			for flag := range flagsOf(berthOf(t, &pod.Spec)) {
				if !known[flag] {
					t.Errorf("%s: %s is given --%s, which berth does not know", mode, name, flag)
				}
			}
		}
	}
	if t.Failed() {
		t.Logf("berth knows %v", slices.Sorted(maps.Keys(known)))
	}
}

// TestCheckIsACommand: what helm test runs.
func TestCheckIsACommand(t *testing.T) {
	spec := podSpecs(rendered(t, leastValues))["Pod pool-berth-check"].Spec
	args := spec.Containers[0].Args
	if !slices.Equal(args[:1], []string{"check"}) {
		t.Fatalf("it runs %v", args)
	}
	known := helped(t, "check")
	for flag := range flagsOf(&spec.Containers[0]) {
		if flag != "check" && !known[flag] {
			t.Errorf("berth check is given --%s", flag)
		}
	}
}
