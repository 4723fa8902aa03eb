package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
)

// Capability is a CSI capability of the plugin, the controller or the node, by its name in the specification. A name
// that exists in several places (SINGLE_NODE_MULTI_WRITER) is one capability here: leaving it out leaves it out everywhere.
type Capability string

// The capabilities of the plugin, which have no enum in common with those of the services.
const (
	ControllerService        Capability = "CONTROLLER_SERVICE"
	AccessibilityConstraints Capability = "VOLUME_ACCESSIBILITY_CONSTRAINTS"
	OnlineExpansion          Capability = "ONLINE"
	SingleNodeMultiWriter    Capability = "SINGLE_NODE_MULTI_WRITER"
)

// Capabilities is the set the driver has. The zero value has none.
type Capabilities map[Capability]bool

// Has says whether a capability is advertised and served.
func (c Capabilities) Has(name Capability) bool { return c[name] }

// ControllerRPC names a controller capability.
func ControllerRPC(t csipb.ControllerServiceCapability_RPC_Type) Capability {
	return Capability(t.String())
}

// ControllerRPCs are the controller capabilities poold implements.
func ControllerRPCs() []csipb.ControllerServiceCapability_RPC_Type {
	return []csipb.ControllerServiceCapability_RPC_Type{
		csipb.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csipb.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csipb.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csipb.ControllerServiceCapability_RPC_GET_CAPACITY,
		csipb.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csipb.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csipb.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csipb.ControllerServiceCapability_RPC_PUBLISH_READONLY,
		csipb.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csipb.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES,
		csipb.ControllerServiceCapability_RPC_GET_VOLUME,
		csipb.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
		csipb.ControllerServiceCapability_RPC_MODIFY_VOLUME,
		csipb.ControllerServiceCapability_RPC_GET_SNAPSHOT,
	}
}

// NodeRPCs are the node capabilities poold implements when it mounts.
func NodeRPCs() []csipb.NodeServiceCapability_RPC_Type {
	return []csipb.NodeServiceCapability_RPC_Type{
		csipb.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csipb.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csipb.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csipb.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
}

// NodeRPC names a node capability.
func NodeRPC(t csipb.NodeServiceCapability_RPC_Type) Capability { return Capability(t.String()) }

// capabilities is everything poold can do, without the named ones.
func capabilities(without []string) (Capabilities, error) {
	all := Capabilities{ControllerService: true, AccessibilityConstraints: true, OnlineExpansion: true}
	for _, t := range ControllerRPCs() {
		all[ControllerRPC(t)] = true
	}
	for _, t := range NodeRPCs() {
		all[NodeRPC(t)] = true
	}
	names := slices.Sorted(maps.Keys(all))
	for i, name := range without {
		if !slices.Contains(names, Capability(name)) {
			return nil, fmt.Errorf("capabilities.without[%d]: %q is none of %s", i, name, join(names))
		}
		delete(all, Capability(name))
	}
	// What the specification ties to a capability goes with it.
	if !all.Has(ControllerRPC(csipb.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME)) {
		delete(all, ControllerRPC(csipb.ControllerServiceCapability_RPC_PUBLISH_READONLY))
		delete(all, ControllerRPC(csipb.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES))
	}
	if !all.Has(ControllerRPC(csipb.ControllerServiceCapability_RPC_EXPAND_VOLUME)) {
		delete(all, OnlineExpansion)
	}
	return all, nil
}

// accessModes resolves the accepted modes. Left out, they are the single-node ones: a pool is one place.
func accessModes(written []string, has Capabilities) (map[string]bool, error) {
	if written == nil {
		written = []string{"SINGLE_NODE_WRITER", "SINGLE_NODE_READER_ONLY", "SINGLE_NODE_SINGLE_WRITER", "SINGLE_NODE_MULTI_WRITER"}
	}
	for i, name := range written {
		if mode, ok := csipb.VolumeCapability_AccessMode_Mode_value[name]; !ok || mode == 0 {
			return nil, fmt.Errorf("accessModes[%d]: %q is not a CSI access mode", i, name)
		}
	}
	modes := set(written)
	if !has.Has(SingleNodeMultiWriter) { // the capability is what makes these two modes known to the driver
		delete(modes, "SINGLE_NODE_SINGLE_WRITER")
		delete(modes, "SINGLE_NODE_MULTI_WRITER")
	}
	return modes, nil
}

func join(names []Capability) string {
	text := make([]string, len(names))
	for i, n := range names {
		text[i] = string(n)
	}
	return strings.Join(text, ", ")
}
