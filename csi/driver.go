package csi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-lib-utils/connection"
	"github.com/kubernetes-csi/csi-lib-utils/rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
)

// Driver is who the driver is and what it can do, as it said when asked.
type Driver struct {
	Name string
	// Topology: volumes are not accessible from everywhere (VOLUME_ACCESSIBILITY_CONSTRAINTS).
	Topology bool
	// SingleNodeMultiWriter: the driver tells ReadWriteOnce and ReadWriteOncePod apart (SINGLE_NODE_MULTI_WRITER).
	SingleNodeMultiWriter bool
	// PublishUnpublish: volumes are attached to nodes by a controller (PUBLISH_UNPUBLISH_VOLUME).
	PublishUnpublish bool
	// Snapshots: volumes can be made from snapshots (CREATE_DELETE_SNAPSHOT).
	Snapshots bool
	// Clones: volumes can be made from volumes (CLONE_VOLUME).
	Clones bool
	// Modify: volumes can be made with mutable parameters (MODIFY_VOLUME).
	Modify bool
	// Capacity: the driver tells how much room there is (GET_CAPACITY).
	Capacity bool
}

// probeInterval is the pause between two questions to a driver that is not ready, as the established sidecars have it.
const probeInterval = time.Second

// ErrNotForUs marks what no waiting will mend: the driver answers, but it is not one that can be served.
var ErrNotForUs = errors.New("driver cannot be served")

// Identify asks the driver whether it is ready, its name and its capabilities. It keeps asking while the driver is unreachable,
// times out or is not ready, until ctx ends; the error then says what was seen last. A driver that lacks what provisioning
// needs is ErrNotForUs at once. Each call gets the given timeout.
func Identify(ctx context.Context, conn *grpc.ClientConn, timeout time.Duration) (Driver, error) {
	logger := klog.FromContext(ctx)
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	started := time.Now()
	said := ""
	for {
		driver, err := identifyOnce(ctx, conn, timeout)
		if err == nil || errors.Is(err, ErrNotForUs) {
			return driver, err
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			logger.Info("Waiting for the CSI driver", "reason", said, "waited", time.Since(started).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return Driver{}, fmt.Errorf("gave up on the driver after %s: %s", time.Since(started).Round(time.Second), said)
		case <-ticker.C:
		}
	}
}

func identifyOnce(ctx context.Context, conn *grpc.ClientConn, timeout time.Duration) (Driver, error) {
	call := func(do func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return do(ctx)
	}
	var (
		ready      bool
		name       string
		plugin     rpc.PluginCapabilitySet
		controller rpc.ControllerCapabilitySet
	)
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"Probe", func(ctx context.Context) (err error) { ready, err = rpc.Probe(ctx, conn); return err }},
		{"GetPluginInfo", func(ctx context.Context) (err error) { name, err = pluginName(ctx, conn); return err }},
		{"GetPluginCapabilities", func(ctx context.Context) (err error) {
			plugin, err = rpc.GetPluginCapabilities(ctx, conn)
			return err
		}},
		{"ControllerGetCapabilities", func(ctx context.Context) (err error) {
			if !plugin[csipb.PluginCapability_Service_CONTROLLER_SERVICE] {
				return nil // it need not serve the call then
			}
			controller, err = rpc.GetControllerCapabilities(ctx, conn)
			return err
		}},
	}
	for i, step := range steps {
		err := call(step.do)
		switch {
		case errors.Is(err, ErrNotForUs):
			return Driver{}, err
		case err != nil:
			return Driver{}, fmt.Errorf("%s: %s", step.what, status.Convert(err).Message())
		case i == 0 && !ready:
			return Driver{}, errors.New("Probe: the driver says it is not ready yet")
		}
	}
	return judge(name, plugin, controller)
}

// pluginName differs from the library's GetDriverName in that a missing name is an answer, not a passing failure.
func pluginName(ctx context.Context, conn *grpc.ClientConn) (string, error) {
	answer, err := csipb.NewIdentityClient(conn).GetPluginInfo(ctx, &csipb.GetPluginInfoRequest{})
	if err != nil {
		return "", err
	}
	if answer.GetName() == "" {
		return "", fmt.Errorf("%w: GetPluginInfo answered without a name", ErrNotForUs)
	}
	return answer.GetName(), nil
}

