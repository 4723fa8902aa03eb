//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// many claims are enough for every queue, limit and race there is, and few enough for a small machine.
const many = 200

// TestManyClaimsCostOneCallAndOneWriteEach is not parallel: see restart_test.go.
func TestManyClaimsCostOneCallAndOneWriteEach(t *testing.T) {
	s := inOwnWorld(t, "many")
	class := s.class()
	volumes := wantAccounted(s, s.claims(class, many))
	wantCalls(s, harness.CreateVolume, many)
	wantWrites(s)
	wantOneEventEach(s)

	must(t, s.Client().CoreV1().PersistentVolumeClaims(s.namespace).
		DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	must(t, s.WaitVolumesGone(t.Context(), volumes...))
	wantCalls(s, harness.DeleteVolume, many)
	left, err := s.Driver.Volumes(t.Context())
	must(t, err)
	if len(left) != 0 {
		t.Errorf("the driver still has %d volumes, among them %v", len(left), left[0])
	}
}

// wantAccounted waits until the claims are bound, and checks that the driver holds one volume for each and no other. It
// returns the names of the persistent volumes.
func wantAccounted(s *story, claims []string) []string {
	s.t.Helper()
	bound, err := s.WaitBound(s.t.Context(), s.namespace, claims...)
	must(s.t, err)
	list, err := s.Client().CoreV1().PersistentVolumes().List(s.t.Context(), metav1.ListOptions{})
	must(s.t, err)
	persistent := map[string]*corev1.PersistentVolume{}
	for i := range list.Items {
		persistent[list.Items[i].Name] = &list.Items[i]
	}

	var names []string
	claimOf := map[string]string{} // by volume handle
	for _, claim := range bound {
		volume := persistent[claim.Spec.VolumeName]
		if volume == nil || volume.Spec.CSI == nil {
			s.t.Errorf("claim %s is bound to %q, which does not exist", claim.Name, claim.Spec.VolumeName)
			continue
		}
		handle := volume.Spec.CSI.VolumeHandle
		if first := claimOf[handle]; first != "" {
			s.t.Errorf("claims %s and %s share volume %s", first, claim.Name, handle)
		}
		claimOf[handle] = claim.Name
		names = append(names, volume.Name)
	}
	held, err := s.Driver.Volumes(s.t.Context())
	must(s.t, err)
	for _, volume := range held {
		if claimOf[volume.ID] == "" {
			s.t.Errorf("volume %s (%s) of the driver belongs to no claim", volume.ID, volume.Name)
		}
		delete(claimOf, volume.ID)
	}
	for handle, claim := range claimOf {
		s.t.Errorf("volume %s of claim %s is not in the driver", handle, claim)
	}
	return names
}

// wantCalls checks the number of calls, and that no two had the same subject.
func wantCalls(s *story, method string, want int) {
	s.t.Helper()
	calls, err := s.Driver.Calls(s.t.Context(), method)
	must(s.t, err)
	if len(calls) != want {
		s.t.Errorf("%s was called %d times, want %d", method, len(calls), want)
	}
	times := map[string]int{}
	var repeated []string
	for _, call := range calls {
		if times[call.Subject()]++; times[call.Subject()] == 2 {
			repeated = append(repeated, call.Subject())
		}
	}
	if len(repeated) > 0 {
		s.t.Errorf("%s was called more than once for %d subjects, among them %s", method, len(repeated), repeated[0])
	}
}

// wantWrites checks what Berth has written, from the audit log: a volume for each claim, an event for each claim, a
// few of the journal, what the binder was not fast enough for, and nothing else.
func wantWrites(s *story) {
	s.t.Helper()
	want := []string{
		fmt.Sprintf("create events: %d", many),
		fmt.Sprintf("create persistentvolumes: %d", many),
	}
	journal, bindings, conflicts := 0, map[string]int{}, 0
	// Events are sent in the background.
	err := harness.Eventually(s.t.Context(), "Berth has written what it should", func(context.Context) error {
		writes, err := s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
			return event.User.Username == s.User() && !slices.Contains([]string{"get", "list", "watch"}, event.Verb)
		})
		if err != nil {
			return err
		}
		counts := map[string]int{}
		journal, conflicts = 0, 0
		clear(bindings)
		for _, write := range writes {
			if write.ResponseStatus.Code == http.StatusConflict { // the binder was there first
				conflicts++
				continue
			}
			if write.ObjectRef.Resource == "configmaps" {
				journal++
				continue
			}
			if write.Verb == "patch" || write.ObjectRef.Resource == "selfsubjectaccessreviews" {
				bindings[write.Verb+" "+path.Join(write.ObjectRef.Resource, write.ObjectRef.Subresource)]++
				continue
			}
			counts[write.Verb+" "+write.ObjectRef.Resource]++
		}
		var got []string
		for what, count := range counts {
			got = append(got, fmt.Sprintf("%s: %d", what, count))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("writes are %v, want %v", got, want)
		}
		return nil
	})
	check(s.t, err)
	s.t.Logf("%d writes of the journal for %d volumes; of the binding: %v, and %d conflicts", journal, many, bindings, conflicts)
	for what, most := range map[string]int{
		"patch persistentvolumes/status": many, "patch persistentvolumeclaims": many, "patch persistentvolumeclaims/status": many, "create selfsubjectaccessreviews": 3,
	} {
		if bindings[what] > most {
			s.t.Errorf("%s: %d times", what, bindings[what])
		}
		delete(bindings, what)
	}
	if len(bindings) > 0 {
		s.t.Errorf("Berth has written %v", bindings)
	}
	if journal > many { // a tenth at 50 claims a second and more; a machine on which they come one by one shares fewer
		s.t.Errorf("the journal was written %d times for %d volumes: are writes shared?", journal, many)
	}
}

// wantOneEventEach checks that every claim has been told once, and once only, that it has its volume, and nothing else.
func wantOneEventEach(s *story) {
	s.t.Helper()
	for reason, times := range wantToldOnce(s) {
		s.t.Errorf("the claims have %d events by another reason: %s", times, reason)
	}
}

// wantToldOnce checks that every claim has been told once, and once only, that it has its volume. It returns how many events of
// Berth's there are by other reasons.
func wantToldOnce(s *story) (others map[string]int) {
	s.t.Helper()
	told := map[string]int32{}
	// Events are sent in the background.
	err := harness.Eventually(s.t.Context(), "every claim is told that it has its volume", func(ctx context.Context) error {
		list, err := s.Client().CoreV1().Events(s.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		clear(told)
		others = map[string]int{}
		for _, event := range list.Items {
			switch event.Reason {
			case "ProvisioningSucceeded":
				told[event.InvolvedObject.Name] += max(1, event.Count)
			case "ExternalProvisioning": // the binder's
			default:
				others[event.Reason]++
			}
		}
		if len(told) != many {
			return fmt.Errorf("%d claims were told, want %d", len(told), many)
		}
		return nil
	})
	check(s.t, err)
	for claim, times := range told {
		if times != 1 {
			s.t.Errorf("claim %s was told %d times that it has its volume", claim, times)
		}
	}
	return others
}
