package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The components of the control plane, as Kill, Start and Restart know them.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

// ControlPlaneOptions are the flags of "controlplane up". The zero value is a stock control plane.
type ControlPlaneOptions struct {
	// Limits of the controller-manager's client. Zero leaves Kubernetes' own, 20 and 30.
	Limits ClientLimits
	// Controllers to run instead of the ones storage needs.
	Controllers string
	// FeatureGates, each COMPONENT:GATE=BOOL.
	FeatureGates []string
	// Set are flags of components, each COMPONENT:FLAG=VALUE.
	Set []string
	// WithoutCRDs and WithoutAudit leave out the VolumeSnapshot CRDs and the audit log.
	WithoutCRDs, WithoutAudit bool
	// Node adds a real one, with these images for its Pods.
	Node   bool
	Images []string
	// Timeout for everything to be ready. Zero is three minutes.
	Timeout time.Duration
}

// ClientLimits are those of a Kubernetes client. The zero value stands for the stock limits.
type ClientLimits struct {
	QPS   float64
	Burst int
}

// ControlPlane is a real control plane on loopback.
type ControlPlane struct {
	// Dir holds its kubeconfig, its logs and its data.
	Dir string
	// Server is the URL of the API server, Version what it calls itself, ReadyAfter what it took to come up.
	Server     string
	Version    string
	ReadyAfter time.Duration

	binary  string
	process *Process
	config  *rest.Config
	client  *kubernetes.Clientset
}

// StartControlPlane starts a control plane that keeps everything in dir, and returns when it is ready. The path of dir
// is limited by what a unix socket may be called: about 90 bytes.
func StartControlPlane(ctx context.Context, dir string, options ControlPlaneOptions) (*ControlPlane, error) {
	binary, err := Binary(controlPlaneBinary)
	if err != nil {
		return nil, err
	}
	timeout := options.Timeout
	if timeout == 0 {
		timeout = 3 * time.Minute
	}
	process, err := StartProcess(ProcessSpec{
		Name: controlPlaneBinary,
		Path: binary,
		Args: options.args(dir, timeout),
		Log:  filepath.Join(dir, "logs", "up.log"),
		// It has children of its own to stop.
		DeathSignal: syscall.SIGTERM,
	})
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{Dir: dir, binary: binary, process: process}
	// Its own timeout comes first and says more than ours would.
	waiting, cancel := context.WithTimeoutCause(ctx, timeout+10*time.Second, errors.New("not ready in time"))
	defer cancel()
	if err := c.awaitReady(waiting); err != nil {
		process.Kill()
		if _, missing, refused := strings.Cut(process.Log(), "no node can run here: "); refused {
			return nil, fmt.Errorf("%w: %s", ErrNoNode, strings.TrimSpace(missing))
		}
		return nil, fmt.Errorf("start control plane: %w; %s", err, process.describeLog())
	}
	return c, nil
}

func (o ControlPlaneOptions) args(dir string, timeout time.Duration) []string {
	args := []string{"up", "--dir", dir, "--timeout", timeout.String()}
	if o.Limits != (ClientLimits{}) {
		args = append(args,
			"--controller-manager-qps", strconv.FormatFloat(o.Limits.QPS, 'f', -1, 64),
			"--controller-manager-burst", strconv.Itoa(o.Limits.Burst))
	}
	if o.Controllers != "" {
		args = append(args, "--controllers", o.Controllers)
	}
	for _, gate := range o.FeatureGates {
		args = append(args, "--feature-gates", gate)
	}
	for _, set := range o.Set {
		args = append(args, "--set", set)
	}
	if o.Node {
		args = append(args, "--node")
	}
	for _, image := range o.Images {
		args = append(args, "--image", image)
	}
	if o.WithoutCRDs {
		args = append(args, "--crds=false")
	}
	if o.WithoutAudit {
		args = append(args, "--audit=false")
	}
	return args
}

func (c *ControlPlane) awaitReady(ctx context.Context) error {
	return wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		if !c.process.Running() {
			exit, _ := c.process.Wait(ctx)
			return false, fmt.Errorf("ended with %s", exit)
		}
		err := c.load()
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	})
}

// load reads what the control plane says about itself once it is ready.
func (c *ControlPlane) load() error {
	data, err := os.ReadFile(filepath.Join(c.Dir, "ready"))
	if err != nil {
		return err
	}
	var ready struct {
		Server       string  `json:"server"`
		Version      string  `json:"version"`
		ReadySeconds float64 `json:"readySeconds"`
	}
	if err := json.Unmarshal(data, &ready); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(c.Dir, "ready"), err)
	}
	c.Server, c.Version = ready.Server, ready.Version
	c.ReadyAfter = time.Duration(ready.ReadySeconds * float64(time.Second))
	if c.config, err = ClientConfig(c.Kubeconfig()); err != nil {
		return err
	}
	c.client, err = kubernetes.NewForConfig(c.config)
	return err
}

// ClientConfig reads a kubeconfig for a client that speaks protobuf and does not limit itself.
func ClientConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS = -1
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.UserAgent = "harness"
	config.WarningHandler = rest.NoWarnings{} // who wants to hear them has a client of another kind
	return config, nil
}

// Kubeconfig is the administrator's.
func (c *ControlPlane) Kubeconfig() string { return filepath.Join(c.Dir, "kubeconfig") }

// Config is the administrator's, for a client of another kind.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Client is the administrator's: protobuf, no rate limit.
func (c *ControlPlane) Client() *kubernetes.Clientset { return c.client }

// Usage is the cost of the process that looks after the components; theirs is in Status.
func (c *ControlPlane) Usage() (Usage, error) {
	return c.process.Usage()
}

// Down stops the control plane and waits until it has.
func (c *ControlPlane) Down(ctx context.Context) error {
	exit, err := c.process.Stop(ctx)
	if err == nil && exit != (Exit{}) {
		err = fmt.Errorf("it ended with %s; %s", exit, c.process.describeLog())
	}
	if err != nil {
		return fmt.Errorf("stop control plane: %w", err)
	}
	return nil
}
