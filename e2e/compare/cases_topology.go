package main

import (
	"github.com/berth-csi/berth/e2e/harness"
)

const selectedNodeKey = "volume.kubernetes.io/selected-node"

// zoneCases are those of the default flags: topology on, not strict, aggregated for Immediate binding.
func zoneCases() []testCase {
	return []testCase{
		{name: "delayed", class: classOf(harness.WaitForFirstConsumer), podOn: "zone-c"},
		{name: "delayed, block", class: classOf(harness.WaitForFirstConsumer), podOn: "zone-b", claim: claimOf(harness.Block)},
		{name: "delayed, Retain", class: classOf(harness.WaitForFirstConsumer, harness.Retain), podOn: "zone-a"},
		{name: "delayed, no Pod", class: classOf(harness.WaitForFirstConsumer), expect: quiet},
		{
			name: "delayed, allowed topologies", podOn: "zone-c",
			class: classOf(harness.WaitForFirstConsumer, allowed(zoneKey, "zone-b", "zone-c")),
		},
		{name: "allowed topologies", class: classOf(allowed(zoneKey, "zone-c", "zone-b"))},
		{name: "allowed topologies in two terms", class: classOf(allowed(zoneKey, "zone-c"), allowed(zoneKey, "zone-a"))},
		{name: "allowed topology twice", class: classOf(allowed(zoneKey, "zone-b"), allowed(zoneKey, "zone-b", "zone-a"))},
		{name: "allowed topology that no node is in", class: classOf(allowed(zoneKey, "zone-x", "zone-b"))},
		{name: "names of a StatefulSet", claims: []string{"data-web-0", "data-web-1", "data-web-2", "data-web-3", "log-web-0", "log-web-1"}},
		{name: "names that nearly are of a StatefulSet", claims: []string{"data-web-007", "web-4294967295", "web-4294967296", "web--1", "a.b-1"}},
		{name: "names with a number only", claims: []string{"5", "web-1", "my-long-data-web-12"}},
		{name: "selected node with Immediate binding", claim: claimOf(annotated(selectedNodeKey, "zone-b."+poolDriver))},
		{name: "selected node that does not exist", claim: claimOf(annotated(selectedNodeKey, "nowhere"))},
	}
}

func strictCases() []testCase {
	return []testCase{
		{name: "delayed", class: classOf(harness.WaitForFirstConsumer), podOn: "zone-b"},
		{
			name: "delayed, allowed topologies", podOn: "zone-c",
			class: classOf(harness.WaitForFirstConsumer, allowed(zoneKey, "zone-b", "zone-c")),
		},
		{name: "Immediate"},
		{name: "Immediate, allowed topologies", class: classOf(allowed(zoneKey, "zone-b", "zone-c"))},
		{
			name: "selected node outside the allowed topologies", expect: refused,
			class: classOf(allowed(zoneKey, "zone-b")), claim: claimOf(annotated(selectedNodeKey, "zone-a."+poolDriver)),
		},
	}
}

func notImmediateCases() []testCase {
	return []testCase{
		{name: "Immediate"},
		{name: "Immediate, allowed topologies", class: classOf(allowed(zoneKey, "zone-b", "zone-c"))},
		{name: "delayed", class: classOf(harness.WaitForFirstConsumer), podOn: "zone-b"},
	}
}

// twoKeys is a driver whose nodes are in a zone and in a rack.
func twoKeys() driverSpec {
	driver := driverSpec{name: poolDriver, nodes: map[string]nodeSpec{}}
	for name, labels := range map[string]map[string]string{
		"a-1": {zoneKey: "zone-a", rackKey: "rack-1"},
		"a-2": {zoneKey: "zone-a", rackKey: "rack-2"},
		"b-1": {zoneKey: "zone-b", rackKey: "rack-1"},
		"c-3": {zoneKey: "zone-c", rackKey: "rack-3"}, // alone in its zone, so that the driver has no choice there
	} {
		driver.nodes[name] = nodeSpec{registered: []string{rackKey, zoneKey}, labels: labels}
	}
	return driver
}

func twoKeyCases() []testCase {
	return []testCase{
		{name: "Immediate"},
		{name: "delayed", class: classOf(harness.WaitForFirstConsumer), podOn: "b-1"},
		{name: "allowed by one key", class: classOf(allowed(zoneKey, "zone-c"))},
		{name: "delayed, allowed by one key", class: classOf(harness.WaitForFirstConsumer, allowed(zoneKey, "zone-a", "zone-c")), podOn: "c-3"},
		{name: "allowed by both keys", class: classOf(allowed(zoneKey, "zone-a", "zone-b"), and(rackKey, "rack-1"))},
		{name: "delayed, allowed by both keys", class: classOf(harness.WaitForFirstConsumer,
			allowed(zoneKey, "zone-a"), and(rackKey, "rack-1", "rack-2"), allowed(zoneKey, "zone-c")), podOn: "c-3"},
	}
}

// differentKeys is a driver in the middle of an upgrade: some of its nodes have registered one key, the others two.
func differentKeys() driverSpec {
	return driverSpec{name: poolDriver, nodes: map[string]nodeSpec{
		"old-a": {registered: []string{zoneKey}, labels: map[string]string{zoneKey: "zone-a"}},
		"old-b": {registered: []string{zoneKey}, labels: map[string]string{zoneKey: "zone-b"}},
		"new-c": {registered: []string{rackKey, zoneKey}, labels: map[string]string{zoneKey: "zone-c", rackKey: "rack-1"}},
	}}
}

func differentKeyCases() []testCase {
	return []testCase{
		{name: "Immediate"},
		{name: "delayed to a node with one key", class: classOf(harness.WaitForFirstConsumer), podOn: "old-b"},
		{name: "delayed to a node with two keys", class: classOf(harness.WaitForFirstConsumer), podOn: "new-c"},
	}
}

// flatDriver knows no topology.
func flatDriver() driverSpec {
	return driverSpec{name: poolDriver, flat: true, nodes: map[string]nodeSpec{"one": {labels: map[string]string{}}, "two": {labels: map[string]string{}}}}
}

func flatCases() []testCase {
	return []testCase{
		{name: "Immediate"},
		{name: "delayed", class: classOf(harness.WaitForFirstConsumer), podOn: "two"},
		{name: "allowed topologies", class: classOf(allowed(zoneKey, "zone-a"))},
	}
}
