//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// staticRaceTries is how many claims TestAdmissionStaticVolumeRace makes, unless the environment variable STATIC_RACE_TRIES says another number.
const staticRaceTries = 20

// A claim that is made with the annotations that admission writes may be bound to a volume that exists by the controller-manager, and given a new one by us,
// in the same moment. It gets the volume that exists, and no other is created.
func TestAdmissionStaticVolumeRace(t *testing.T) {
	tries := staticRaceTries
	if text := os.Getenv("STATIC_RACE_TRIES"); text != "" {
		var err error
		tries, err = strconv.Atoi(text)
		must(t, err)
	}
	s := inOwnWorld(t, "static-race")
	class := s.class(harness.Retain) // what is left over would stay
	volumes := s.Client().CoreV1().PersistentVolumes()
	for i := range tries {
		name := fmt.Sprintf("data-%d", i)
		shelf := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-" + name},
			Spec: corev1.PersistentVolumeSpec{
				StorageClassName:              class,
				Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")},
				AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
					Driver: "by-hand.csi.example.com", VolumeHandle: name,
				}},
			},
		}
		if i%4 == 3 { // reserved, as people do who want to be sure
			shelf.Spec.ClaimRef = &corev1.ObjectReference{Namespace: s.namespace, Name: name}
		}
		_, err := volumes.Create(t.Context(), shelf, metav1.CreateOptions{})
		must(t, err)
		// The next claim must not find the volume of this one free: each has one choice.
		_, err = s.WaitVolumePhase(t.Context(), shelf.Name, corev1.VolumeAvailable)
		must(t, err)
		s.claim(name, class,
			harness.Annotation("volume.kubernetes.io/storage-provisioner", s.Driver.Name),
			harness.Annotation("volume.beta.kubernetes.io/storage-provisioner", s.Driver.Name))
		_, volume := s.bound(name)
		if volume.Name != shelf.Name {
			t.Errorf("claim %s is bound to %s, want %s", name, volume.Name, shelf.Name)
		}
	}
	s.fence() // whatever was to be done for them was done by now
	created, err := s.Driver.Volumes(t.Context())
	must(t, err)
	calls, err := s.Driver.CallCounts(t.Context())
	must(t, err)
	if len(created) > 0 || calls[harness.CreateVolume] != 1 { // the fence's, which is gone
		t.Errorf("CreateVolume was called %d times for %d claims that have a volume, and %v are left", calls[harness.CreateVolume]-1, tries, created)
	}
}

// A volume that is there for a claim and that nobody binds it to does not keep it from being provisioned.
func TestVolumeThatIsNotTakenDoesNotHoldUpItsClaim(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	small := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-small"},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{Namespace: s.namespace, Name: "data"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: "by-hand.csi.example.com", VolumeHandle: "small",
			}},
		},
	}
	_, err := s.Client().CoreV1().PersistentVolumes().Create(t.Context(), small, metav1.CreateOptions{})
	must(t, err)
	_, err = s.WaitVolumePhase(t.Context(), small.Name, corev1.VolumeAvailable)
	must(t, err)
	s.claim("data", class)
	claim, volume := s.bound("data")
	if volume.Name != volumeName(claim) {
		t.Errorf("the claim is bound to %s, want %s", volume.Name, volumeName(claim))
	}
	s.told("data", "Provisioning", small.Name)
}
