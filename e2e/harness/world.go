package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
)

// closeTimeout bounds Close when the caller's context does not.
const closeTimeout = 3 * time.Minute

// WorldOptions say what a World is made of. The zero value has everything, with three zones.
type WorldOptions struct {
	// Name tells the worlds on one control plane apart: driver, nodes, service account and logs are called after
	// it. Empty is "pool".
	Name string
	// Dir is where everything is kept. Empty is a new directory below the temporary one, removed by Close.
	Dir string
	// Shared is a control plane to use instead of a new one; Close leaves it running.
	Shared       *ControlPlane
	ControlPlane ControlPlaneOptions
	// Zones, each with a node and a pool of 1Ti. Empty is zone-a, zone-b and zone-c. Ignored when Driver has a
	// configuration of its own.
	Zones []string
	// Driver options; the name and zones are filled in when there is no configuration.
	Driver DriverOptions
	// Berth options; kubeconfig and socket are filled in.
	Berth BerthOptions
	// WithoutBerth leaves it to the caller to start Berth, or what stands in its place.
	WithoutBerth bool
}

// World is a control plane, a driver and Berth that belong together.
type World struct {
	Name, Dir    string
	ControlPlane *ControlPlane
	Driver       *Driver
	// Berth is nil until it has been started.
	Berth *Berth
	// Zones there are nodes and pools in.
	Zones []string

	options   WorldOptions
	removeDir bool
}

// NewWorld starts everything, or nothing when it fails.
func NewWorld(ctx context.Context, options WorldOptions) (*World, error) {
	if options.Name == "" {
		options.Name = "pool"
	}
	w := &World{Name: options.Name, Dir: options.Dir, ControlPlane: options.Shared, options: options}
	if w.Dir == "" {
		dir, err := os.MkdirTemp("", "berth-"+w.Name+"-")
		if err != nil {
			return nil, fmt.Errorf("start world %s: %w", w.Name, err)
		}
		w.Dir, w.removeDir = dir, true
	}
	if err := w.start(ctx); err != nil {
		w.removeDir = false // the logs say why
		return nil, fmt.Errorf("start world %s: %w", w.Name, errors.Join(err, w.Close(ctx)))
	}
	return w, nil
}

func (w *World) start(ctx context.Context) error {
	var err error
	if w.ControlPlane == nil {
		if w.ControlPlane, err = StartControlPlane(ctx, filepath.Join(w.Dir, "controlplane"), w.options.ControlPlane); err != nil {
			return err
		}
	}
	driver := w.options.Driver
	if driver.YAML == "" && driver.Config.DriverName == "" {
		w.Zones = w.options.Zones
		if len(w.Zones) == 0 {
			w.Zones = []string{"zone-a", "zone-b", "zone-c"}
		}
		driver.Config = ZonesConfig(w.Name+".csi.berth.dev", w.Zones...)
	}
	if w.Driver, err = StartDriver(ctx, filepath.Join(w.Dir, "driver"), driver); err != nil {
		return err
	}
	for _, zone := range w.Zones {
		if err := CreateNode(ctx, w.Client(), w.NodeIn(zone)); err != nil {
			return err
		}
	}
	if w.options.WithoutBerth {
		return nil
	}
	w.Berth, err = w.StartBerth(ctx, w.options.Berth)
	return err
}

// StartBerth starts a Berth in this world and leaves it to the caller to stop it. Kubeconfig and socket are filled in
// where options leave them out.
func (w *World) StartBerth(ctx context.Context, options BerthOptions) (*Berth, error) {
	var err error
	if options.Kubeconfig == "" {
		if options.Kubeconfig, err = BerthAccount(ctx, w.ControlPlane, "berth-"+w.Name); err != nil {
			return nil, err
		}
	}
	if options.Socket == "" {
		options.Socket = w.Driver.Socket
	}
	if options.Admission != nil && options.Admission.Account == "" {
		options.Admission = new(*options.Admission)
		options.Admission.Account = "berth-" + w.Name
	}
	return StartBerth(ctx, filepath.Join(w.Dir, "berth"), options)
}

// User is what the API server calls the Berth of this world.
func (w *World) User() string {
	return fmt.Sprintf("system:serviceaccount:%s:berth-%s", BerthNamespace, w.Name)
}

// Client is the administrator's.
func (w *World) Client() *kubernetes.Clientset { return w.ControlPlane.Client() }

// ZoneKey is the topology key of the driver.
func (w *World) ZoneKey() string { return ZoneKey(w.Driver.Name) }

// NodeIn describes the node of a zone.
func (w *World) NodeIn(zone string) NodeSpec {
	return NodeSpec{
		Name:   w.Name + "-" + zone,
		Driver: w.Driver.Name,
		Labels: map[string]string{w.ZoneKey(): zone},
	}
}

// Close stops what NewWorld started: Berth, which has to end cleanly, the driver, and the control plane if it is ours.
func (w *World) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	var errs []error
	if w.Berth != nil && w.Berth.Running() {
		exit, err := w.Berth.Stop(ctx)
		if err == nil && exit != (Exit{}) {
			err = fmt.Errorf("%s ended with %s; %s", w.Berth.spec.Name, exit, w.Berth.describeLog())
		}
		errs = append(errs, err)
	}
	if w.Driver != nil {
		_, err := w.Driver.Stop(ctx)
		errs = append(errs, err)
	}
	if w.options.Shared == nil && w.ControlPlane != nil {
		errs = append(errs, w.ControlPlane.Down(ctx))
	}
	if w.removeDir {
		errs = append(errs, os.RemoveAll(w.Dir))
	}
	return errors.Join(errs...)
}
