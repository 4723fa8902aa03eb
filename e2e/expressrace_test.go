//go:build e2e

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

var races = flag.Int("races", 40, "how many claims TestBindersRace has two binders race for")

// TestBindersRace has a volume made by hand appear for each claim while ours is being made: the controller-manager's binder takes the
// one that it meets first, and so do we.
func TestBindersRace(t *testing.T) {
	s := inOwnWorld(t, "race", driverFaults(harness.Fault{Method: harness.CreateVolume, Latency: "20ms", Jitter: "150ms"}))
	names, classes := make([]string, *races), map[string]string{} // one each, so that nobody waits for another one's volume
	for i := range names {
		names[i] = fmt.Sprintf("race-%03d", i)
		classes[names[i]] = s.class()
	}
	todo := make(chan string)
	var hands sync.WaitGroup
	for range 4 {
		hands.Go(func() {
			for name := range todo {
				class := classes[name]
				_, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Create(t.Context(), harness.Claim(s.namespace, name, class, s.assigned), metav1.CreateOptions{})
				check(t, err)
				var number int
				_, err = fmt.Sscanf(name, "race-%d", &number)
				check(t, err)
				for i := range 20 { // each has the binder look at the claim again, and makes a write of ours one of an old version
					if i == number%20 { // before the driver is called, during the call, after it
						_, err = s.Client().CoreV1().PersistentVolumes().Create(t.Context(), byHand(s.namespace+"-"+name, class), metav1.CreateOptions{})
						check(t, err)
					}
					_, err = s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Patch(t.Context(), name, types.MergePatchType,
						fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/touched":"%d"}}}`, i), metav1.PatchOptions{})
					check(t, err)
				}
			}
		})
	}
	for _, name := range names {
		todo <- name
	}
	close(todo)
	hands.Wait()
	claims, err := s.WaitBound(t.Context(), s.namespace, names...)
	must(t, err)
	has := map[string]*corev1.PersistentVolumeClaim{} // by volume
	ours, surplus := 0, []string(nil)
	for _, claim := range claims {
		if other := has[claim.Spec.VolumeName]; other != nil {
			t.Errorf("claims %s and %s have the same volume %s", other.Name, claim.Name, claim.Spec.VolumeName)
		}
		has[claim.Spec.VolumeName] = claim
		if claim.Spec.VolumeName == volumeName(claim) {
			ours++
		} else {
			surplus = append(surplus, volumeName(claim))
		}
	}
	t.Logf("of %d claims %d have their own volume, %d one made by hand", len(claims), ours, len(surplus))
	must(t, s.WaitVolumesGone(t.Context(), surplus...))
	must(t, harness.Eventually(t.Context(), "every volume is for whoever has it", func(ctx context.Context) error {
		list, err := s.Client().CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, volume := range list.Items {
			ref, claim := volume.Spec.ClaimRef, has[volume.Name]
			switch {
			case !strings.HasPrefix(volume.Spec.StorageClassName, s.namespace):
			case claim != nil && (ref == nil || ref.UID != claim.UID || volume.Status.Phase != corev1.VolumeBound):
				return fmt.Errorf("volume %s is %s and for %v, and claim %s has it", volume.Name, volume.Status.Phase, ref, claim.Name)
			case claim == nil && (ref != nil || volume.Status.Phase != corev1.VolumeAvailable):
				return fmt.Errorf("volume %s is %s and for %v, and nobody has it", volume.Name, volume.Status.Phase, ref)
			}
		}
		return nil
	}))
	held, err := s.Driver.Volumes(t.Context())
	must(t, err)
	if len(held) != ours {
		t.Errorf("the driver has %d volumes, want %d", len(held), ours)
	}
	wantNeverLost(s)
	for _, volume := range s.handMade() {
		check(t, s.Client().CoreV1().PersistentVolumes().Delete(context.WithoutCancel(t.Context()), volume, metav1.DeleteOptions{}))
	}
}

func (s *story) handMade() (names []string) {
	s.t.Helper()
	list, err := s.Client().CoreV1().PersistentVolumes().List(s.t.Context(), metav1.ListOptions{})
	must(s.t, err)
	for _, volume := range list.Items {
		if strings.HasPrefix(volume.Spec.StorageClassName, s.namespace) && volume.Spec.HostPath != nil {
			names = append(names, volume.Name)
		}
	}
	return names
}

// byHand is a volume that an administrator makes, and that any claim of the class will do with.
func byHand(name, class string) *corev1.PersistentVolume {
	claim := harness.Claim("", "", class)
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class, AccessModes: claim.Spec.AccessModes,
			Capacity:                      claim.Spec.Resources.Requests,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/data"}},
		},
	}
}

