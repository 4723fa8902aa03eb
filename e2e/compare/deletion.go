package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

// observeDeletion takes down what became of a claim's volume once the claim is gone. A volume that is to be retained is then
// removed.
func (s *stage) observeDeletion(ctx context.Context, claim *corev1.PersistentVolumeClaim, seen *observation) error {
	v := seen.Claims[claim.Name]
	phase, err := s.phaseAfterDeletion(ctx, seen.volumes[claim.Name])
	if err != nil {
		return err
	}
	v.AfterDeletion = phase
	if v.LeftInDriver, err = s.leftInDriver(ctx, claim.UID, phase); err != nil {
		return err
	}
	all, err := s.driver.Calls(ctx, harness.DeleteVolume)
	if err != nil {
		return err
	}
	placeholders := map[string]string{}
	var calls []harness.Call
	for _, handle := range seen.handles[claim.Name] {
		placeholders[handle] = "HANDLE"
		for _, call := range all {
			if call.Subject() == handle {
				calls = append(calls, call)
			}
		}
	}
	v.DeleteVolume, err = requests(calls, newNames(placeholders))
	return err
}

const volumeGone = "gone"

// phaseAfterDeletion waits until a volume is gone, or until it seems to stay. No name is a claim that had none.
func (s *stage) phaseAfterDeletion(ctx context.Context, name string) (string, error) {
	if name == "" {
		return volumeGone, nil
	}
	volumes := s.client.CoreV1().PersistentVolumes()
	began := time.Now()
	for {
		volume, err := volumes.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return volumeGone, nil
		}
		if err != nil {
			return "", err
		}
		stays := volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete &&
			volume.Status.Phase == corev1.VolumeReleased
		if waited := time.Since(began); waited > gone || stays && waited > settling {
			return string(volume.Status.Phase), s.dropVolume(ctx, name)
		}
		if err := pause(ctx, look); err != nil {
			return "", err
		}
	}
}

// dropVolume deletes a PersistentVolume that nobody else will.
func (s *stage) dropVolume(ctx context.Context, name string) error {
	volumes := s.client.CoreV1().PersistentVolumes()
	if err := unlessGone(volumes.Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
		return err
	}
	_, err := volumes.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	return unlessGone(err)
}

// leftInDriver counts the claim's volumes. One that is on its way out is given some time.
func (s *stage) leftInDriver(ctx context.Context, uid types.UID, phase string) (int, error) {
	began := time.Now()
	for {
		volumes, err := s.driver.Volumes(ctx)
		if err != nil {
			return 0, err
		}
		left := 0
		for _, volume := range volumes {
			if namedAfter(volume.Name, uid) {
				left++
			}
		}
		if left == 0 || phase != volumeGone || time.Since(began) > patienceFailed {
			return left, nil
		}
		if err := pause(ctx, look); err != nil {
			return 0, err
		}
	}
}
