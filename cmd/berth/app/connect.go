package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/provisioner"
)

// dial connects to the driver, waits until it answers, and finds out who it is. A driver that took over from an in-tree one is connected to
// again, with metrics that tell the calls for in-tree volumes apart.
func (p *process) dial(ctx context.Context) (*driverConnection, error) {
	conn, err := csi.Dial(p.config.DriverAddress, p.calls.Load(), p.config.Tracer.DialOptions()...)
	if err != nil {
		return nil, err
	}
	driver, node, err := p.identify(ctx, conn)
	if err == nil && provisioner.InTreeName(driver.Name) != "" {
		p.calls.Store(newDriverMetrics(true))
		_ = conn.Close() // nothing is under way
		conn, err = csi.Dial(p.config.DriverAddress, p.calls.Load(), p.config.Tracer.DialOptions()...)
	}
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, err
	}
	p.calls.Load().SetDriverName(driver.Name)
	return &driverConnection{conn, driver, node}, nil
}

// identify waits until the driver answers. Which node it is on is only asked in distributed mode.
func (p *process) identify(ctx context.Context, conn *grpc.ClientConn) (driver csi.Driver, node csi.Node, err error) {
	driver, err = csi.Identify(ctx, conn, p.config.DriverTimeout)
	if err == nil && p.config.NodeName != "" {
		node, err = csi.IdentifyNode(ctx, conn, driver, p.config.DriverTimeout)
	}
	if err != nil {
		return csi.Driver{}, csi.Node{}, fmt.Errorf("CSI driver at %s: %w", p.config.DriverAddress, err)
	}
	if want := p.config.DriverName; want != "" && want != driver.Name {
		return csi.Driver{}, csi.Node{}, fmt.Errorf("the CSI driver at %s calls itself %q, and --driver-name says %q: correct the flag, or the socket's path",
			p.config.DriverAddress, driver.Name, want)
	}
	klog.FromContext(ctx).Info("Driver found", "driver", driver.Name, "topology", driver.Topology,
		"singleNodeMultiWriter", driver.SingleNodeMultiWriter, "publishUnpublish", driver.PublishUnpublish)
	if p.config.NodeName != "" {
		klog.FromContext(ctx).Info("Provisioning for one node", "node", p.config.NodeName, "id", node.ID, "segment", node.Segment)
	}
	return driver, node, nil
}

// startup bounds what is waited for at start.
func (p *process) startup(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.config.StartupTimeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, p.config.StartupTimeout)
}

const apiServerInterval = time.Second

// awaitAPIServer asks the API server for its version until it answers.
func (p *process) awaitAPIServer(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	ticker := time.NewTicker(apiServerInterval)
	defer ticker.Stop()
	said := ""
	for {
		err := p.config.Client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
		if err == nil || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			return nil // it answers; what we may do is for the caches to find out
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			logger.Info("Waiting for the API server", "reason", said)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up on the API server after --startup-timeout: %s", said)
		case <-ticker.C:
		}
	}
}

// attributesServed asks whether the API server has volume attributes classes (since Kubernetes 1.34). If it does not say, it has.
func (p *process) attributesServed(ctx context.Context) bool {
	list, err := p.config.Client.Discovery().ServerResourcesForGroupVersion(storagev1.SchemeGroupVersion.String())
	if err != nil {
		klog.FromContext(ctx).Info("The API server does not say whether it has volume attributes classes; taking it that it has", "err", err)
		return true
	}
	served := slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "volumeattributesclasses" })
	if !served {
		klog.FromContext(ctx).Info("The API server has no volume attributes classes, claims that name one are provisioned without; restart after an upgrade of the API server")
	}
	return served
}

// errDriverChanged ends the process, after what is under way, so that it starts anew with what the driver can do now.
var errDriverChanged = errors.New("the driver is not the same any more, starting anew to serve it")

// sameDriver waits until a driver that was away is ready again, and asks it who it is: its container may have been replaced by another
// version. Calls go on meanwhile; their outcomes tell by themselves.
func (p *process) sameDriver(ctx context.Context, was *driverConnection) error {
	is, err := csi.Identify(ctx, was.conn, p.config.DriverTimeout)
	var node csi.Node
	if err == nil && p.config.NodeName != "" {
		node, err = csi.IdentifyNode(ctx, was.conn, is, p.config.DriverTimeout)
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", errDriverChanged, err)
	case is != was.driver:
		return fmt.Errorf("%w: it was %+v and is %+v", errDriverChanged, was.driver, is)
	case node != was.node:
		return fmt.Errorf("%w: its node was %s and is %s", errDriverChanged, was.node.Segment, node.Segment)
	}
	return nil
}

// registerLimits shows how many calls the driver is given at once.
func (p *process) registerLimits(calls *csi.Controller) {
	for operation, limit := range map[string]*csi.Limit{"CreateVolume": calls.Creates, "DeleteVolume": calls.Deletes, "GetCapacity": calls.Capacities} {
		labels := prometheus.Labels{"operation": operation}
		p.registry.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "berth_driver_call_limit", Help: "Calls that the driver is given at once, at the moment.", ConstLabels: labels,
			}, func() float64 { return float64(limit.Value()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "berth_driver_calls_in_flight", Help: "Calls to the driver that are under way.", ConstLabels: labels,
			}, func() float64 { return float64(limit.InFlight()) }))
	}
}
