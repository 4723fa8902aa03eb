//go:build e2e

package e2e

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// What a claim waits for wakes it when it comes: in this world nothing is tried again before an hour is over.
func TestNewsEndsTheWait(t *testing.T) {
	t.Parallel()
	world := inOwnWorld(t, "news", patient).World
	for name, test := range map[string]struct {
		wait func(s *story, class string) // makes the claim "data"
		told []string                     // what it says then
		news func(s *story, class string)
	}{
		"a storage class comes": {
			wait: func(s *story, class string) {
				// Without a class the binder hands a claim to nobody.
				s.claim("data", class+"-new", harness.Annotation("volume.kubernetes.io/storage-provisioner", s.Driver.Name))
			},
			told: []string{"storage class", "-new"},
			news: func(s *story, class string) {
				_, err := s.Client().StorageV1().StorageClasses().
					Create(s.t.Context(), harness.StorageClass(class+"-new", s.Driver.Name), metav1.CreateOptions{})
				must(s.t, err)
			},
		},
		"an attributes class comes": {
			wait: func(s *story, class string) { s.claim("data", class, harness.WithAttributes(class+"-gold")) },
			told: []string{"volume attributes class", "-gold"},
			news: func(s *story, class string) {
				s.attributes(class+"-gold", s.Driver.Name, map[string]string{"iops": "100"})
			},
		},
		"a snapshot gets ready": {
			wait: func(s *story, class string) {
				s.claim("original", class)
				s.bound("original")
				s.take("snap", "original", harness.SnapshotNotReady)
				s.claim("data", class, harness.FromSnapshot("snap"))
			},
			told: []string{"snap", "ready"},
			news: func(s *story, _ string) {
				snapshots := s.snapshots().API.SnapshotV1().VolumeSnapshots(s.namespace)
				snapshot, err := snapshots.Get(s.t.Context(), "snap", metav1.GetOptions{})
				must(s.t, err)
				snapshot.Status.ReadyToUse = new(true)
				_, err = snapshots.UpdateStatus(s.t.Context(), snapshot, metav1.UpdateOptions{})
				must(s.t, err)
			},
		},
		"a claim to be cloned gets its volume": {
			wait: func(s *story, class string) { s.claim("data", class, harness.FromClaim("original")) },
			told: []string{"original", "does not exist"},
			news: func(s *story, class string) {
				s.claim("original", class)
				s.bound("original")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, world)
			class := s.class()
			test.wait(s, class)
			s.told("data", "ProvisioningFailed", test.told...)
			test.news(s, class)
			claim, volume := s.bound("data")
			s.asked(claim)
			wantStored(s, claim, volume)
		})
	}
}

func TestRequestThatTheDriverCallsWrongIsNotRepeatedWithoutNews(t *testing.T) {
	t.Parallel()
	// It is tried soon after what may pass, and after what may not as late as can be.
	s := inOwnWorld(t, "wrong", berthFlags("--retry-interval-start=100ms", "--retry-interval-max=1h"), driverFaults(harness.Fault{
		Method: harness.CreateVolume, Action: "error", Code: "InvalidArgument", Message: "tier brass is unknown", Times: 1,
	}))
	class := s.class(harness.Parameters(map[string]string{"tier": "brass"}))
	claim := s.claim("data", class)
	s.told("data", "ProvisioningFailed", "tier brass is unknown", class)
	for _, value := range []string{"once", "twice", "thrice"} {
		s.annotate("data", "example.com/touched", value)
		s.fence()
	}
	if calls := s.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 1 {
		t.Fatalf("calls are %v, want one", calls)
	}

	classes := s.Client().StorageV1().StorageClasses()
	must(t, classes.Delete(t.Context(), class, metav1.DeleteOptions{}))
	_, err := classes.Create(t.Context(), harness.StorageClass(class, s.Driver.Name, harness.Parameters(map[string]string{"tier": "gold"})), metav1.CreateOptions{})
	must(t, err)
	_, volume := s.bound("data")
	wantStored(s, claim, volume)
	calls := s.calls(harness.CreateVolume, volumeName(claim))
	if len(calls) != 2 {
		t.Fatalf("calls are %v, want two", calls)
	}
	request, err := calls[1].CreateVolume()
	must(t, err)
	if got := request.Parameters["tier"]; got != "gold" {
		t.Errorf("tier is %q, want gold", got)
	}
}
