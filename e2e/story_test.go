//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/berth-csi/berth/e2e/harness"
)

// story is one test in one namespace of a world.
type story struct {
	*harness.World

	t         *testing.T
	namespace string
}

// inSharedWorld begins a story beside the others.
func inSharedWorld(t *testing.T) *story {
	t.Helper()
	t.Parallel()
	return newStory(t, shared)
}

// inOwnWorld begins a story with its own driver and its own Berth on the shared control plane. The edits state what is
// different about them.
func inOwnWorld(t *testing.T, name string, edits ...func(*harness.WorldOptions)) *story {
	t.Helper()
	// A test may run more than once in a process, and its nodes stay.
	options := harness.WorldOptions{Name: name + "-" + rand.String(4), Shared: shared.ControlPlane}
	options.Dir = filepath.Join(filepath.Dir(shared.Dir), options.Name)
	for _, edit := range edits {
		edit(&options)
	}
	world, err := harness.NewWorld(t.Context(), options)
	must(t, err)
	t.Cleanup(func() {
		if options.Shared == nil { // its audit log goes with it
			check(t, rightsAsked.collect(world.ControlPlane))
		}
		check(t, world.Close(context.Background()))
	})
	return newStory(t, world)
}

func berthFlags(flags ...string) func(*harness.WorldOptions) {
	return func(options *harness.WorldOptions) { options.Berth.Flags = append(options.Berth.Flags, flags...) }
}

// patient never tries again by itself: what happens after a failure happens because of an event.
func patient(options *harness.WorldOptions) {
	berthFlags("--retry-interval-start=1h", "--retry-interval-max=1h")(options)
}

func driverFaults(faults ...harness.Fault) func(*harness.WorldOptions) {
	return func(options *harness.WorldOptions) { options.Driver.Faults = append(options.Driver.Faults, faults...) }
}

func newStory(t *testing.T, world *harness.World) *story {
	t.Helper()
	words := regexp.MustCompile(`([a-z0-9])([A-Z])|[^A-Za-z0-9]+`).ReplaceAllString(strings.TrimPrefix(t.Name(), "Test"), "$1-$2")
	name := strings.ToLower(words[:min(50, len(words))])
	s := &story{World: world, t: t, namespace: strings.Trim(name, "-") + "-" + rand.String(4)}
	must(t, harness.CreateNamespace(t.Context(), world.Client(), s.namespace))
	return s
}

// must ends the test on an error, check does not.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// class creates a storage class of the world's driver and returns its name.
func (s *story) class(edits ...func(*storagev1.StorageClass)) string {
	s.t.Helper()
	class := harness.StorageClass(s.namespace+"-"+rand.String(4), s.Driver.Name, edits...)
	_, err := s.Client().StorageV1().StorageClasses().Create(s.t.Context(), class, metav1.CreateOptions{})
	must(s.t, err)
	return class.Name
}

// claim creates a claim.
func (s *story) claim(name, class string, edits ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	s.t.Helper()
	claim, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).
		Create(s.t.Context(), harness.Claim(s.namespace, name, class, edits...), metav1.CreateOptions{})
	must(s.t, err)
	return claim
}

// claims creates many at once and returns their names.
func (s *story) claims(class string, count int) []string {
	s.t.Helper()
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("claim-%03d", i)
	}
	todo := make(chan string)
	var hands sync.WaitGroup
	for range 8 {
		hands.Go(func() {
			for name := range todo {
				_, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).
					Create(s.t.Context(), harness.Claim(s.namespace, name, class), metav1.CreateOptions{})
				check(s.t, err)
			}
		})
	}
	for _, name := range names {
		todo <- name
	}
	close(todo)
	hands.Wait()
	return names
}

// bound waits until a claim is bound, and returns it with its volume.
func (s *story) bound(name string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	s.t.Helper()
	claims, err := s.WaitBound(s.t.Context(), s.namespace, name)
	must(s.t, err)
	volume, err := s.Client().CoreV1().PersistentVolumes().Get(s.t.Context(), claims[0].Spec.VolumeName, metav1.GetOptions{})
	must(s.t, err)
	return claims[0], volume
}

