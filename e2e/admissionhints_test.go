//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// Stories of TestAdmission about where volumes had better be.

// publish says how much room there is in zones for volumes of a class.
func (s *story) publish(class string, rooms map[string]string) {
	s.t.Helper()
	for zone, free := range rooms {
		_, err := s.Client().StorageV1().CSIStorageCapacities(s.namespace).Create(s.t.Context(), &storagev1.CSIStorageCapacity{
			ObjectMeta:       metav1.ObjectMeta{Name: class + "." + zone, Labels: map[string]string{"csi.storage.k8s.io/drivername": s.Driver.Name}},
			NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{s.ZoneKey(): zone}},
			StorageClassName: class,
			Capacity:         new(resource.MustParse(free)),
		}, metav1.CreateOptions{})
		must(s.t, err)
	}
}

// hint is how a hint is written that names these zones.
func (s *story) hint(zones ...string) string {
	text := "v1"
	for _, zone := range zones {
		text += ";" + s.ZoneKey() + "=" + zone
	}
	return text
}

// wantHint waits until claims of a class get a hint, and checks it at one that is created.
func (s *story) wantHint(name, class, want string, edits ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	s.t.Helper()
	wrong := func(claim *corev1.PersistentVolumeClaim) error {
		if got := claim.Annotations[s.Driver.Name+"/topology-hint"]; got != want {
			return fmt.Errorf("the hint of claim %s is %q, want %q", name, got, want)
		}
		return nil
	}
	must(s.t, harness.Eventually(s.t.Context(), "what was published is known", func(context.Context) error {
		claim, _, err := s.created(harness.Claim(s.namespace, name, class, edits...), metav1.DryRunAll)
		if err == nil {
			err = wrong(claim)
		}
		return err
	}))
	claim := s.claim(name, class, edits...)
	check(s.t, wrong(claim))
	return claim
}

func (s *admissionStory) hintsFollowTheRoom() {
	a, b, c := s.Zones[0], s.Zones[1], s.Zones[2]
	rooms := map[string]string{a: "100Gi", b: "500Gi", c: "10Gi"}
	class := s.class()
	s.publish(class, rooms)
	s.wantHint("small", class, s.hint(b, a, c))
	s.wantHint("medium", class, s.hint(b, a), harness.Size("50Gi"))
	for _, name := range []string{"small", "medium"} {
		_, volume := s.bound(name)
		wantAffinity(s.story, volume, b)
	}

	narrow := s.class(harness.AllowedTopologies(s.ZoneKey(), a, c))
	s.publish(narrow, rooms)
	s.wantHint("narrow", narrow, s.hint(a, c))
	_, volume := s.bound("narrow")
	wantAffinity(s.story, volume, a)

	// Nothing is said of what is nowhere, and the claim is let in: there may be room by and by.
	s.warned("huge", class, []string{
		fmt.Sprintf("no place of storage class %q is known to have room for this claim: provisioning may have to wait", class),
	}, harness.Size("600Gi"))
	claim, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(s.t.Context(), "huge", metav1.GetOptions{})
	must(s.t, err)
	s.wantOurs("a claim that fits nowhere", claim, 2)

	// The scheduler chooses better.
	later := s.class(harness.WaitForFirstConsumer)
	s.publish(later, rooms)
	s.admitted(later)
	s.wantOurs("a claim that waits for its Pod", s.claim("later", later), 2)
}

func (s *admissionStory) hintOfTheUser() {
	key := s.Driver.Name + "/topology-hint"
	class := s.class(harness.AllowedTopologies(s.ZoneKey(), s.Zones[0], s.Zones[2]))
	s.publish(class, map[string]string{s.Zones[0]: "100Gi", s.Zones[2]: "500Gi"})
	s.wantHint("none", class, s.hint(s.Zones[2], s.Zones[0]))
	own := "v1; " + s.ZoneKey() + "=" + s.Zones[0]
	s.wantHint("own", class, own, harness.Annotation(key, own))
	_, volume := s.bound("own")
	wantAffinity(s.story, volume, s.Zones[0])
	s.warned("elsewhere", class, []string{
		fmt.Sprintf("annotation %s has no effect: storage class %q allows none of its segments", key, class),
	}, harness.Annotation(key, s.hint(s.Zones[1])))

	_, _, err := s.created(harness.Claim(s.namespace, "wrong", class, harness.Annotation(key, "v1;zone")))
	want := fmt.Sprintf("admission webhook %q denied the request: annotation %s is no topology hint: \"zone\" in it is not of the form key=value; "+
		"correct it, or leave it out to have segments chosen that have room", s.hooks.MutateClaims.Webhooks[0].Name, key)
	if !apierrors.IsInvalid(err) || err.Error() != want {
		s.t.Errorf("refused with %v\nwant %s", err, want)
	}
}

func (s *admissionStory) hintNearTheSource() {
	zone := s.Zones[1]
	only := s.class(harness.AllowedTopologies(s.ZoneKey(), zone))
	class := s.class()
	s.publish(class, map[string]string{s.Zones[0]: "500Gi"})
	s.hinted(class)
	s.claim("original", only)
	s.bound("original")
	s.take("snap", "original")
	s.wantHint("clone", class, s.hint(zone), harness.FromClaim("original"))
	s.wantHint("restored", class, s.hint(zone), harness.FromSnapshot("snap"))
	for _, name := range []string{"clone", "restored"} {
		_, volume := s.bound(name)
		wantAffinity(s.story, volume, zone)
	}
}

func (s *admissionStory) replicasAreSpread() {
	class := s.class()
	rooms := map[string]string{}
	for i, zone := range s.Zones { // enough for a few like them
		rooms[zone] = fmt.Sprintf("%dGi", 100*(i+1))
	}
	s.publish(class, rooms)
	must(s.t, harness.Eventually(s.t.Context(), "what was published is known", func(context.Context) error {
		claim, err := s.tried(class)
		if err == nil && strings.Count(claim.Annotations[s.Driver.Name+"/topology-hint"], ";") != len(rooms) {
			err = fmt.Errorf("annotations are %v", claim.Annotations)
		}
		return err
	}))
	first := map[string]bool{}
	for i := range s.Zones {
		claim := s.claim(fmt.Sprintf("data-web-%d", i), class)
		segments := strings.Split(claim.Annotations[s.Driver.Name+"/topology-hint"], ";")
		if len(segments) != len(s.Zones)+1 {
			s.t.Fatalf("the hint of %s is %q, want all zones", claim.Name, segments)
		}
		zone := strings.TrimPrefix(segments[1], s.ZoneKey()+"=")
		_, volume := s.bound(claim.Name)
		wantAffinity(s.story, volume, zone)
		first[zone] = true
	}
	if diff := cmp.Diff(s.Zones, slices.Sorted(maps.Keys(first))); diff != "" {
		s.t.Errorf("zones that come first (-want +got):\n%s", diff)
	}
}
