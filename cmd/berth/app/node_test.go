package app

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/berth-csi/berth/provisioner"
	"github.com/berth-csi/berth/topology"
)

func TestWhatGoesWithDistributedMode(t *testing.T) {
	tests := map[string]struct {
		node string // NODE_NAME
		edit func(*Options)
		want string // in the error; empty: none
	}{
		"alone":                     {"n1", func(*Options) {}, ""},
		"without a node":            {"", func(*Options) {}, "environment variable NODE_NAME"},
		"a delay of nothing":        {"n1", func(o *Options) { o.Node.BaseDelay = 0 }, "--node-deployment-base-delay must be positive"},
		"a longest that is shorter": {"n1", func(o *Options) { o.Node.MaxDelay = time.Second }, "--node-deployment-max-delay (1s) must not be less than --node-deployment-base-delay (20s)"},
		"with an election":          {"n1", func(o *Options) { o.Leader.Enabled = true }, "--leader-election does not go with --node-deployment"},
		"with webhooks":             {"n1", func(o *Options) { o.Components.Components = []string{"provisioner", "webhook"} }, "webhook does not go with --node-deployment"},
		"with capacity":             {"n1", func(o *Options) { o.Components.Components = []string{"provisioner", "capacity"} }, ""},
		"with everything wrong, but off": {"", func(o *Options) {
			o.Node.Enabled, o.Node.BaseDelay, o.Leader.Enabled = false, 0, true
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NODE_NAME", tt.node)
			o, err := NewOptions()
			if err != nil {
				t.Fatal(err)
			}
			o.Node.Enabled = true
			tt.edit(o)
			err = o.validateNode()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNamesOfNodesJournals(t *testing.T) {
	long := strings.Repeat("n", 253)
	if got := nodeJournalName("local.csi.example.com", "node-1"); got != "local-csi-example-com-journal-node-1" {
		t.Errorf("got %s", got)
	}
	got := nodeJournalName("local.csi.example.com", long)
	if len(got) > maxJournalName || len(validation.IsDNS1123Subdomain(got+"-unreadable-12")) > 0 {
		t.Errorf("%s is no name of a ConfigMap", got)
	}
	if got == nodeJournalName("local.csi.example.com", long[1:]) {
		t.Error("two nodes have one journal")
	}
}

func TestOneNodesIndexKnowsThatNode(t *testing.T) {
	segment := topology.NewSegment(map[string]string{"zone": "a", "disk": "ssd"})
	index := localTopology(provisioner.Node{Name: "n1", Segment: segment})
	if got, err := index.NodeSegment("n1"); err != nil || got != segment {
		t.Errorf("the node is in %s, %v", got, err)
	}
	if places := index.Places(); len(places) != 1 || places[0] != segment || !index.HasPlace(segment) {
		t.Errorf("there is to be asked about %v", places)
	}
	if _, err := index.NodeSegment("n2"); err == nil {
		t.Error("another node is known")
	}
}
