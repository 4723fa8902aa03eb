package capacity

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The names are those that csi-provisioner v6.3 gives to nodes of these names.
func TestNodeManager(t *testing.T) {
	tests := map[string]struct{ node, want string }{
		"a short name":               {"node-1", "external-provisioner-node-1"},
		"the longest that fits":      {strings.Repeat("n", 42), "external-provisioner-" + strings.Repeat("n", 42)},
		"one character more":         {strings.Repeat("n", 43), "external-p-53f40b57-" + strings.Repeat("n", 43)},
		"a name that leaves no room": {strings.Repeat("n", 53), "external-provisioner-698d23b8"},
		"the longest name of all":    {strings.Repeat("n", 253), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := NodeManager(tt.node)
			if tt.want != "" && got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if problems := validation.IsValidLabelValue(got); len(problems) > 0 {
				t.Errorf("%q is no value of a label: %v", got, problems)
			}
		})
	}
	if NodeManager(strings.Repeat("n", 100)) == NodeManager(strings.Repeat("n", 101)) {
		t.Error("two nodes have one name")
	}
}

func TestObjectsOfTwoNodesInOneSegmentAreApart(t *testing.T) {
	if fast.name("d", NodeManager("a")) == fast.name("d", NodeManager("b")) || fast.name("d", NodeManager("a")) == fast.name("d", ManagedBy) {
		t.Error("two nodes write one object")
	}
}
