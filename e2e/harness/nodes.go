package harness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Instance is the driver and the Berth of one node, in distributed mode.
type Instance struct {
	// Zone is the only one that the driver has a pool in, Node the machine there.
	Zone, Node string
	// Account is the service account of the Berth.
	Account string
	Driver  *Driver
	Berth   *Berth
}

// InstanceOptions say what is different about an instance. The zero value has a pool of 1Ti.
type InstanceOptions struct {
	Size string
	// Driver changes the driver's configuration.
	Driver func(*DriverConfig)
	Faults []Fault
	// Berth options; kubeconfig, socket, node and name are filled in.
	Berth BerthOptions
	// WithoutNode leaves out the Node and the CSINode, because they are there.
	WithoutNode bool
}

// StartInstance makes the node of a zone, and starts a driver and a Berth for it. Both are the caller's to stop. The node is of the world's driver by
// name, of which each instance is a process of its own that knows nothing of the others.
func (w *World) StartInstance(ctx context.Context, zone string, options InstanceOptions) (*Instance, error) {
	node := w.NodeIn(zone)
	i := &Instance{Zone: zone, Node: node.Name, Account: "berth-" + w.Name + "-" + zone}
	if err := i.start(ctx, w, options); err != nil {
		return nil, fmt.Errorf("start instance of %s: %w", zone, errors.Join(err, i.Stop(ctx)))
	}
	return i, nil
}

func (i *Instance) start(ctx context.Context, w *World, options InstanceOptions) error {
	if !options.WithoutNode {
		if err := CreateNode(ctx, w.Client(), w.NodeIn(i.Zone)); err != nil {
			return err
		}
	}
	config := ZonesConfig(w.Driver.Name, i.Zone)
	if options.Size != "" {
		config.Pools[0].Size = options.Size
	}
	if options.Driver != nil {
		options.Driver(&config)
	}
	var err error
	i.Driver, err = StartDriver(ctx, filepath.Join(w.Dir, i.Zone), DriverOptions{Config: config, NodeName: i.Node, Faults: options.Faults})
	if err != nil {
		return err
	}
	berth := options.Berth
	if berth.Kubeconfig, err = NodeAccount(ctx, w.ControlPlane, i.Account); err != nil {
		return err
	}
	berth.Socket = i.Driver.Socket
	berth.Env = append([]string{"NODE_NAME=" + i.Node}, berth.Env...)
	berth.Flags = append([]string{"--node-deployment"}, berth.Flags...)
	if berth.Name == "" {
		berth.Name = "berth-" + i.Zone
	}
	i.Berth, err = StartBerth(ctx, filepath.Join(w.Dir, i.Zone), berth)
	return err
}

// Stop ends both, the Berth first, which has to end cleanly.
func (i *Instance) Stop(ctx context.Context) error {
	var errs []error
	if i.Berth != nil && i.Berth.Running() {
		exit, err := i.Berth.Stop(ctx)
		if err == nil && exit != (Exit{}) {
			err = fmt.Errorf("%s ended with %s; %s", i.Berth.spec.Name, exit, i.Berth.describeLog())
		}
		errs = append(errs, err)
	}
	if i.Driver != nil {
		_, err := i.Driver.Stop(ctx)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