// judge turns capabilities into what we ask about.
func judge(name string, plugin rpc.PluginCapabilitySet, controller rpc.ControllerCapabilitySet) (Driver, error) {
	if !plugin[csipb.PluginCapability_Service_CONTROLLER_SERVICE] {
		return Driver{}, fmt.Errorf("%w: driver %s has no controller service (plugin capability CONTROLLER_SERVICE), so it cannot create volumes", ErrNotForUs, name)
	}
	if !controller[csipb.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME] {
		return Driver{}, fmt.Errorf("%w: driver %s cannot create volumes (controller capability CREATE_DELETE_VOLUME)", ErrNotForUs, name)
	}
	return Driver{
		Name:                  name,
		Topology:              plugin[csipb.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS],
		SingleNodeMultiWriter: controller[csipb.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER],
		PublishUnpublish:      controller[csipb.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME],
		Snapshots:             controller[csipb.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT],
		Clones:                controller[csipb.ControllerServiceCapability_RPC_CLONE_VOLUME],
		Modify:                controller[csipb.ControllerServiceCapability_RPC_MODIFY_VOLUME],
		Capacity:              controller[csipb.ControllerServiceCapability_RPC_GET_CAPACITY],
	}, nil
}

// Controller is the part of the driver's controller service that creates and deletes volumes.
type Controller struct {
	client  csipb.ControllerClient
	timeout time.Duration

	// Creates and Deletes bound the calls at once. They are apart, so that a thousand deletions do not hold up a claim. So do Capacities for
	// GetCapacity, whose answers become late first when a driver has too much to do.
	Creates, Deletes, Capacities *Limit
}

// NewController makes calls over conn, each with the given timeout (--timeout), and at most ceiling of each kind at once (--worker-threads).
// The time that a call waits for its turn is not part of its timeout.
func NewController(conn *grpc.ClientConn, timeout time.Duration, ceiling int) *Controller {
	return &Controller{
		client: csipb.NewControllerClient(conn), timeout: timeout,
		Creates: NewLimit(ceiling), Deletes: NewLimit(ceiling), Capacities: NewLimit(ceiling),
	}
}

// CreateVolume calls the driver. An answer without a volume or without a volume_id, both of which the specification forbids (CSI
// spec, CreateVolumeResponse), is an error without a status: nobody knows what exists, and Classify calls the outcome
// unknown.
func (c *Controller) CreateVolume(ctx context.Context, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
	var answer *csipb.CreateVolumeResponse
	err := c.Creates.Do(ctx, func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		Sent(ctx)
		answer, err = c.client.CreateVolume(ctx, request)
		return err
	})
	if err != nil {
		return nil, err
	}
	switch volume := answer.GetVolume(); {
	case volume == nil:
		return nil, errors.New("the driver answered OK but without a volume, which the CSI specification forbids: a defect of the driver")
	case volume.GetVolumeId() == "":
		return nil, errors.New("the driver answered OK but with an empty volume_id, which the CSI specification forbids: a defect of the driver")
	default:
		return volume, nil
	}
}

// DeleteVolume calls the driver.
func (c *Controller) DeleteVolume(ctx context.Context, request *csipb.DeleteVolumeRequest) error {
	return c.Deletes.Do(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		Sent(ctx)
		_, err := c.client.DeleteVolume(ctx, request)
		return err
	})
}

// ownPrefix begins the messages of errors that the gRPC library makes by itself when an answer came that it cannot pass on: too large, or not
// what the protocol says. They carry a code as if the driver had sent it, but the driver's handler is done.
const ownPrefix = "grpc: "

// grpcCode is here so that only this package knows how an error carries its code.
func grpcCode(err error) (codes.Code, string, bool) {
	var carrier interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &carrier) || carrier.GRPCStatus() == nil {
		return codes.Unknown, err.Error(), false
	}
	message := carrier.GRPCStatus().Message()
	return carrier.GRPCStatus().Code(), message, !strings.HasPrefix(message, ownPrefix)
}

type sentKey struct{}

// WhenSent has f called at the moment at which a call that is made with the context is sent, which may be long after it was made (Limit). f is called by
// the goroutine that makes the call.
func WhenSent(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, sentKey{}, f)
}

// Sent does what WhenSent asks for. Whoever makes a call to a driver calls it right before.
func Sent(ctx context.Context) {
	if f, ok := ctx.Value(sentKey{}).(func()); ok {
		f()
	}
}

// Migrated marks the calls made with a context as being for an in-tree volume that the driver has taken over, or for one of its own, for
// the label "migrated" of csi_sidecar_operations_seconds. Only drivers that took over from an in-tree one have that label.
func Migrated(ctx context.Context, migrated bool) context.Context {
	if !migrated {
		return ctx
	}
	return context.WithValue(ctx, connection.AdditionalInfoKey, connection.AdditionalInfo{Migrated: "true"})
}
