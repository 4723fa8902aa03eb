//go:build e2e

package e2e

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

// shared is the world of the stories that break nothing. TestMain has no other way to hand it to them.
var shared *harness.World

func TestMain(m *testing.M) {
	os.Exit(run(m)) //nolint:forbidigo // this is the main function of the tests
}

func run(m *testing.M) (code int) {
	flag.Parse()
	if err := flag.Set("test.parallel", storiesAtOnce); err != nil {
		return complain(err)
	}
	if err := harness.CheckBinaries(); err != nil {
		return complain(err)
	}
	dir, err := os.MkdirTemp("", "berth-e2e-")
	if err != nil {
		return complain(err)
	}
	defer func() {
		if code != 0 {
			fmt.Fprintf(os.Stderr, "e2e: logs and data are in %s\n", dir)
			return
		}
		code = complain(os.RemoveAll(dir))
	}()

	ctx := context.Background()
	shared, err = harness.NewWorld(ctx, harness.WorldOptions{
		Name: "shared",
		Dir:  filepath.Join(dir, "shared"),
		ControlPlane: harness.ControlPlaneOptions{
			// The tests are about Berth, not about how long the binder takes for a few hundred claims.
			Limits: harness.ClientLimits{QPS: 1000, Burst: 2000},
			// Without it the API server drops the namespace of a claim's source. It changes nothing else.
			FeatureGates: []string{"kube-apiserver:CrossNamespaceVolumeDataSource=true"},
		},
	})
	if err != nil {
		return complain(err)
	}
	code = m.Run()
	err = rightsAsked.collect(shared.ControlPlane)
	if err == nil {
		err = rightsAsked.problems(code == 0 && allStoriesRun())
	}
	return max(code, complain(errors.Join(err, shared.Close(ctx))))
}

func complain(err error) (code int) {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
	return 1
}
