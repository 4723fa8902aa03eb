//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestExplainAClassThatDoesNotExist(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	s.claim("data", class+"x")
	s.explains("data", "is Pending: storage class "+`"`+class+`x" does not exist`, "make it again with a class that exists ("+class)
}

func TestExplainAClaimThatWaitsForItsFirstPod(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("data", s.class(harness.WaitForFirstConsumer))
	s.explains("data", "is Pending: it waits for a Pod that uses it", "Start a Pod that uses the claim", "is registered on", s.ZoneKey()+"=zone-a")
}

func TestExplainAPodThatIsKeptFromWhereTheVolumeMayBe(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("data", s.class(harness.WaitForFirstConsumer, harness.AllowedTopologies(s.ZoneKey(), "zone-a")))
	s.pod(harness.Pod(s.namespace, "user", "data", harness.OnNodesWith(s.ZoneKey(), "zone-b")))
	s.explains("data", `is Pending: Pod "user", which is to use it, cannot be placed: 0/`, "Volumes may only be in "+s.ZoneKey()+"=zone-a")
}

func TestExplainAPodForWhichThereIsNoRoom(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "room")
	// The scheduler minds capacity, which nobody but this test publishes.
	_, err := s.Client().StorageV1().CSIDrivers().Create(t.Context(), &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: s.Driver.Name}, Spec: storagev1.CSIDriverSpec{StorageCapacity: new(true)},
	}, metav1.CreateOptions{})
	must(t, err)
	class := s.class(harness.WaitForFirstConsumer)
	s.claim("data", class, harness.Size("10Gi"))
	s.pod(harness.Pod(s.namespace, "user", "data"))
	s.explains("data", `is Pending: the scheduler minds capacity, and none is published for class "`+class+`"`)

	for zone, free := range map[string]string{"zone-a": "4Gi", "zone-b": "8Gi"} {
		_, err := s.Client().StorageV1().CSIStorageCapacities(harness.BerthNamespace).Create(t.Context(), &storagev1.CSIStorageCapacity{
			ObjectMeta:       metav1.ObjectMeta{GenerateName: "csisc-", Labels: map[string]string{"csi.storage.k8s.io/drivername": s.Driver.Name}},
			StorageClassName: class, Capacity: new(resource.MustParse(free)),
			NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{s.ZoneKey(): zone}},
		}, metav1.CreateOptions{})
		must(t, err)
	}
	s.explains("data", "is Pending: no place has room for 10Gi; the most there is where it may be is 8Gi",
		s.ZoneKey()+"=zone-b: 8Gi free; too little", "did not have enough free storage", "smaller request")
}

func TestExplainWhatTheDriverAnswered(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "answers", driverFaults(
		harness.Fault{Method: harness.CreateVolume, Action: "error", Code: "ResourceExhausted", Message: "the pool is full"},
	))
	s.claim("full", s.class())
	s.told("full", "ProvisioningFailed", "the pool is full")
	s.explains("full", "is Pending: the last try failed", "ResourceExhausted: the pool is full", "next try", "by "+s.Driver.Name)

	must(t, s.Driver.ClearFaults(t.Context()))
	must(t, s.Driver.AddFault(t.Context(), harness.Fault{
		Method: harness.CreateVolume, Action: "error", Code: "InvalidArgument", Message: "no such media\n\x1b[31mred",
	}))
	s.claim("wrong", s.class())
	s.told("wrong", "ProvisioningFailed", "no such media")
	text := s.explains("wrong", "is Pending: the last try failed: the driver refuses the request as it is", "InvalidArgument: no such media [31mred")
	if strings.ContainsRune(text, '\x1b') {
		t.Error("what a driver says gives orders to the terminal")
	}
}

func TestExplainAnOutcomeThatIsNotKnown(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "unheard", driverFaults(harness.Fault{Method: harness.CreateVolume, Action: "hang"}))
	claim := s.claim("data", s.class())
	s.explains("data", "has been asked for its volume", "Creating volume "+volumeName(claim)+" began")
}

func TestExplainASnapshotOfAnotherVolumeMode(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	s.claim("original", class)
	s.bound("original")
	snapshot := s.take("snap", "original")
	s.claim("raw", class, harness.FromSnapshot("snap"), harness.Block)
	text := s.explains("raw", "is Pending: the claim's volume mode is Block", harness.AllowModeChange, `"`+snapshot.Content.Name+`"`)

	// The very words that Berth has for it.
	event := s.told("raw", "ProvisioningFailed", harness.AllowModeChange)
	if !strings.Contains(text, strings.Join(strings.Fields(event.Message), " ")) {
		t.Errorf("Berth has said %q, and the explanation is\n%s", event.Message, text)
	}
}

