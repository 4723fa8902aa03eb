package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/berth-csi/berth/e2e/harness"
)

// keep says what can be done with the cluster and leaves it to the reader until the context ends, which is then no error.
func keep(ctx context.Context, screen *screen, world *harness.World) error {
	if err := writeManifests(world.Dir); err != nil {
		return err
	}
	file := func(name ...string) string { return filepath.Join(append([]string{world.Dir}, name...)...) }
	screen.heading("It stays until Ctrl-C. In another terminal:")
	screen.say(fmt.Sprintf(`  export KUBECONFIG=%[1]s

  bin/kubectl apply -f %[2]s && bin/kubectl get pvc,pv
  bin/kubectl apply -f %[3]s && bin/kubectl get pvc --watch
  bin/kubectl delete -f %[3]s -f %[2]s

  bin/poold volumes --admin unix://%[4]s
  tail -f %[5]s`,
		world.ControlPlane.Kubeconfig(), file(claimManifest), file(podManifest), file("driver", "admin.sock"),
		world.Berth.LogFile()))
	select {
	case <-ctx.Done():
		return nil
	case <-world.Berth.Done():
		return errors.New("Berth has ended by itself")
	case <-world.Driver.Done():
		return errors.New("the CSI driver has ended by itself")
	}
}
