package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/lead"
	"github.com/berth-csi/berth/provisioner"
	"github.com/berth-csi/berth/topology"
)

// driverConnection is a driver that has said who it is.
type driverConnection struct {
	conn   *grpc.ClientConn
	driver csi.Driver
	node   csi.Node // in distributed mode
}

// provision waits for the driver unless it was found already, fills the caches, waits to lead, and provisions. With admission, whoever
// leads keeps the certificates, too.
func (p *process) provision(ctx context.Context, caches *caches, found *driverConnection, a *admission) error {
	if found == nil {
		var err error
		if found, err = p.dial(ctx); err != nil { // for as long as it takes: admission goes on meanwhile
			if ctx.Err() != nil {
				return nil // told to stop while waiting
			}
			return err
		}
		defer found.conn.Close()
	}
	if a != nil {
		a.driverFound(found.driver)
	}
	served := p.attributesServed(ctx)
	if ctx.Err() != nil {
		return nil
	}
	conn, driver := found.conn, found.driver
	config := p.config.Provisioner(driver, found.node, served)
	calls := csi.NewController(conn, p.config.DriverTimeout, config.Workers)
	p.registerLimits(calls)
	config.Driver = calls
	config.Informers = caches
	config.Registry = p.registry
	var indexed []cache.InformerSynced
	var err error
	switch node := config.Settings.Node; {
	case !node.IsZero():
		config.Topology = localTopology(node)
		config.Capacities = calls
		if config.JournalName != "" {
			config.JournalOwner = p.nodeOwner(ctx, node.Name)
		}
	case config.Settings.Driver.Topology:
		if config.Topology, indexed, err = watchTopology(caches, driver.Name); err != nil {
			return err
		}
	}
	publisher, err := p.capacity(ctx, capacityParts{calls, driver, config.Settings.Node.Name, config.Topology, caches})
	if err != nil {
		return err
	}
	if publisher != nil {
		config.Room = publisher
		p.publishes.Store(publisher)
	}
	controller, err := provisioner.New(config)
	if err != nil {
		return err
	}
	p.works.Store(controller)
	parts := []func(context.Context) error{controller.Run}
	// Caches are filled before the election, so that a standby takes over without a pause.
	caches.start()
	if err := p.fillCaches(ctx, caches, indexed); err != nil || ctx.Err() != nil {
		return err
	}
	watchCtx, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watching.Go(func() {
		csi.WatchConnection(watchCtx, conn, func() {
			if err := p.sameDriver(watchCtx, found); err != nil {
				stop(err)
				return
			}
			controller.DriverIsBack()
			if publisher != nil {
				publisher.DriverIsBack()
			}
		})
	})
	defer watching.Wait()
	defer stopWatching()
	if publisher != nil {
		watching.Go(func() { publisher.Warm(watchCtx) })
		parts = append(parts, publisher.Run)
	}
	if a != nil && p.elector != nil {
		parts = append(parts, a.keep)
	}
	work := func(ctx context.Context) error { return together(ctx, parts...) }
	if p.elector == nil {
		err = work(ctx)
	} else {
		err = p.elector.Run(ctx, lead.LeaseName(driver.Name), work)
	}
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, errDriverChanged) {
		return cause
	}
	return err
}

// watchTopology keeps an index of the cluster's segments. The index is complete when indexed is true.
func watchTopology(factory informers.SharedInformerFactory, driver string) (*topology.Index, []cache.InformerSynced, error) {
	index := topology.NewIndex()
	nodes, err := factory.Core().V1().Nodes().Informer().AddEventHandler(index.NodeEvents())
	if err != nil {
		return nil, nil, fmt.Errorf("watch nodes: %w", err)
	}
	csiNodes, err := factory.Storage().V1().CSINodes().Informer().AddEventHandler(index.CSINodeEvents(driver))
	if err != nil {
		return nil, nil, fmt.Errorf("watch CSINodes: %w", err)
	}
	return index, []cache.InformerSynced{nodes.HasSynced, csiNodes.HasSynced}, nil
}
