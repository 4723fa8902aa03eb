package csi

import (
	"context"
	"errors"
	"fmt"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/topology"
)

// Node is the node that a driver's instance runs on, as it says.
type Node struct {
	ID      string           // the driver's name for it
	Segment topology.Segment // where volumes have to be accessible from to be used there
}

// IdentifyNode asks a driver's instance about its node (CSI spec, NodeGetInfo). It keeps asking while the driver cannot tell, until ctx ends.
// A driver that can never be served on each node is ErrNotForUs at once. Each call gets the given timeout.
func IdentifyNode(ctx context.Context, conn *grpc.ClientConn, driver Driver, timeout time.Duration) (Node, error) {
	if !driver.Topology {
		return Node{}, fmt.Errorf("%w on each node: driver %s does not say where its volumes are (plugin capability VOLUME_ACCESSIBILITY_CONSTRAINTS), so nobody could tell whose they are; run one provisioner for the whole cluster, without --node-deployment", ErrNotForUs, driver.Name)
	}
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	started := time.Now()
	said := ""
	for {
		node, err := nodeInfo(ctx, conn, driver, timeout)
		if err == nil || errors.Is(err, ErrNotForUs) {
			return node, err
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			klog.FromContext(ctx).Info("Waiting for the CSI driver to tell about its node", "reason", said)
		}
		select {
		case <-ctx.Done():
			return Node{}, fmt.Errorf("gave up on the driver after %s: %s", time.Since(started).Round(time.Second), said)
		case <-ticker.C:
		}
	}
}

func nodeInfo(ctx context.Context, conn *grpc.ClientConn, driver Driver, timeout time.Duration) (Node, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := csipb.NewNodeClient(conn).NodeGetInfo(ctx, &csipb.NodeGetInfoRequest{})
	if code := status.Code(err); code == codes.Unimplemented {
		return Node{}, fmt.Errorf("%w on each node: driver %s has no node service at this socket (NodeGetInfo: %s); --node-deployment is for a driver's instance on a node that serves both controller and node calls",
			ErrNotForUs, driver.Name, status.Convert(err).Message())
	}
	if err != nil {
		return Node{}, fmt.Errorf("NodeGetInfo: %s", status.Convert(err).Message())
	}
	segment := topology.NewSegment(answer.GetAccessibleTopology().GetSegments())
	if segment.IsZero() {
		return Node{}, fmt.Errorf("%w on each node: driver %s answers NodeGetInfo without accessible_topology, so volumes of this node cannot be told from those of others", ErrNotForUs, driver.Name)
	}
	if err := topology.ValidateSegment(segment); err != nil {
		return Node{}, fmt.Errorf("%w: NodeGetInfo of driver %s: %w", ErrNotForUs, driver.Name, err)
	}
	return Node{ID: answer.GetNodeId(), Segment: segment}, nil
}