func TestExplainABoundClaim(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("data", s.class())
	claim, volume := s.bound("data")
	s.explains("data", "is Bound to volume "+claim.Spec.VolumeName, "handle "+volume.Spec.CSI.VolumeHandle, "reclaim policy Delete", s.ZoneKey()+"=")
}

func TestExplainThatBerthDoesNotRun(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "gone", func(options *harness.WorldOptions) { options.Berth.LeaderElection = true })
	s.await("it leads", func(context.Context) error {
		if s.leaseHolder() == "" {
			return errors.New("nobody does")
		}
		return nil
	})
	s.Berth.Kill()
	// Rather than to wait until the Lease runs out, it was renewed a while ago.
	lease, err := s.Client().CoordinationV1().Leases(harness.BerthNamespace).Get(t.Context(), strings.TrimSuffix(s.journalName(), "-journal"), metav1.GetOptions{})
	must(t, err)
	lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now().Add(-17 * time.Minute)}
	_, err = s.Client().CoordinationV1().Leases(harness.BerthNamespace).Update(t.Context(), lease, metav1.UpdateOptions{})
	must(t, err)

	s.claim("data", s.class())
	s.explains("data", "is Pending: nobody provisions for driver "+s.Driver.Name+" at the moment (its Lease was last renewed 17m ago)",
		"kubectl get pods -n "+harness.BerthNamespace)

	must(t, s.Berth.Start(t.Context()))
	s.bound("data")
	s.explains("data", "is Bound to volume", "Berth for driver "+s.Driver.Name+" runs")
}

func TestExplainAClaimThatIsBeingDeletedAndUsed(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("data", s.class())
	s.bound("data")
	s.pod(harness.Pod(s.namespace, "user", "data"))
	s.placed("user") // before that it keeps nobody's claim
	s.drop("data")
	s.explains("data", "Pod user", "It is being deleted since", "Delete those Pods")
}

func TestExplainAClaimThatIsNotThere(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("database", s.class(harness.WaitForFirstConsumer))
	text, code := s.explanation("pvc", "-n", s.namespace, "databse")
	for _, want := range []string{"Claim " + s.namespace + "/databse does not exist", "If you meant database", "berth: claim"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not tell %q:\n%s", want, text)
		}
	}
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if text, _ = s.explanation("pvc", "default/database"); !strings.Contains(text, "exists in namespace "+s.namespace) {
		t.Errorf("it does not tell where such a claim is:\n%s", text)
	}
}

// What the documentation says that a person needs is enough; and whoever has less is told what could not be looked at.
func TestExplainWithTheRightsOfAPerson(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "person", func(options *harness.WorldOptions) { options.Berth.LeaderElection = true })
	s.claim("data", s.class(harness.WaitForFirstConsumer))
	kubeconfig, err := s.ControlPlane.ServiceAccountKubeconfig(t.Context(), s.namespace, "developer")
	must(t, err)
	subject := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.namespace, Name: "developer"}}
	reads := func(group string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: []string{"get", "list"}}
	}
	grant := func(namespace, name string, rules ...rbacv1.PolicyRule) {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
		_, err := s.Client().RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
		must(t, err)
		_, err = s.Client().RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: meta, Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		}, metav1.CreateOptions{})
		must(t, err)
	}
	explain := func() string {
		text, _ := s.explanationOf(kubeconfig, "pvc", s.namespace+"/data", "--driver-namespace", harness.BerthNamespace)
		return text
	}
	grant(s.namespace, "developer", reads("", "persistentvolumeclaims", "pods", "events"), reads("snapshot.storage.k8s.io", "volumesnapshots"))
	s.await("the little that may be read is explained", func(context.Context) error {
		text := explain()
		for _, want := range []string{"is Pending: ", "Could not look at the StorageClass (permission)"} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("it does not tell %q:\n%s", want, text)
			}
		}
		return nil
	})

	grant(harness.BerthNamespace, s.namespace, reads("coordination.k8s.io", "leases"), reads("", "configmaps"), reads("storage.k8s.io", "csistoragecapacities"))
	name := s.namespace + "-explain"
	_, err = s.Client().RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		reads("storage.k8s.io", "storageclasses", "csidrivers", "csinodes", "volumeattributesclasses", "volumeattachments"),
		reads("", "nodes", "persistentvolumes"), reads("snapshot.storage.k8s.io", "volumesnapshotcontents"),
	}}, metav1.CreateOptions{})
	must(t, err)
	_, err = s.Client().RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
	}, metav1.CreateOptions{})
	must(t, err)
	s.await("everything is explained", func(context.Context) error {
		if text := explain(); strings.Contains(text, "Could not look") || !strings.Contains(text, "is held by") {
			return errors.New(text)
		}
		return nil
	})
}

