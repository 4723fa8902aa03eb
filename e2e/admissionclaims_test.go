//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// Stories of TestAdmission about claims that are given to the driver as they are created.

// The controller-manager has nothing to write to a claim before there is a volume for it. Without the webhooks it writes the annotations. (Who binds
// the claim then is another story.)
func (s *admissionStory) annotationIsOneWriteLess() {
	class := s.class()
	s.admitted(class)
	s.claim("data", class)
	without := newStory(s.t, shared)
	without.claim("data", without.class())

	if got := s.writesBeforeVolume(); len(got) != 0 {
		s.t.Errorf("the binder wrote to the claim %d times before there was a volume, want never: %+v", len(got), got)
	}
	if got := without.writesBeforeVolume(); len(got) != 1 {
		s.t.Errorf("the binder wrote to the claim that the webhooks have not seen %d times before there was a volume, want once: %+v", len(got), got)
	}
	if left := s.audited("data"); !wrote(left, s.hooks.MutateClaims.Name) {
		s.t.Errorf("the audit log does not tell that the webhook changed the claim: %v", left)
	}
}

// writesBeforeVolume waits until the claim data is bound, and returns what the binder wrote to it before its volume was stored.
func (s *story) writesBeforeVolume() []harness.AuditEvent {
	s.t.Helper()
	_, volume := s.bound("data")
	stored, err := s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
		return event.Verb == "create" && event.ObjectRef.Resource == "persistentvolumes" && event.ObjectRef.Name == volume.Name &&
			event.ResponseStatus.Code == 201
	})
	must(s.t, err)
	if len(stored) != 1 {
		s.t.Fatalf("volume %s was stored %d times by the audit log, want once", volume.Name, len(stored))
	}
	return slices.DeleteFunc(s.writes(binder, "data"), func(write harness.AuditEvent) bool { return write.Received.After(stored[0].Received) })
}

// wrote says whether the audit log's annotations tell that a mutating webhook configuration changed the object.
func wrote(audit map[string]string, configuration string) bool {
	for key, value := range audit {
		if strings.HasPrefix(key, "mutation.webhook.admission.k8s.io/") &&
			strings.Contains(value, fmt.Sprintf("%q:%q", "configuration", configuration)) && strings.Contains(value, `"mutated":true`) {
			return true
		}
	}
	return false
}

// A claim for which there is a volume gets that one and no other. The webhook leaves it to the binder, unless it has not heard of the volume yet;
// and then, or where the binder itself has not, the provisioner does.
func (s *admissionStory) shelfIsUsed() {
	class := s.class(harness.Retain) // what is left over would stay
	s.admitted(class)
	given := 0
	claims := s.takeShelves(class)
	for _, claim := range claims {
		if givenTo(claim, s.Driver.Name) {
			given++
		}
	}
	s.t.Logf("%d of %d claims were given to the driver nevertheless", given, len(claims))
	if given > len(claims)/2 {
		s.t.Error("the webhook does not mind volumes that exist")
	}
}

// A volume on the shelf that comes right after its claim may be taken, or be too late. In either case there is one volume a claim in the end.
func (s *admissionStory) shelfComesLate() {
	count, taken := tries(s.t, 20), 0
	// Side by side, because the binder may come back to a claim only after 15 seconds; each in a class of its own, so that each has one choice.
	classes := make([]string, min(count, 20))
	for i := range classes {
		classes[i] = s.class()
	}
	for _, class := range classes {
		s.admitted(class)
	}
	for done := 0; done < count; done += len(classes) {
		claims := make([]*corev1.PersistentVolumeClaim, len(classes))
		for i, class := range classes {
			name := fmt.Sprintf("data-%d", done+i)
			claims[i] = s.claim(name, class)
			s.shelf(name, class)
			s.wantOurs("there was no volume", claims[i], 2)
		}
		for _, claim := range claims {
			if s.tookShelf(claim) {
				taken++
			}
		}
	}
	s.t.Logf("%d of %d claims took the volume that came late", taken, count)
}

// tookShelf says whether a claim is bound to its volume on the shelf in the end, and checks that there is no other volume than the one it has.
func (s *story) tookShelf(claim *corev1.PersistentVolumeClaim) bool {
	s.t.Helper()
	shelf := s.namespace + "-" + claim.Name
	_, volume := s.bound(claim.Name)
	took := volume.Name == shelf
	if !took { // or else the next claim takes it
		must(s.t, s.Client().CoreV1().PersistentVolumes().Delete(s.t.Context(), shelf, metav1.DeleteOptions{}))
		must(s.t, s.WaitVolumesGone(s.t.Context(), shelf))
	}
	want := map[bool]int{true: 0, false: 1}[took]
	must(s.t, harness.Eventually(s.t.Context(), "the driver holds no volume but that of the claim", func(context.Context) error {
		if got := s.volumesNamed(volumeName(claim)); len(got) != want {
			return fmt.Errorf("it holds %v, and the claim is bound to %s", got, volume.Name)
		}
		return nil
	}))
	return took
}

