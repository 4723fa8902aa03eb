//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-csi/berth/e2e/harness"
)

// trusted is who may say what a snapshot was taken of.
const trusted = "system:serviceaccount:kube-system:snapshot-controller"

// TestAdmission tells all that can be told of one Berth that serves its webhooks, one namespace a story.
func TestAdmission(t *testing.T) {
	t.Parallel()
	grants, err := harness.InstallReferenceGrants(t.Context(), shared.ControlPlane)
	must(t, err)
	world := inOwnWorld(t, "admission", admitting, berthFlags("--feature-gates=CrossNamespaceVolumeDataSource=true",
		"--admission-require-source-volume-mode", "--admission-trusted-snapshot-users="+trusted))
	webhooks := world.webhooks(world.Berth, harness.Everywhere)

	stories := map[string]func(*admissionStory){
		"an annotation is one write less":         (*admissionStory).annotationIsOneWriteLess,
		"volumes on the shelf are used":           (*admissionStory).shelfIsUsed,
		"a volume on the shelf that comes late":   (*admissionStory).shelfComesLate,
		"server-side apply":                       (*admissionStory).serverSideApply,
		"client-side apply":                       (*admissionStory).clientSideApply,
		"replace":                                 (*admissionStory).replace,
		"a trial run":                             (*admissionStory).trialRun,
		"hints follow the room":                   (*admissionStory).hintsFollowTheRoom,
		"a hint that somebody wrote":              (*admissionStory).hintOfTheUser,
		"hints of what is made from something":    (*admissionStory).hintNearTheSource,
		"replicas are spread":                     (*admissionStory).replicasAreSpread,
		"a restore in another mode":               (*admissionStory).restoreInAnotherMode,
		"permission is minded at once":            (*admissionStory).permissionIsMindedAtOnce,
		"a clone in another mode":                 (*admissionStory).cloneInAnotherMode,
		"a snapshot that is not there yet":        (*admissionStory).snapshotIsNotThereYet,
		"a snapshot of nobody knows what":         (*admissionStory).snapshotOfUnknownMode,
		"contents of snapshots are not forged":    (*admissionStory).contentsAreNotForged,
		"a source in another namespace is hidden": func(s *admissionStory) { s.foreignSourceIsHidden(grants) },
	}
	for _, name := range slices.Sorted(maps.Keys(stories)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stories[name](&admissionStory{newStory(t, world.World), webhooks})
		})
	}
}

// admissionStory is a story of which the webhooks are a part.
type admissionStory struct {
	*story

	hooks *harness.Webhooks
}

// denied is how kubectl tells that a webhook of Berth refuses a claim.
func (s *admissionStory) denied(message string) string {
	return fmt.Sprintf("admission webhook %q denied the request: %s", s.hooks.ValidateClaims.Webhooks[0].Name, message)
}

// tries is how often to try something that might go wrong at times: as usual, or as often as the environment variable BERTH_TRIES says.
func tries(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("BERTH_TRIES")
	if text == "" {
		return usual
	}
	count, err := strconv.Atoi(text)
	must(t, err)
	return count
}

// warnings are what the API server says beside its answers, which kubectl prints.
type warnings struct {
	mu   sync.Mutex
	said []string
}

// HandleWarningHeader is of rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

// created creates a claim and returns it with the warnings that its user is shown.
func (s *story) created(claim *corev1.PersistentVolumeClaim, dryRun ...string) (*corev1.PersistentVolumeClaim, []string, error) {
	s.t.Helper()
	heard := &warnings{}
	config := s.ControlPlane.Config()
	config.WarningHandler = heard
	client, err := kubernetes.NewForConfig(config)
	must(s.t, err)
	claim, err = client.CoreV1().PersistentVolumeClaims(s.namespace).Create(s.t.Context(), claim, metav1.CreateOptions{DryRun: dryRun})
	return claim, heard.said, err
}

// warned creates a claim, which has to be let in with exactly these warnings.
func (s *story) warned(name, class string, want []string, edits ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	s.t.Helper()
	claim, said, err := s.created(harness.Claim(s.namespace, name, class, edits...))
	must(s.t, err)
	if !slices.Equal(said, want) {
		s.t.Errorf("warnings at claim %s are\n%s\nwant\n%s", name, strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	return claim
}

// binder is whom the binder of the controller-manager writes as.
const binder = "system:serviceaccount:kube-system:persistent-volume-binder"

// writes are those of a user to a claim, its status left out, that succeeded.
func (s *story) writes(user, claim string) []harness.AuditEvent {
	s.t.Helper()
	writes, err := s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		object := event.ObjectRef
		return event.User.Username == user && slices.Contains([]string{"create", "patch", "update"}, event.Verb) &&
			object.Resource == "persistentvolumeclaims" && object.Subresource == "" && object.Namespace == s.namespace && object.Name == claim &&
			event.ResponseStatus.Code < 300
	})
	must(s.t, err)
	return writes
}

// audited waits until the audit log has a claim's creation, and returns what admission left there.
func (s *story) audited(claim string) map[string]string {
	s.t.Helper()
	var left map[string]string
	must(s.t, harness.Eventually(s.t.Context(), "the audit log shows the creation of claim "+claim, func(context.Context) error {
		events, err := s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
			object := event.ObjectRef
			return event.Verb == "create" && object.Resource == "persistentvolumeclaims" && object.Subresource == "" &&
				object.Namespace == s.namespace && object.Name == claim && event.ResponseStatus.Code == 201
		})
		if err == nil && len(events) == 0 {
			err = errors.New("it does not")
		}
		if err == nil {
			left = events[len(events)-1].Annotations
		}
		return err
	}))
	return left
}
