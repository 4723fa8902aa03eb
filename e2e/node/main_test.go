//go:build node

package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-csi/berth/e2e/harness"
)

// storiesAtOnce is how many run side by side. They mostly wait, so this may be more than there are processors.
const storiesAtOnce = "4"

// cluster is that of the stories that leave it alive. TestMain has no other way to hand it to them.
var cluster *harness.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(run(m)) //nolint:forbidigo // this is the main function of the tests
}

func run(m *testing.M) (code int) {
	flag.Parse()
	if err := flag.Set("test.parallel", storiesAtOnce); err != nil {
		return complain(err)
	}
	dir, err := os.MkdirTemp("", "berth-node-")
	if err != nil {
		return complain(err)
	}
	defer func() {
		if code != 0 {
			fmt.Fprintf(os.Stderr, "node: logs and data are in %s\n", dir)
			return
		}
		code = complain(os.RemoveAll(dir))
	}()

	ctx := context.Background()
	before, err := seen("")
	if err != nil {
		return complain(err)
	}
	cluster, err = startCluster(ctx, filepath.Join(dir, "cluster"))
	if errors.Is(err, harness.ErrNoNode) {
		fmt.Fprintf(os.Stderr, "node: nothing is tested here: %v\n", err)
		return 0
	}
	if err != nil {
		return complain(err)
	}
	cgroup, err := cgroupOf(cluster)
	if err != nil {
		return complain(err)
	}
	code = m.Run()
	err = cluster.Down(ctx)
	if err == nil {
		err = nothingIsLeft(before, cgroup)
	}
	return max(code, complain(err))
}

func startCluster(ctx context.Context, dir string) (*harness.ControlPlane, error) {
	images, err := harness.NodeImages()
	if err != nil {
		return nil, err
	}
	return harness.StartControlPlane(ctx, dir, harness.ControlPlaneOptions{
		Node:   true,
		Images: images,
		// The tests are about Berth, not about how long the binder takes for a few hundred claims.
		Limits: harness.ClientLimits{QPS: 1000, Burst: 2000},
	})
}

func complain(err error) (code int) {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "node: %v\n", err)
	return 1
}
