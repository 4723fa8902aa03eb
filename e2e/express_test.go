//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// assigned gives a claim the annotations that Berth's admission webhook writes, so that nobody waits for the controller-manager.
func (s *story) assigned(claim *corev1.PersistentVolumeClaim) {
	harness.Annotation("volume.kubernetes.io/storage-provisioner", s.Driver.Name)(claim)
	harness.Annotation("volume.beta.kubernetes.io/storage-provisioner", s.Driver.Name)(claim)
}

// proxied has the world's Berth talk to the API server through a proxy.
func proxied(s *story) *harness.Proxy {
	s.t.Helper()
	kubeconfig, err := harness.BerthAccount(s.t.Context(), s.ControlPlane, "berth-"+s.Name)
	must(s.t, err)
	proxy, err := harness.StartProxy(s.t.Context(), s.Dir, kubeconfig)
	must(s.t, err)
	s.Berth, err = s.StartBerth(s.t.Context(), harness.BerthOptions{Kubeconfig: proxy.Kubeconfig})
	must(s.t, err)
	return proxy
}

// writes of a binding, in order, as the API server is asked for them.
type bindingWrite struct{ name, suffix string }

func bindingWrites() []bindingWrite {
	return []bindingWrite{{"the volume's phase", "/persistentvolumes/*/status"}, {"the claim's volume", "/persistentvolumeclaims/*"}, {"the claim's status", "/persistentvolumeclaims/*/status"}}
}

// is reports whether a request is this write.
func (w bindingWrite) is(r *http.Request) bool {
	if r.Method != http.MethodPatch {
		return false
	}
	parts, want := strings.Split(strings.Trim(r.URL.Path, "/"), "/"), strings.Split(strings.Trim(w.suffix, "/"), "/")
	if len(parts) < len(want) {
		return false
	}
	for i, part := range parts[len(parts)-len(want):] {
		if want[i] != "*" && want[i] != part {
			return false
		}
	}
	return len(want) > 2 || parts[len(parts)-1] != "status"
}

// once calls f before the first request that is a write.
func (w bindingWrite) once(f func()) func(*http.Request) {
	var first sync.Once
	return func(r *http.Request) {
		if w.is(r) {
			first.Do(f)
		}
	}
}

// stop kills the controller-manager of a control plane of one's own. What it does not do, nobody does.
func (s *story) stop(component string) {
	s.t.Helper()
	must(s.t, s.ControlPlane.Kill(s.t.Context(), component))
}

func (s *story) goOn(component string) {
	s.t.Helper()
	must(s.t, s.ControlPlane.Start(s.t.Context(), component))
}

// pods makes a Pod for each claim.
func (s *story) pods(claims ...string) {
	s.t.Helper()
	for _, name := range claims {
		_, err := s.Client().CoreV1().Pods(s.namespace).Create(s.t.Context(), harness.Pod(s.namespace, name, name), metav1.CreateOptions{})
		must(s.t, err)
	}
}

// placed waits until the Pods have a node, and returns them.
func (s *story) placed(names ...string) harness.Seen[*corev1.Pod] {
	s.t.Helper()
	pods, err := harness.WatchPods(s.t.Context(), s.Client(), s.namespace, func(pods harness.Seen[*corev1.Pod]) bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			pod := pods[s.namespace+"/"+name]
			return pod == nil || pod.Spec.NodeName == ""
		})
	})
	must(s.t, err)
	return pods
}

// onOwnControlPlane begins stories that stop parts of it.
func onOwnControlPlane(t *testing.T, name string, edits ...func(*harness.WorldOptions)) *story {
	t.Helper()
	return inOwnWorld(t, name, append([]func(*harness.WorldOptions){func(options *harness.WorldOptions) { options.Shared = nil }}, edits...)...)
}

// newNamespace is the same world, with another namespace.
func (s *story) newNamespace(t *testing.T) *story {
	t.Helper()
	return newStory(t, s.World)
}

