//go:build e2e

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path"
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
	err = errors.Join(refusals(shared), shared.Close(ctx))
	return max(code, complain(err))
}

func complain(err error) (code int) {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
	return 1
}

// refusals is an error if one of our service accounts has ever asked for what its role does not grant: the role is the one
// that is documented, and has to be enough for everything the stories did. (An API server that has just been started
// refuses everything for a moment, until it has read the roles.)
func refusals(w *harness.World) error {
	events, err := w.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		return isBerth(event.User.Username) && event.ResponseStatus.Code == http.StatusForbidden && !harness.BerthMay(event)
	})
	if err != nil {
		return err
	}
	var errs []error
	seen := map[string]bool{}
	for _, event := range events {
		text := fmt.Sprintf("%s may not %s %s in API group %q and namespace %q", event.User.Username, event.Verb,
			path.Join(event.ObjectRef.Resource, event.ObjectRef.Subresource), event.ObjectRef.APIGroup, event.ObjectRef.Namespace)
		if !seen[text] {
			seen[text] = true
			errs = append(errs, errors.New(text))
		}
	}
	return errors.Join(errs...)
}
