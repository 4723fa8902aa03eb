package csi

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/connection"
	"github.com/kubernetes-csi/csi-lib-utils/metrics"
	"github.com/kubernetes-csi/csi-lib-utils/protosanitizer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"
)

// Endpoint turns the value of --csi-address into a gRPC target: a path or a unix:// URL. Anything else is an error, because CSI is
// spoken over a unix socket and plain TCP would carry secrets in the clear.
func Endpoint(address string) (string, error) {
	path := strings.TrimPrefix(address, "unix://")
	switch {
	case path == "":
		return "", fmt.Errorf("the driver's address is empty: give the path of its unix socket, for example /run/csi/socket")
	case strings.HasPrefix(path, "/"):
		return "unix://" + path, nil
	case strings.Contains(address, "://"):
		return "", fmt.Errorf("address %q is not a unix socket: give a path, for example /run/csi/socket", address)
	default:
		return "", fmt.Errorf("address %q is not an absolute path: give the path of the driver's unix socket, for example /run/csi/socket", address)
	}
}

// Dial prepares the connection to the driver; it neither connects nor blocks. The connection re-establishes itself whenever the
// driver comes back: the driver's container may restart under us, and a call meanwhile fails with Unavailable. Nothing of
// a connection is closed for being idle. Calls are recorded with metricsManager and logged at level 5 without secrets.
func Dial(address string, metricsManager metrics.CSIMetricsManager, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	endpoint, err := Endpoint(address)
	if err != nil {
		return nil, err
	}
	recorder := connection.ExtendedCSIMetricsManager{CSIMetricsManager: metricsManager}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket, guarded by file permissions
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", strings.TrimPrefix(target, "unix://"))
		}),
		grpc.WithChainUnaryInterceptor(logCalls, recorder.RecordMetricsClientInterceptor),
	}, more...)
	conn, err := grpc.NewClient(endpoint, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the driver at %s: %w", endpoint, err)
	}
	return conn, nil
}

// logCalls logs requests and answers at level 5. Stripping secrets costs more than the call itself, so it is not done for nothing.
func logCalls(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	logger := klog.FromContext(ctx).V(5)
	if !logger.Enabled() {
		return invoke(ctx, method, req, reply, conn, opts...)
	}
	logger.Info("CSI call", "method", method, "request", protosanitizer.StripSecrets(req))
	start := time.Now()
	err := invoke(ctx, method, req, reply, conn, opts...)
	logger.Info("CSI answer", "method", method, "duration", time.Since(start), "response", protosanitizer.StripSecrets(reply), "err", err)
	return err
}

// WatchConnection calls back each time the connection works again after it was broken, until ctx ends.
func WatchConnection(ctx context.Context, conn *grpc.ClientConn, back func()) {
	logger := klog.FromContext(ctx)
	broken := false
	for state := conn.GetState(); ; state = conn.GetState() {
		switch {
		case state == connectivity.Ready && broken:
			broken = false
			logger.Info("The driver is back")
			back()
		case state == connectivity.TransientFailure || state == connectivity.Idle:
			if !broken {
				logger.Info("The connection to the driver is broken, connecting again", "state", state.String())
			}
			broken = true
			conn.Connect() // an idle connection would wait for the next call
		}
		if !conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}
