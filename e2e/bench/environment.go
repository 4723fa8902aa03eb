package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-csi/berth/e2e/harness"
)

// An environment is one fresh control plane with a driver and the subject running against it.
type environment struct {
	dir          string
	controlPlane *harness.ControlPlane
	driver       *harness.Driver
	subject      subject
	berthFlags   []string
	flags        []string         // that the group's world gives every subject
	env          []string         // that goes with them
	process      *harness.Process // the subject's
	replicas     []*harness.Berth // of the subject, the first of which is process; none of one that has no HTTP server
	identities   []string         // of the replicas in the lease, once there are two
	service      *harness.Service // in front of the replicas' webhooks; nil: there is none
	progress     io.Writer
	client       kubernetes.Interface
	tracker      *tracker
	stopTracker  func() // nil until the tracker watches
}

// unthrottled is limits of the controller-manager's client that nothing here reaches: with the stock ones, a bench
// measures the controller-manager.
func unthrottled() harness.ClientLimits { return harness.ClientLimits{QPS: 5000, Burst: 10000} }

// openEnvironment brings everything up in dir. Close has to be called whether or not it succeeds, if it returns an
// environment.
func openEnvironment(ctx context.Context, dir string, t task, o Options, progress io.Writer) (*environment, error) {
	s := subjects()[t.subject]
	e := &environment{dir: dir, subject: s, tracker: newTracker(), berthFlags: o.BerthFlags, progress: progress}
	limits := unthrottled()
	if t.group.stock {
		limits = harness.ClientLimits{}
	}
	var err error
	if e.controlPlane, err = harness.StartControlPlane(ctx, filepath.Join(dir, "cp"), harness.ControlPlaneOptions{
		Limits: limits, Controllers: t.group.controllers,
		Set: []string{harness.APIServer + ":audit-log-maxsize=10000"},
	}); err != nil {
		return e, err
	}
	config := e.controlPlane.Config()
	config.UserAgent = benchUserAgent + "/v1"
	if e.client, err = kubernetes.NewForConfig(config); err != nil {
		return e, err
	}
	if err := e.surround(ctx, t, o); err != nil {
		return e, err
	}
	watching, cancel := context.WithCancel(ctx)
	e.stopTracker = func() { cancel(); e.tracker.wait() }
	if err := e.tracker.watch(watching, e.client); err != nil {
		return e, err
	}
	if e.process, err = s.start(ctx, e); err != nil {
		return e, err
	}
	return e, nil
}

// surround starts the driver and makes what has to be there before the subject.
func (e *environment) surround(ctx context.Context, t task, o Options) error {
	dir, w := filepath.Join(e.dir, "driver"), t.group.world
	var err error
	if w == nil {
		if e.driver, err = startDriver(ctx, dir, t.latency); err != nil {
			return err
		}
		return createSurroundings(ctx, e.client, e.driver.Name)
	}
	if e.driver, err = harness.StartDriver(ctx, dir, w.driver(o, t.latency)); err != nil {
		return err
	}
	e.flags, e.env = w.flags(o), publishingEnv()
	return w.build(ctx, e.client, e.driver.Name, o)
}

func startDriver(ctx context.Context, dir string, latency time.Duration) (*harness.Driver, error) {
	config := harness.ZonesConfig(harness.DefaultDriverName, zones...)
	for i := range config.Pools {
		config.Pools[i].Size = "1000Ti"
	}
	options := harness.DriverOptions{Config: config}
	if latency > 0 {
		for _, method := range []string{harness.CreateVolume, harness.DeleteVolume} {
			options.Faults = append(options.Faults, harness.Fault{Method: method, Latency: latency.String()})
		}
	}
	return harness.StartDriver(ctx, dir, options)
}

// close stops everything. What does not stop is killed, which is worth telling but changes no figure.
func (e *environment) close(ctx context.Context) error {
	var errs []error
	if e.stopTracker != nil {
		e.stopTracker()
	}
	for _, process := range e.processes() {
		// How the subject ends is not what is measured; the established provisioner ends with a signal.
		if process.Running() {
			_, err := process.Stop(ctx)
			errs = append(errs, err)
		}
	}
	if e.service != nil {
		errs = append(errs, e.service.Close())
	}
	if e.driver != nil {
		if _, err := e.driver.Stop(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if e.controlPlane != nil {
		errs = append(errs, e.controlPlane.Down(ctx))
	}
	return errors.Join(errs...)
}

// processes are all of the subject.
func (e *environment) processes() []*harness.Process {
	if e.process == nil {
		return nil
	}
	all := []*harness.Process{e.process}
	for _, replica := range e.replicas[min(1, len(e.replicas)):] {
		all = append(all, replica.Process)
	}
	return all
}

// clusterAdmin makes a service account that may do everything. The other subjects use one because Berth does, so that
// the API server authenticates and authorizes all of them in the same way.
func (e *environment) clusterAdmin(ctx context.Context, name string) (string, error) {
	kubeconfig, err := e.controlPlane.ServiceAccountKubeconfig(ctx, harness.BerthNamespace, name)
	if err != nil {
		return "", err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: harness.BerthNamespace, Name: name}},
	}
	if _, err := e.client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("make %s cluster-admin: %w", name, err)
	}
	return kubeconfig, nil
}

// controlPlaneCPU is what all components have used so far, in seconds.
func (e *environment) controlPlaneCPU(ctx context.Context) (float64, error) {
	components, err := e.controlPlane.Status(ctx)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, c := range components {
		total += c.CPUSeconds
	}
	return total, nil
}

// runDir makes the directory of a run: below keep, where it stays, or a temporary one, which the caller removes. The
// path is short because a unix socket's may not be long.
func runDir(keep string, t task) (dir string, remove func(), err error) {
	if keep == "" {
		dir, err = os.MkdirTemp("", "bench-")
		return dir, func() { os.RemoveAll(dir) }, err
	}
	keep, err = filepath.Abs(keep)
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(keep, fmt.Sprintf("%d-%s-%s-%s", t.round, t.subject, t.group.name, t.latency))
	if _, err := os.Stat(dir); err == nil {
		return "", nil, fmt.Errorf("%s is there already: keep the runs in a new directory", dir)
	}
	return dir, func() {}, os.MkdirAll(dir, 0o755)
}
