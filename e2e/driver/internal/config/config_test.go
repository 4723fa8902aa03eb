package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

const onePool = "pools: [{segments: {zone: a}, size: 10Gi}]\n"

func parse(t *testing.T, text string) config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := parse(t, onePool)
	if c.DriverName != "pool.csi.berth.dev" || !c.Topology || c.Data != config.Directory {
		t.Errorf("defaults are %+v", c)
	}
	if diff := cmp.Diff(map[string]string{"zone": "a"}, c.NodeSegments); diff != "" {
		t.Errorf("the node is not in the first pool's segments:\n%s", diff)
	}
	if !c.Capabilities.Has(config.ControllerService) || !c.Capabilities.Has("CLONE_VOLUME") {
		t.Errorf("capabilities are missing: %v", c.Capabilities)
	}
	if !c.AccessModes["SINGLE_NODE_WRITER"] || c.AccessModes["MULTI_NODE_MULTI_WRITER"] {
		t.Errorf("access modes are %v", c.AccessModes)
	}
}

func TestPools(t *testing.T) {
	c := parse(t, `
pools: [{segments: {zone: a}, size: 10Gi, maxVolumeSize: 1Gi}, {segments: {zone: b}, size: 1000}]
generate: [{key: zone, prefix: z-, count: 2, size: 1Ki}]
`)
	want := []pool.Spec{
		{Segments: map[string]string{"zone": "a"}, Size: 10 << 30, MaxVolumeSize: 1 << 30},
		{Segments: map[string]string{"zone": "b"}, Size: 1000},
		{Segments: map[string]string{"zone": "z-0000"}, Size: 1024},
		{Segments: map[string]string{"zone": "z-0001"}, Size: 1024},
	}
	if diff := cmp.Diff(want, c.Pools); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
}

func TestCapabilitiesThatDependOnOthersGoWithThem(t *testing.T) {
	c := parse(t, onePool+"capabilities: {without: [PUBLISH_UNPUBLISH_VOLUME, EXPAND_VOLUME, SINGLE_NODE_MULTI_WRITER], controllerService: false}\n")
	for _, gone := range []config.Capability{
		"PUBLISH_UNPUBLISH_VOLUME", "LIST_VOLUMES_PUBLISHED_NODES", "PUBLISH_READONLY", "EXPAND_VOLUME", "ONLINE", "CONTROLLER_SERVICE",
	} {
		if c.Capabilities.Has(gone) {
			t.Errorf("%s is still there", gone)
		}
	}
	if c.AccessModes["SINGLE_NODE_MULTI_WRITER"] || !c.AccessModes["SINGLE_NODE_WRITER"] {
		t.Errorf("access modes are %v", c.AccessModes)
	}
}

func TestErrorsNameTheField(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "pools: there must be at least one",
		"pools: [{size: 1Gi}]":                  "pools[0].segments: is missing",
		"pools: [{segments: {z: a}}]":           "pools[0].size: is missing",
		"pools: [{segments: {z: a}, size: 1X}]": `pools[0].size: "1X" is not a size`,
		"pools: [{segments: {z: a}, size: -1}]": `pools[0].size: "-1" is negative or too large`,
		"pools: [{segments: {z: a}, size: 1, maxVolumeSize: q}]":              `pools[0].maxVolumeSize: "q" is not a size`,
		"pools: [{segments: {z: a}, size: 1}, {segments: {z: a}, size: 1}]":   "pools[1]: has the same segments as pools[0]",
		"pools: [{segments: {'z z': a}, size: 1}]":                            `pools[0].segments: "z z" is not a topology key`,
		"pools: [{segments: {z: ''}, size: 1}]":                               `pools[0].segments[z]: "" is not a topology value`,
		"generate: [{key: z, prefix: a, count: 0, size: 1}]":                  "generate[0].count: must be between",
		"generate: [{key: z, prefix: a, count: 1}]":                           "generate[0].size: is missing",
		"topology: false\npools: [{segments: {z: a}, size: 1}]":               "pools[0].segments: must be left out when topology is false",
		"topology: false\npools: [{size: 1}, {size: 1}]":                      "pools[1]: has the same segments as pools[0]",
		"topology: false\nnode: {segments: {z: a}}\npools: [{size: 1}]":       "node.segments: must be left out",
		"topology: false\ngenerate: [{key: z, prefix: a, count: 1, size: 1}]": "generate[0]: topology is false",
		onePool + "data: tape":                                                `data: "tape" is not one of`,
		onePool + "driverName: -x":                                            "driverName:",
		onePool + "node: {maxVolumes: -1}":                                    "node.maxVolumes:",
		onePool + "node: {others: ['']}":                                      "node.others[0]:",
		onePool + "capabilities: {without: [CLONE]}":                          `capabilities.without[0]: "CLONE" is none of CLONE_VOLUME,`,
		onePool + "accessModes: [RWX]":                                        `accessModes[0]: "RWX" is not a CSI access mode`,
		onePool + "mutableParameters: ['']":                                   "mutableParameters[0]:",
		onePool + "pool: []":                                                  `unknown field "pool"`,
		onePool + "topology: maybe":                                           "topology",
		"pools: {":                                                            "yaml:",
	} {
		_, err := config.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error has several lines: %v", text, err)
		}
	}
}

func TestDemoConfiguration(t *testing.T) {
	raw, err := os.ReadFile("../../demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c := parse(t, string(raw)); len(c.Pools) != 3 || c.Pools[0].Size != 100<<30 {
		t.Errorf("pools are %v", c.Pools)
	}
}
