package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/berth-csi/berth/e2e/harness"
)

// story is told once the cluster is up.
type story func(ctx context.Context, screen *screen, world *harness.World) error

// withCluster brings everything up in dir, a line a part, tells the story, and takes everything down, whatever happened.
func withCluster(ctx context.Context, screen *screen, dir, driverConfig string, tell story) error {
	world := &harness.World{Name: "demo", Dir: dir}
	screen.heading("A cluster on this machine")
	err := bringUp(ctx, screen, world, driverConfig)
	if err == nil {
		err = tell(ctx, screen, world)
	}
	return errors.Join(err, takeDown(ctx, screen, world))
}

func bringUp(ctx context.Context, screen *screen, world *harness.World, driverConfig string) error {
	config, zones, err := readDriverConfig(driverConfig)
	if err != nil {
		return err
	}
	world.Zones = zones
	err = screen.step(ctx, "control plane", func(ctx context.Context) (seen string, err error) {
		world.ControlPlane, err = harness.StartControlPlane(ctx, filepath.Join(world.Dir, "controlplane"), harness.ControlPlaneOptions{})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("Kubernetes %s on %s", world.ControlPlane.Version, world.ControlPlane.Server), nil
	})
	if err != nil {
		return err
	}
	err = screen.step(ctx, "CSI driver", func(ctx context.Context) (seen string, err error) {
		world.Driver, err = harness.StartDriver(ctx, filepath.Join(world.Dir, "driver"), harness.DriverOptions{YAML: config})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, pools in %s", world.Driver.Name, strings.Join(zones, ", ")), nil
	})
	if err != nil {
		return err
	}
	err = screen.step(ctx, "nodes", func(ctx context.Context) (seen string, err error) {
		var names []string
		for _, zone := range zones {
			node := world.NodeIn(zone)
			if err := harness.CreateNode(ctx, world.Client(), node); err != nil {
				return "", err
			}
			names = append(names, node.Name)
		}
		return strings.Join(names, ", "), nil
	})
	if err != nil {
		return err
	}
	err = screen.step(ctx, "Berth", func(ctx context.Context) (seen string, err error) {
		if world.Berth, err = world.StartBerth(ctx, harness.BerthOptions{}); err != nil {
			return "", err
		}
		return "provisions for " + world.Driver.Name, nil
	})
	if err != nil {
		return err
	}
	return screen.step(ctx, "classes", func(ctx context.Context) (string, error) { return prepare(ctx, world) })
}

// readDriverConfig returns the configuration and the zones it has pools in.
func readDriverConfig(file string) (text string, zones []string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", nil, fmt.Errorf("the driver's configuration (run this from the top of the repository): %w", err)
	}
	var config harness.DriverConfig
	if err := yaml.Unmarshal(data, &config); err != nil {
		return "", nil, fmt.Errorf("the driver's configuration, %s: %w", file, err)
	}
	for _, pool := range config.Pools {
		zone := pool.Segments[harness.ZoneKey(config.DriverName)]
		if zone == "" {
			return "", nil, fmt.Errorf("the driver's configuration, %s: a pool has no %s", file, harness.ZoneKey(config.DriverName))
		}
		zones = append(zones, zone)
	}
	return string(data), zones, nil
}

// prepare creates the storage classes, and the service account that every Pod wants.
func prepare(ctx context.Context, world *harness.World) (seen string, err error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	_, err = world.Client().CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	classes, err := readManifest(classesManifest)
	if err != nil {
		return "", err
	}
	for _, class := range classes {
		if err := create(ctx, world.Client(), class); err != nil {
			return "", err
		}
	}
	return "pool (Immediate), pool-local (WaitForFirstConsumer)", nil
}

// takeDown stops what was started. It has its own time, so that an interrupt does not cut it short.
func takeDown(ctx context.Context, screen *screen, world *harness.World) error {
	if world.ControlPlane == nil {
		return nil
	}
	screen.heading("Taken down")
	return screen.step(context.WithoutCancel(ctx), "stop", func(ctx context.Context) (string, error) {
		if err := world.Close(ctx); err != nil {
			return "", err
		}
		return "every process has ended cleanly", nil
	})
}