// TestClaimsBindWithoutTheControllerManager also compares what we leave in the cluster with what the binder leaves there.
func TestClaimsBindWithoutTheControllerManager(t *testing.T) {
	world := onOwnControlPlane(t, "alone")
	world.stop(harness.ControllerManager)
	s := world.newNamespace(t)
	immediate, delayed := s.class(), s.class(harness.WaitForFirstConsumer)
	gold := s.attributes(s.namespace+"-gold", s.Driver.Name, map[string]string{"iops": "3000"})
	names := []string{"a", "b", "gold", "odd", "late-1", "late-2"}
	s.claim("a", immediate, s.assigned)
	s.claim("b", immediate, s.assigned, harness.Block)
	s.claim("gold", immediate, s.assigned, harness.WithAttributes(gold))
	s.claim("odd", immediate, s.assigned, harness.Size("1500M"))
	s.claim("late-1", delayed, s.assigned)
	s.claim("late-2", delayed, s.assigned)
	s.pods("a", "late-1", "late-2")
	ours, err := s.WaitBound(t.Context(), s.namespace, names...)
	must(t, err)
	s.placed("a", "late-1", "late-2")
	wantMetric(s, "berth_claims_bound_total", len(names))

	before := s.versions(names...)
	s.goOn(harness.ControllerManager)
	s.fence() // the controller-manager works
	s.fence()
	if after := s.versions(names...); !slices.Equal(before, after) {
		t.Errorf("the controller-manager has changed something: before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	wantUntouched(s, names...)

	t.Run("as the binder would", func(t *testing.T) {
		exit, err := s.Berth.Stop(t.Context())
		must(t, err)
		if exit != (harness.Exit{}) {
			t.Fatalf("ended with %s", exit)
		}
		world.Berth, err = s.StartBerth(t.Context(), harness.BerthOptions{Name: "berth-off", Flags: []string{"--express-binding=off"}})
		must(t, err)
		s.World.Berth = world.Berth
		theirs := s.newNamespace(t)
		theirs.claim("a", immediate, s.assigned)
		theirs.claim("b", immediate, s.assigned, harness.Block)
		theirs.claim("gold", immediate, s.assigned, harness.WithAttributes(gold))
		theirs.claim("odd", immediate, s.assigned, harness.Size("1500M"))
		theirs.claim("late-1", delayed, s.assigned)
		theirs.claim("late-2", delayed, s.assigned)
		theirs.pods("a", "late-1", "late-2")
		bound, err := theirs.WaitBound(t.Context(), theirs.namespace, names...)
		must(t, err)
		for i, claim := range bound {
			wantSameBinding(theirs, ours[i], claim)
		}
	})
}

// versions are the resource versions of claims and their volumes.
func (s *story) versions(names ...string) []string {
	s.t.Helper()
	var versions []string
	for _, name := range names {
		claim, volume := s.bound(name)
		versions = append(versions, fmt.Sprintf("%s %s %s", name, claim.ResourceVersion, volume.ResourceVersion))
	}
	return versions
}

// wantUntouched checks in the audit log that the controller-manager has not tried to write claims, or their volumes.
func wantUntouched(s *story, names ...string) {
	s.t.Helper()
	var volumes []string
	for _, name := range names {
		_, volume := s.bound(name)
		volumes = append(volumes, volume.Name)
	}
	writes, err := s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		object := event.ObjectRef
		return strings.HasPrefix(event.UserAgent, harness.ControllerManager) && slices.Contains([]string{"update", "patch", "delete"}, event.Verb) &&
			(object.Resource == "persistentvolumeclaims" && object.Namespace == s.namespace && slices.Contains(names, object.Name) ||
				object.Resource == "persistentvolumes" && slices.Contains(volumes, object.Name))
	})
	must(s.t, err)
	for _, write := range writes {
		s.t.Errorf("the controller-manager did %s %s %s %s", write.Verb, write.ObjectRef.Resource, write.ObjectRef.Subresource, write.ObjectRef.Name)
	}
}