// ours are the annotations of a claim that Berth wrote to it.
func (s *story) ours(claim *corev1.PersistentVolumeClaim) []string {
	keys := append(slices.Clone(provisionerKeys), s.Driver.Name+"/topology-hint")
	return slices.DeleteFunc(slices.Sorted(maps.Keys(claim.Annotations)), func(key string) bool { return !slices.Contains(keys, key) })
}

// wantOurs checks that a claim has so many of them.
func (s *story) wantOurs(when string, claim *corev1.PersistentVolumeClaim, want int) {
	s.t.Helper()
	if got := s.ours(claim); len(got) != want {
		s.t.Errorf("%s: %q are left of our annotations, want %d", when, got, want)
	}
}

// manifest is a claim as a file for kubectl has it.
func (s *story) manifest(class string, edits ...func(*corev1.PersistentVolumeClaim)) string {
	s.t.Helper()
	claim := harness.Claim(s.namespace, "data", class, edits...)
	claim.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	text, err := json.Marshal(claim)
	must(s.t, err)
	return string(text)
}

// kubectl gives a manifest to kubectl, and returns what it prints.
func (s *story) kubectl(manifest string, args ...string) string {
	s.t.Helper()
	out, err := s.ControlPlane.Kubectl(s.t.Context(), manifest, nil, append(args, "-f", "-")...)
	must(s.t, err)
	return out
}

// Who applies the same manifest again and again, on the client or on the server, meets no conflict and leaves alone what the webhook wrote.
func (s *admissionStory) apply(flags ...string) {
	class := s.class()
	s.publish(class, map[string]string{s.Zones[0]: "100Gi"})
	s.hinted(class)
	for i, label := range []string{"one", "one", "two"} {
		out := s.kubectl(s.manifest(class, harness.Annotation("example.com/note", label)), append([]string{"apply"}, flags...)...)
		if strings.Contains(out, "onflict") || strings.Contains(out, "Warning") {
			s.t.Errorf("kubectl prints %q", out)
		}
		if i == 0 {
			s.bound("data")
		}
		claim, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(s.t.Context(), "data", metav1.GetOptions{})
		must(s.t, err)
		s.wantOurs("applied "+label, claim, 3)
		if claim.Annotations["example.com/note"] != label {
			s.t.Errorf("annotations are %v, want the manifest's", claim.Annotations)
		}
	}
}

func (s *admissionStory) serverSideApply() { s.apply("--server-side") }

func (s *admissionStory) clientSideApply() { s.apply() }

// Who replaces a claim by a manifest takes all annotations away that are not in it, as from any object. The webhook does not put them back;
// the controller-manager does when it is the claim's turn.
func (s *admissionStory) replace() {
	class := s.class(harness.WaitForFirstConsumer)
	s.admitted(class)
	created := s.claim("data", class)
	s.wantOurs("created", created, 2)
	s.kubectl(s.manifest(class, harness.Annotation("example.com/note", "replaced")), "replace")
	claim, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(s.t.Context(), "data", metav1.GetOptions{})
	must(s.t, err)
	s.wantOurs("replaced", claim, 0)
	_, err = s.Client().CoreV1().Pods(s.namespace).Create(s.t.Context(),
		harness.Pod(s.namespace, "web", "data", harness.OnNodesWith(s.ZoneKey(), s.Zones[0])), metav1.CreateOptions{})
	must(s.t, err)
	claim, _ = s.bound("data")
	s.wantOurs("bound", claim, 2)
}

// A dry run shows what would be written, and nothing comes of it.
func (s *admissionStory) trialRun() {
	class := s.class()
	s.publish(class, map[string]string{s.Zones[0]: "100Gi"})
	s.hinted(class)
	claim, said, err := s.created(harness.Claim(s.namespace, "data", class), metav1.DryRunAll)
	must(s.t, err)
	s.wantOurs("a trial run", claim, 3)
	if len(said) != 0 {
		s.t.Errorf("warnings are %q, want none", said)
	}
	_, err = s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(s.t.Context(), "data", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		s.t.Errorf("reading the claim: got %v, want that it does not exist", err)
	}
	s.fence()
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 0 {
		s.t.Errorf("CreateVolume was called: %v", calls)
	}
	if events := s.events("data"); len(events) != 0 {
		s.t.Errorf("Berth has said %v", events)
	}
}

// hinted waits until claims of a class get a hint.
func (s *story) hinted(class string) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "claims are given a hint", func(context.Context) error {
		claim, err := s.tried(class)
		if err == nil && claim.Annotations[s.Driver.Name+"/topology-hint"] == "" {
			err = errors.New("there is none")
		}
		return err
	}))
}