// TestNoClaimIsCalledLostByABusyBinder has a controller-manager with stock limits release hundreds of volumes, one by one, while new claims
// want to be bound: it will not know of their volumes for a while.
func TestNoClaimIsCalledLostByABusyBinder(t *testing.T) {
	s := onOwnControlPlane(t, "busy")
	class := s.class()
	old := s.newNamespace(t)
	names := make([]string, 150)
	for i := range names {
		names[i] = fmt.Sprintf("old-%03d", i)
		old.claim(names[i], class, s.assigned)
	}
	_, err := old.WaitBound(t.Context(), old.namespace, names...)
	must(t, err)
	must(t, s.Client().CoreV1().PersistentVolumeClaims(old.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	fresh := make([]string, 60)
	for i := range fresh {
		fresh[i] = fmt.Sprintf("new-%03d", i)
		s.claim(fresh[i], class, s.assigned)
	}
	_, err = s.WaitBound(t.Context(), s.namespace, fresh...)
	must(t, err)
	wantNeverLost(s)
	wantNeverLost(old)
}

// TestPermissionsTakenAwayAndGivenBack has the binder do its own work meanwhile.
func TestPermissionsTakenAwayAndGivenBack(t *testing.T) {
	s := onOwnControlPlane(t, "rights")
	class := s.class()
	wantMetric(s, "berth_express_binding", 1)
	s.stop(harness.ControllerManager)
	s.claim("before", class, s.assigned)
	s.bound("before")

	role := s.rights(func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.Resources, "persistentvolumeclaims/status") || slices.Contains(rule.Resources, "persistentvolumes/status")
	})
	s.claim("without", class, s.assigned)
	wantMetric(s, "berth_express_binding", 0)
	s.goOn(harness.ControllerManager)
	s.bound("without")
	s.claim("still-without", class, s.assigned)
	s.bound("still-without")

	must(t, harness.Eventually(t.Context(), "the role is given back", func(ctx context.Context) error {
		now, err := s.Client().RbacV1().ClusterRoles().Get(ctx, role.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		now.Rules = role.Rules
		_, err = s.Client().RbacV1().ClusterRoles().Update(ctx, now, metav1.UpdateOptions{})
		return err
	}))
	wantMetric(s, "berth_express_binding", 1)
	s.stop(harness.ControllerManager)
	s.claim("again", class, s.assigned)
	s.bound("again")
}

// rights takes rules from Berth's role, and returns the role as it was.
func (s *story) rights(without func(rbacv1.PolicyRule) bool) *rbacv1.ClusterRole {
	s.t.Helper()
	roles := s.Client().RbacV1().ClusterRoles()
	role, err := roles.Get(s.t.Context(), "berth-"+s.World.Name, metav1.GetOptions{})
	must(s.t, err)
	changed := role.DeepCopy()
	changed.Rules = slices.DeleteFunc(changed.Rules, without)
	if len(changed.Rules) == len(role.Rules) {
		must(s.t, errors.New("the role has no such rule"))
	}
	_, err = roles.Update(s.t.Context(), changed, metav1.UpdateOptions{})
	must(s.t, err)
	return role
}