// wantMetric waits until the values of a metric add up to so many.
func wantMetric(s *story, name string, want int) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), fmt.Sprintf("%s is %d", name, want), func(ctx context.Context) error {
		got, err := metric(ctx, s, name)
		if err == nil && got != want {
			err = fmt.Errorf("it is %d", got)
		}
		return err
	}))
}

// metric is the sum of all values of a metric.
func metric(ctx context.Context, s *story, name string) (int, error) {
	_, page, err := s.Berth.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, name); ok && (strings.HasPrefix(rest, " ") || strings.HasPrefix(rest, "{")) {
			var value float64
			fields := strings.Fields(line)
			if _, err := fmt.Sscan(fields[len(fields)-1], &value); err != nil {
				return 0, err
			}
			sum += value
		}
	}
	return int(sum), nil
}

// wantNeverLost checks that the controller-manager has not called any claim of the namespace Lost.
func wantNeverLost(s *story) {
	s.t.Helper()
	events, err := s.Client().CoreV1().Events(s.namespace).List(s.t.Context(), metav1.ListOptions{})
	must(s.t, err)
	lost := map[string]string{}
	for _, event := range events.Items {
		if event.Reason == "ClaimLost" || event.Reason == "ClaimMisbound" {
			lost[event.InvolvedObject.Name] = event.Message
		}
	}
	if len(lost) > 0 {
		s.t.Errorf("%d claims were called lost: %v", len(lost), lost)
	}
}

// wantSameBinding compares what we left of a claim and its volume with what the binder left of another claim like it.
func wantSameBinding(s *story, ours, theirs *corev1.PersistentVolumeClaim) {
	s.t.Helper()
	volumes := s.Client().CoreV1().PersistentVolumes()
	ourVolume, err := volumes.Get(s.t.Context(), ours.Spec.VolumeName, metav1.GetOptions{})
	must(s.t, err)
	theirVolume, err := volumes.Get(s.t.Context(), theirs.Spec.VolumeName, metav1.GetOptions{})
	must(s.t, err)
	if diff := cmp.Diff(plainClaim(theirs), plainClaim(ours)); diff != "" {
		s.t.Errorf("claim %s (-the binder's +ours):\n%s", ours.Name, diff)
	}
	if diff := cmp.Diff(plainVolume(theirVolume), plainVolume(ourVolume)); diff != "" {
		s.t.Errorf("volume of claim %s (-the binder's +ours):\n%s", ours.Name, diff)
	}
}

// plainMeta leaves out what has to differ between two objects.
func plainMeta(meta *metav1.ObjectMeta) {
	meta.Namespace, meta.Name, meta.UID, meta.ResourceVersion = "", "", "", ""
	meta.CreationTimestamp, meta.ManagedFields, meta.Generation = metav1.Time{}, nil, 0
	meta.Annotations = maps.Clone(meta.Annotations)
	if meta.Annotations[selectedNode] != "" {
		meta.Annotations[selectedNode] = "any"
	}
}

func plainClaim(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	claim = claim.DeepCopy()
	plainMeta(&claim.ObjectMeta)
	claim.Spec.VolumeName = strings.TrimRight(claim.Spec.VolumeName, "0123456789abcdef-")
	return claim
}

func plainVolume(volume *corev1.PersistentVolume) *corev1.PersistentVolume {
	volume = volume.DeepCopy()
	plainMeta(&volume.ObjectMeta)
	ref := volume.Spec.ClaimRef
	ref.Namespace, ref.Name, ref.UID, ref.ResourceVersion = "", "", "", ""
	volume.Spec.CSI.VolumeHandle, volume.Spec.CSI.VolumeAttributes, volume.Spec.NodeAffinity = "", nil, nil
	if volume.Status.LastPhaseTransitionTime != nil {
		volume.Status.LastPhaseTransitionTime = &metav1.Time{}
	}
	return volume
}
