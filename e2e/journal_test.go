//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// The oldest complaint about the established provisioner: it is killed between the driver's answer and the volume's object, the claim is
// deleted, and the volume stays for ever.
func TestAClaimDeletedWhileBerthIsDeadLeavesNoVolume(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "journal", impatient, driverFaults(harness.Fault{
		// The volume is made, and nobody hears of it.
		Method: harness.CreateVolume, Action: "lost", Code: "DeadlineExceeded",
	}))
	claim := s.claim("data", s.class(), harness.Size("2Gi"))
	s.await("the volume exists", func(context.Context) error {
		if volumes := s.volumesNamed(volumeName(claim)); len(volumes) != 1 {
			return fmt.Errorf("the driver has %v", volumes)
		}
		return nil
	})
	s.Berth.Kill()
	s.drop("data")
	_, err := harness.WatchClaims(t.Context(), s.Client(), s.namespace, func(claims harness.Seen[*corev1.PersistentVolumeClaim]) bool {
		return len(claims) == 0
	})
	must(t, err)

	table := s.journal()
	for _, want := range []string{s.namespace + "/data", volumeName(claim), "claim is gone"} {
		if !strings.Contains(table, want) {
			t.Errorf("berth journal does not tell %q:\n%s", want, table)
		}
	}

	must(t, s.Driver.ClearFaults(t.Context()))
	must(t, s.Berth.Start(t.Context()))
	s.await("the volume is deleted", func(ctx context.Context) error {
		if volumes := s.volumesNamed(volumeName(claim)); len(volumes) != 0 {
			return fmt.Errorf("the driver has %v; Berth's log ends with:\n%s", volumes, s.Berth.LogTail(10))
		}
		return nil
	})
	wantSameRequests(t, s.calls(harness.CreateVolume, volumeName(claim)))

	exit, err := s.Berth.Stop(t.Context())
	if err != nil || exit != (harness.Exit{}) {
		t.Fatalf("Berth ended with %s, %v", exit, err)
	}
	if table := s.journal(); !strings.Contains(table, "Nothing is on record.") {
		t.Errorf("after a clean stop the journal is not empty:\n%s", table)
	}
	must(t, s.Berth.Start(t.Context()))
}

// A role that was made for the established provisioner does not know of the journal. Everything else goes on, and people are told.
func TestWithoutPermissionForTheJournalVolumesAreStillMade(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "unrecorded")
	role, err := s.Client().RbacV1().Roles(harness.BerthNamespace).Get(t.Context(), "berth-"+s.Name, metav1.GetOptions{})
	must(t, err)
	role.Rules = slices.DeleteFunc(role.Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.Resources, "configmaps") })
	_, err = s.Client().RbacV1().Roles(harness.BerthNamespace).Update(t.Context(), role, metav1.UpdateOptions{})
	must(t, err)
	must(t, s.Berth.Restart(t.Context()))

	s.claim("data", s.class())
	s.bound("data")
	s.wantJournalEvent("JournalUnwritable", "grant get, create and patch on configmaps")
	s.wantMetric("berth_journal_degraded 1")
}

// What cannot be read is kept for a person to look at, and keeps nobody from working.
func TestADamagedJournalIsKeptAside(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "damaged")
	s.claim("first", s.class())
	s.bound("first")
	exit, err := s.Berth.Stop(t.Context())
	if err != nil || exit != (harness.Exit{}) {
		t.Fatalf("Berth ended with %s, %v", exit, err)
	}
	pages := s.Client().CoreV1().ConfigMaps(harness.BerthNamespace)
	page, err := pages.Get(t.Context(), s.journalName(), metav1.GetOptions{})
	must(t, err)
	page.BinaryData = map[string][]byte{"somebody": []byte("spilt coffee")}
	_, err = pages.Update(t.Context(), page, metav1.UpdateOptions{})
	must(t, err)

	must(t, s.Berth.Start(t.Context()))
	s.claim("second", s.class())
	s.bound("second")
	s.wantJournalEvent("JournalUnreadable", "somebody")
	aside, err := pages.Get(t.Context(), s.journalName()+"-unreadable", metav1.GetOptions{})
	must(t, err)
	if got := string(aside.BinaryData["somebody"]); got != "spilt coffee" {
		t.Errorf("what was kept aside is %q", got)
	}
	s.wantMetric("berth_journal_unreadable_total 1")
}

// A driver that never answers: the claim says so, the journal says so, and when the driver does answer there is one volume.
func TestADriverThatNeverAnswers(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "silent", impatient, driverFaults(harness.Fault{Method: harness.CreateVolume, Action: "hang"}))
	claim := s.claim("data", s.class())
	event, err := s.WaitEvent(t.Context(), s.namespace, "data", "ProvisioningFailed")
	must(t, err)
	if !strings.Contains(event.Message, "the same request will be sent again") {
		t.Errorf("the claim is told %q", event.Message)
	}
	if table := s.journal(); !strings.Contains(table, s.namespace+"/data") || !strings.Contains(table, "being created") {
		t.Errorf("berth journal prints:\n%s", table)
	}
	s.wantMetric("berth_open_attempts 1")
	must(t, s.Driver.ClearFaults(t.Context()))
	s.bound("data")
	if volumes := s.volumesNamed(volumeName(claim)); len(volumes) != 1 {
		t.Errorf("the driver has %v", volumes)
	}
	wantSameRequests(t, s.calls(harness.CreateVolume, volumeName(claim)))
}

// journalName is the ConfigMap of the world's driver.
func (s *story) journalName() string {
	return strings.ReplaceAll(s.Driver.Name, ".", "-") + "-journal"
}

func (s *story) wantJournalEvent(reason, words string) {
	s.t.Helper()
	s.await("an event about the journal", func(ctx context.Context) error {
		events, err := s.Client().CoreV1().Events(harness.BerthNamespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.name=" + s.journalName() + ",reason=" + reason,
		})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.Type == corev1.EventTypeWarning && strings.Contains(event.Message, words) {
				return nil
			}
		}
		return fmt.Errorf("of %d events of reason %s none says %q", len(events.Items), reason, words)
	})
}

func (s *story) wantMetric(line string) {
	s.t.Helper()
	s.await("metric "+line, func(ctx context.Context) error {
		_, metrics, err := s.Berth.Get(ctx, "/metrics")
		if err != nil {
			return err
		}
		if !strings.Contains(metrics, "\n"+line+"\n") {
			return errors.New("it is not there")
		}
		return nil
	})
}

// await waits until f has nothing to complain about.
func (s *story) await(what string, f func(context.Context) error) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), what, f))
}

// journal is what "berth journal" prints about the world's driver.
func (s *story) journal() string {
	s.t.Helper()
	binary, err := harness.Binary("berth")
	must(s.t, err)
	command := exec.CommandContext(s.t.Context(), binary, "journal", "--kubeconfig", s.ControlPlane.Kubeconfig(),
		"--namespace", harness.BerthNamespace, "--driver-name", s.Driver.Name)
	command.Env = []string{} // without KUBECONFIG
	out, err := command.CombinedOutput()
	if err != nil {
		s.t.Fatalf("berth journal: %v\n%s", err, out)
	}
	return string(out)
}