// As kubectl finds it: by the name of the file.
func TestExplainAsAPluginOfKubectl(t *testing.T) {
	s := inSharedWorld(t)
	s.claim("data", s.class(harness.WaitForFirstConsumer))
	binary, err := harness.Binary("berth")
	must(t, err)
	plugin := filepath.Join(t.TempDir(), "kubectl-berth")
	must(t, os.Symlink(binary, plugin))
	help, err := exec.CommandContext(t.Context(), plugin, "explain", "--help").CombinedOutput()
	must(t, err)
	if !strings.Contains(string(help), "kubectl berth explain pvc") {
		t.Errorf("its help is:\n%s", help)
	}
	command := exec.CommandContext(t.Context(), plugin, "explain", "pvc/data", "-n", s.namespace, "-o", "json")
	command.Env = []string{"KUBECONFIG=" + s.ControlPlane.Kubeconfig() + ":/nowhere"} // a list, as kubectl takes it
	out, err := command.Output()
	must(t, err)
	var findings []map[string]string
	must(t, json.Unmarshal(out, &findings))
	if len(findings) == 0 || findings[0]["about"] != "verdict" || !strings.Contains(findings[0]["text"], "waits for a Pod") {
		t.Errorf("got %v", findings)
	}
	said, err := s.ControlPlane.Kubectl(t.Context(), "", []string{filepath.Dir(plugin)}, "berth", "explain", "pvc", s.namespace+"/data")
	must(t, err)
	if !strings.Contains(said, "waits for a Pod") {
		t.Errorf("kubectl prints:\n%s", said)
	}
}

// It is for bad nights of large clusters: it changes nothing, and asks for little.
func TestExplainReadsLittleAndWritesNothing(t *testing.T) {
	s := newStory(t, shared) // alone: it counts requests
	s.claim("data", s.class(harness.WaitForFirstConsumer))
	since := time.Now()
	s.explains("data", "is Pending")
	requests, err := s.ControlPlane.Requests(t.Context(), harness.RequestFilter{UserAgent: "^berth-explain/", Since: since, Until: time.Now()})
	must(t, err)
	runs := 0
	for _, request := range requests {
		if request.Verb == "get" && request.Resource == "persistentvolumeclaims" {
			runs = request.Count
		}
	}
	for _, request := range requests {
		if request.Verb != "get" && request.Verb != "list" || request.Count > runs {
			t.Errorf("%d times it has done %s %s, in %d runs", request.Count, request.Verb, request.Resource, runs)
		}
	}
	if runs == 0 || len(requests) != 10 { // and one for Leases, which nobody counts
		t.Errorf("explaining a claim that waits for its Pod takes %d kinds of request, want 10: %+v", len(requests), requests)
	}
}

// explains waits until the explanation of a claim tells all this, and returns it in one line. What it is about may be on its way.
func (s *story) explains(claim string, wants ...string) (text string) {
	s.t.Helper()
	s.await("the explanation of claim "+claim, func(context.Context) error {
		printed, code := s.explanation("pvc", s.namespace+"/"+claim, "--driver-namespace", harness.BerthNamespace)
		text = strings.Join(strings.Fields(printed), " ")
		var missing []error
		for _, want := range wants {
			if !strings.Contains(text, want) {
				missing = append(missing, fmt.Errorf("it does not tell %q", want))
			}
		}
		if len(missing) > 0 || code != 0 {
			return fmt.Errorf("%w, code %d:\n%s", errors.Join(missing...), code, printed)
		}
		s.t.Log("\n" + printed)
		return nil
	})
	return text
}

// explanation is what "berth explain" prints for an administrator, and its exit code.
func (s *story) explanation(args ...string) (text string, code int) {
	s.t.Helper()
	return s.explanationOf(s.ControlPlane.Kubeconfig(), args...)
}

func (s *story) explanationOf(kubeconfig string, args ...string) (text string, code int) {
	s.t.Helper()
	binary, err := harness.Binary("berth")
	must(s.t, err)
	command := exec.CommandContext(s.t.Context(), binary, append([]string{"explain", "--kubeconfig", kubeconfig}, args...)...)
	command.Env = []string{}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("berth explain: %v", err)
	}
	return out.String(), command.ProcessState.ExitCode()
}

// pod creates a Pod.
func (s *story) pod(pod *corev1.Pod) {
	s.t.Helper()
	_, err := s.Client().CoreV1().Pods(s.namespace).Create(s.t.Context(), pod, metav1.CreateOptions{})
	must(s.t, err)
}
