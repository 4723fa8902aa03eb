//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

// provisionerKeys are the annotations that give a claim to a driver.
var provisionerKeys = []string{"volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"}

// admitting has the world's Berth serve its webhooks; s.webhooks has the API server call them.
func admitting(options *harness.WorldOptions) { options.Berth.Admission = &harness.AdmissionOptions{} }

// webhooks has the API server call the webhooks of a Berth, for this story's namespace, until the story ends.
func (s *story) webhooks(berth *harness.Berth, edits ...func(*harness.Webhooks)) *harness.Webhooks {
	s.t.Helper()
	webhooks := harness.NewWebhooks(berth.Admission)
	for _, edit := range append([]func(*harness.Webhooks){harness.OnlyIn(s.namespace)}, edits...) {
		edit(webhooks)
	}
	s.t.Cleanup(func() { check(s.t, webhooks.Remove(context.Background(), s.Client())) })
	must(s.t, webhooks.Install(s.t.Context(), s.Client()))
	return webhooks
}

// tried is what becomes of a claim if it is created, without doing it.
func (s *story) tried(class string, edits ...func(*corev1.PersistentVolumeClaim)) (*corev1.PersistentVolumeClaim, error) {
	return s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Create(s.t.Context(),
		harness.Claim(s.namespace, "tried", class, edits...), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

// admitted waits until the API server has Berth's webhooks annotate the claims of a class.
func (s *story) admitted(class string) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "claims are annotated as they are created", func(context.Context) error {
		claim, err := s.tried(class)
		if err == nil && !givenTo(claim, s.Driver.Name) {
			err = fmt.Errorf("annotations are %v", claim.Annotations)
		}
		return err
	}))
}

// refused waits until a claim is refused with all the words, which is tried without creating it, and then checks that it is not created.
func (s *story) refused(class string, words []string, edits ...func(*corev1.PersistentVolumeClaim)) {
	s.t.Helper()
	refusal := func(err error) error {
		switch {
		case err == nil:
			return errors.New("it is let in")
		case !apierrors.IsForbidden(err):
			return err
		case slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(err.Error(), word) }):
			return fmt.Errorf("it is refused without the words %q: %w", words, err)
		}
		return nil
	}
	must(s.t, harness.Eventually(s.t.Context(), "the claim is refused", func(context.Context) error {
		_, err := s.tried(class, edits...)
		return refusal(err)
	}))
	_, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).
		Create(s.t.Context(), harness.Claim(s.namespace, "refused", class, edits...), metav1.CreateOptions{})
	check(s.t, refusal(err))
}

// givenTo says whether both annotations give a claim to a driver.
func givenTo(claim *corev1.PersistentVolumeClaim, driver string) bool {
	return !slices.ContainsFunc(provisionerKeys, func(key string) bool { return claim.Annotations[key] != driver })
}

func TestAdmissionGivesClaimsToTheDriver(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "admits", admitting)
	class := s.class()
	webhooks := s.webhooks(s.Berth)
	must(t, webhooks.WaitKept(t.Context(), s.Client(), class))
	s.admitted(class)

	claim := s.claim("data", class)
	if !givenTo(claim, s.Driver.Name) {
		t.Errorf("annotations are %v as the claim is created", claim.Annotations)
	}
	claim, volume := s.bound("data")
	wantStored(s, claim, volume)

	// A class that comes later is minded, too.
	later := s.class(harness.WaitForFirstConsumer)
	must(t, webhooks.WaitKept(t.Context(), s.Client(), class, later))
	s.admitted(later)
	s.leavesNothing(claim)
}

func TestAdmissionRefusesAnotherVolumeMode(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "refuses", admitting)
	class := s.class()
	s.webhooks(s.Berth)
	s.claim("original", class)
	s.bound("original")
	snapshot := s.take("snap", "original")
	s.refused(class, []string{snapshot.Content.Name, "Filesystem", "Block", harness.AllowModeChange}, harness.FromSnapshot("snap"), harness.Block)
	s.refused(class, []string{"original", "Filesystem", "Block"}, harness.FromClaim("original"), harness.Block)

	// Who permits it and makes the claim right after that may be ahead of every cache.
	_, err := s.snapshots().API.SnapshotV1().VolumeSnapshotContents().Patch(t.Context(), snapshot.Content.Name, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, harness.AllowModeChange), metav1.PatchOptions{})
	must(t, err)
	s.claim("raw", class, harness.FromSnapshot("snap"), harness.Block)
	s.bound("raw")
}

func TestAdmissionNeedsNoDriver(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "alone", func(options *harness.WorldOptions) { options.WithoutBerth = true })
	class := s.class()
	berth, err := s.StartBerth(t.Context(), harness.BerthOptions{
		Socket: "/nowhere.sock", LeaderElection: true, Admission: &harness.AdmissionOptions{Components: "webhook"},
		Flags: []string{"--driver-name=" + s.Driver.Name},
	})
	must(t, err)
	t.Cleanup(func() { berth.Kill() })
	s.webhooks(berth)
	s.admitted(class)
	s.ready(berth)

	lease := strings.ReplaceAll(s.Driver.Name, ".", "-")
	leases := s.Client().CoordinationV1().Leases(harness.BerthNamespace)
	if _, err := leases.Get(t.Context(), lease, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the provisioners' lease: got %v, want none", err)
	}
	_, err = leases.Get(t.Context(), lease+"-admission", metav1.GetOptions{})
	check(t, err)
}

func TestAdmissionOutlastsItsDriver(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "outlasts", admitting)
	class := s.class()
	s.webhooks(s.Berth, harness.Mandatory)
	s.admitted(class)
	s.Driver.Kill()
	_, err := s.Berth.Stop(t.Context())
	must(t, err)
	// A driver that is not there from the start keeps neither the process nor the webhooks from running, if its name is known.
	berth, err := s.StartBerth(t.Context(), harness.BerthOptions{
		Name: "again", Admission: s.Berth.Admission, Flags: []string{"--driver-name=" + s.Driver.Name, "--startup-timeout=1s"},
	})
	must(t, err)
	t.Cleanup(func() { berth.Kill() })
	s.ready(berth)
	s.admitted(class)
	s.claim("data", class)
	must(t, s.Driver.Start(t.Context()))
	s.bound("data")
	exit, err := berth.Stop(t.Context())
	must(t, err)
	if exit != (harness.Exit{}) {
		t.Errorf("it ended with %s", exit)
	}
}

func TestAdmissionDrains(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "drains", admitting, berthFlags("--admission-drain=20s"))
	class := s.class()
	s.webhooks(s.Berth, harness.Mandatory)
	s.admitted(class)
	s.ready(s.Berth)
	must(t, s.Berth.Signal(syscall.SIGTERM))
	must(t, harness.Eventually(t.Context(), "it is not ready any more", func(ctx context.Context) error {
		code, body, err := s.Berth.Get(ctx, "/readyz/admission")
		if err == nil && code == http.StatusOK {
			err = errors.New(body)
		}
		return err
	}))
	if _, err := s.tried(class); err != nil {
		t.Errorf("while it drains: %v", err)
	}
	exit, err := s.Berth.Wait(t.Context())
	must(t, err)
	if exit != (harness.Exit{}) {
		t.Errorf("it ended with %s", exit)
	}
}

// ready waits until a Berth says that it is.
func (s *story) ready(berth *harness.Berth) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "it is ready", func(ctx context.Context) error {
		code, body, err := berth.Get(ctx, "/readyz?verbose")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	}))
}