// phase of a claim, now.
func (s *story) phase(name string) corev1.PersistentVolumeClaimPhase {
	s.t.Helper()
	claim, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(s.t.Context(), name, metav1.GetOptions{})
	must(s.t, err)
	return claim.Status.Phase
}

// drop deletes a claim.
func (s *story) drop(name string) {
	s.t.Helper()
	must(s.t, s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Delete(s.t.Context(), name, metav1.DeleteOptions{}))
}

// fence takes a claim from creation to the deletion of its volume. What Berth had to do with events from before it, it has
// begun to do.
func (s *story) fence() {
	s.t.Helper()
	name := "fence-" + rand.String(4)
	s.claim(name, s.class())
	_, volume := s.bound(name)
	s.drop(name)
	must(s.t, s.WaitVolumesGone(s.t.Context(), volume.Name))
}

// calls of a method about one subject.
func (s *story) calls(method, subject string) []harness.Call {
	s.t.Helper()
	calls, err := s.Driver.CallsFor(s.t.Context(), method, subject)
	must(s.t, err)
	return calls
}

// asked is what the driver was asked for a claim's volume, which has to be once.
func (s *story) asked(claim *corev1.PersistentVolumeClaim) *harness.CreateVolumeRequest {
	s.t.Helper()
	calls := s.calls(harness.CreateVolume, volumeName(claim))
	if len(calls) != 1 {
		s.t.Fatalf("CreateVolume was called %d times, want once", len(calls))
	}
	request, err := calls[0].CreateVolume()
	must(s.t, err)
	return request
}

// told waits until Berth has an event on a claim with a reason and all the words, and returns it. The binder's do not count.
func (s *story) told(claim, reason string, words ...string) *corev1.Event {
	s.t.Helper()
	var found *corev1.Event
	must(s.t, harness.Eventually(s.t.Context(), fmt.Sprintf("claim %s is told %s %q", claim, reason, words), func(context.Context) error {
		var said []string
		for _, event := range s.events(claim) {
			if event.Reason == reason && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(event.Message, word) }) {
				found = &event
				return nil
			}
			said = append(said, event.Reason+": "+event.Message)
		}
		return fmt.Errorf("Berth has said %q", said)
	}))
	return found
}

// events are those that Berth has on a claim.
func (s *story) events(claim string) []corev1.Event {
	s.t.Helper()
	events, err := harness.ClaimEvents(s.t.Context(), s.Client(), s.namespace, claim)
	must(s.t, err)
	return slices.DeleteFunc(events, func(event corev1.Event) bool { return !strings.HasPrefix(event.Source.Component, s.Driver.Name+"_") })
}

// annotate sets an annotation of a claim.
func (s *story) annotate(claim, key, value string) {
	s.t.Helper()
	_, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Patch(s.t.Context(), claim, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value), metav1.PatchOptions{})
	must(s.t, err)
}

// leavesNothing deletes a bound claim, and checks that neither its volume nor the driver's is left.
func (s *story) leavesNothing(claim *corev1.PersistentVolumeClaim) {
	s.t.Helper()
	s.drop(claim.Name)
	must(s.t, s.WaitVolumesGone(s.t.Context(), volumeName(claim)))
	if left := s.volumesNamed(volumeName(claim)); len(left) != 0 {
		s.t.Errorf("the driver still has %v", left)
	}
}

// volumeName is what the claim's volume is called, in the API and in the driver.
func volumeName(claim *corev1.PersistentVolumeClaim) string { return "pvc-" + string(claim.UID) }

// volumesNamed are the volumes the driver holds under a name.
func (s *story) volumesNamed(name string) []harness.Volume {
	s.t.Helper()
	volumes, err := s.Driver.Volumes(s.t.Context())
	must(s.t, err)
	return slices.DeleteFunc(volumes, func(volume harness.Volume) bool { return volume.Name != name })
}

// isBerth says whether a user is the service account of one of the worlds.
func isBerth(user string) bool {
	return strings.HasPrefix(user, "system:serviceaccount:"+harness.BerthNamespace+":berth-")
}
