package main

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/berth-csi/berth/e2e/harness"
)

// driverSpec is a driver and the nodes it runs on. Drivers of different groups have different names, so that their nodes do
// not get in each other's way.
type driverSpec struct {
	name string
	// nodes by name.
	nodes map[string]nodeSpec
	// flat is a driver without topology.
	flat bool
	// without are the capabilities that it lacks.
	without []string
	// accessModes it takes, by their CSI names; empty is all.
	accessModes []string
}

// nodeSpec is a machine: the topology keys that the driver registered there, and all of its labels.
type nodeSpec struct {
	registered []string
	labels     map[string]string
}

// everyAccessMode is the ones of the specification that a claim can lead to.
var everyAccessMode = []string{
	"SINGLE_NODE_WRITER", "SINGLE_NODE_SINGLE_WRITER", "SINGLE_NODE_MULTI_WRITER", "MULTI_NODE_READER_ONLY",
	"MULTI_NODE_MULTI_WRITER",
}

// hostLabel is on every node, so that a Pod can be sent there.
const hostLabel = "kubernetes.io/hostname"

// inZones is a driver with a node in each zone, all of which know it by one key.
func inZones(driver, key string, zones ...string) driverSpec {
	spec := driverSpec{name: driver, nodes: map[string]nodeSpec{}}
	for _, zone := range zones {
		spec.nodes[zone] = nodeSpec{registered: []string{key}, labels: map[string]string{key: zone}}
	}
	return spec
}

// on is the name of a node in the API, which is the cluster's and not a group's.
func (d driverSpec) on(node string) string { return node + "." + d.name }

// yaml is the configuration file of the driver: a pool for every different set of labels that it registered.
func (d driverSpec) yaml() (string, error) {
	config := struct {
		harness.DriverConfig
		AccessModes []string `json:"accessModes"`
	}{AccessModes: d.accessModes}
	config.DriverName, config.Data = d.name, "none"
	config.Capabilities.Without = d.without
	if len(d.accessModes) == 0 {
		config.AccessModes = everyAccessMode
	}
	if d.flat {
		config.Topology = new(false)
		config.Pools = []harness.DriverPool{{Size: "1Ti"}}
	}
	for _, name := range slices.Sorted(maps.Keys(d.nodes)) {
		segments := d.nodes[name].segments()
		known := slices.ContainsFunc(config.Pools, func(pool harness.DriverPool) bool { return maps.Equal(pool.Segments, segments) })
		if !d.flat && !known {
			config.Pools = append(config.Pools, harness.DriverPool{Segments: segments, Size: "1Ti"})
		}
	}
	text, err := yaml.Marshal(config)
	return string(text), err
}

func (n nodeSpec) segments() map[string]string {
	segments := map[string]string{}
	for _, key := range n.registered {
		segments[key] = n.labels[key]
	}
	return segments
}

// start starts the driver with everything it keeps in dir.
func (d driverSpec) start(ctx context.Context, dir string) (*harness.Driver, error) {
	text, err := d.yaml()
	if err != nil {
		return nil, err
	}
	return harness.StartDriver(ctx, filepath.Join(dir, "driver"), harness.DriverOptions{YAML: text})
}

// createNodes creates the machines.
func (d driverSpec) createNodes(ctx context.Context, client kubernetes.Interface) error {
	for short, spec := range d.nodes {
		name := d.on(short)
		node := harness.Node(harness.NodeSpec{Name: name, Labels: maps.Clone(spec.labels)})
		node.Labels[hostLabel] = name
		if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create node: %w", err)
		}
		csiNode := &storagev1.CSINode{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{
				Name: d.name, NodeID: name, TopologyKeys: spec.registered,
			}}},
		}
		if _, err := client.StorageV1().CSINodes().Create(ctx, csiNode, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create CSINode: %w", err)
		}
	}
	return nil
}

// deleteNodes takes them away again, so that groups may share names.
func (d driverSpec) deleteNodes(ctx context.Context, client kubernetes.Interface) error {
	for short := range d.nodes {
		name := d.on(short)
		if err := unlessGone(client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			return err
		}
		if err := unlessGone(client.StorageV1().CSINodes().Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			return err
		}
	}
	return nil
}
