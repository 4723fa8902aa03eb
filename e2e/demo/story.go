package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// show is the story of the demo: two claims come, are bound, and go.
func show(ctx context.Context, screen *screen, world *harness.World) error {
	start := time.Now()
	screen.heading("A claim with Immediate binding")
	immediate, err := showImmediate(ctx, screen, world)
	if err != nil {
		return err
	}
	screen.heading("A claim that waits for its first Pod")
	delayed, err := showDelayed(ctx, screen, world)
	if err != nil {
		return err
	}
	screen.heading("Both are deleted")
	if err := showDeletion(ctx, screen, world, immediate, delayed); err != nil {
		return err
	}
	usage, err := world.Berth.Usage()
	if err != nil {
		return err
	}
	screen.say(fmt.Sprintf("All of it was seen, in %.1f s. Berth used %d ms of CPU and %d MB of memory.",
		time.Since(start).Seconds(), usage.CPU.Milliseconds(), usage.RSS>>20))
	return nil
}

func showImmediate(ctx context.Context, screen *screen, world *harness.World) (*corev1.PersistentVolume, error) {
	var volume *corev1.PersistentVolume
	err := screen.step(ctx, "claim "+immediateClaim, func(ctx context.Context) (string, error) {
		objects, err := readManifest(claimManifest)
		if err != nil {
			return "", err
		}
		for _, object := range objects {
			if err := create(ctx, world.Client(), object); err != nil {
				return "", err
			}
		}
		if volume, err = bound(ctx, world, immediateClaim); err != nil {
			return "", err
		}
		return bindingOf(world, volume), nil
	})
	if err != nil {
		return nil, err
	}
	return volume, showHeld(ctx, screen, world, volume)
}

func showDelayed(ctx context.Context, screen *screen, world *harness.World) (*corev1.PersistentVolume, error) {
	objects, err := readManifest(podManifest)
	if err != nil {
		return nil, err
	}
	claim, pod := objects[0], objects[1]

	err = screen.step(ctx, "claim "+delayedClaim, func(ctx context.Context) (string, error) {
		if err := create(ctx, world.Client(), claim); err != nil {
			return "", err
		}
		if _, err := world.WaitEvent(ctx, namespace, delayedClaim, "WaitForFirstConsumer"); err != nil {
			return "", err
		}
		return "Pending, and the driver is left alone", stillPending(ctx, world)
	})
	if err != nil {
		return nil, err
	}

	created := time.Now()
	if err := create(ctx, world.Client(), pod); err != nil {
		return nil, fmt.Errorf("create pod %s: %w", podName, err)
	}
	var volume *corev1.PersistentVolume
	err = screen.stepSince(ctx, created, "claim "+delayedClaim, func(ctx context.Context) (seen string, err error) {
		if volume, err = bound(ctx, world, delayedClaim); err != nil {
			return "", err
		}
		return bindingOf(world, volume), nil
	})
	if err != nil {
		return nil, err
	}
	err = screen.stepSince(ctx, created, "pod "+podName, func(ctx context.Context) (string, error) {
		node, err := placed(ctx, world)
		if err != nil {
			return "", err
		}
		if zone := zoneOf(world, volume); node != world.NodeIn(zone).Name {
			return "", fmt.Errorf("it is on %s, its volume in %s", node, zone)
		}
		return fmt.Sprintf("placed on %s by the scheduler, beside its volume", node), nil
	})
	if err != nil {
		return nil, err
	}
	return volume, showHeld(ctx, screen, world, volume)
}

func showDeletion(ctx context.Context, screen *screen, world *harness.World, volumes ...*corev1.PersistentVolume) error {
	var names []string
	for _, volume := range volumes {
		names = append(names, volume.Name)
	}
	err := screen.step(ctx, "claims", func(ctx context.Context) (string, error) {
		core := world.Client().CoreV1()
		if err := core.Pods(namespace).Delete(ctx, podName, metav1.DeleteOptions{}); err != nil {
			return "", err
		}
		for _, claim := range []string{immediateClaim, delayedClaim} {
			if err := core.PersistentVolumeClaims(namespace).Delete(ctx, claim, metav1.DeleteOptions{}); err != nil {
				return "", err
			}
		}
		return "deleted, and their volumes gone from the cluster", world.WaitVolumesGone(ctx, names...)
	})
	if err != nil {
		return err
	}
	return screen.step(ctx, "driver", func(ctx context.Context) (string, error) {
		held, err := world.Driver.Volumes(ctx)
		if err != nil {
			return "", err
		}
		if len(held) > 0 {
			return "", fmt.Errorf("it still holds %d volumes, among them %s", len(held), held[0].Name)
		}
		return "holds no volume any more", nil
	})
}

// showHeld looks at a volume from the driver's side.
func showHeld(ctx context.Context, screen *screen, world *harness.World, volume *corev1.PersistentVolume) error {
	return screen.step(ctx, "driver", func(ctx context.Context) (string, error) {
		held, err := world.Driver.Volumes(ctx)
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(held, func(v harness.Volume) bool { return v.ID == volume.Spec.CSI.VolumeHandle })
		if i < 0 {
			return "", fmt.Errorf("it does not have volume %s of %s", volume.Spec.CSI.VolumeHandle, volume.Name)
		}
		size := resource.NewQuantity(held[i].CapacityBytes, resource.BinarySI)
		var zones []string
		for _, segments := range held[i].Segments {
			zones = append(zones, segments[world.ZoneKey()])
		}
		return fmt.Sprintf("holds %s, %s in %s", short(volume.Name), size, strings.Join(zones, ", ")), nil
	})
}

// bound waits until a claim is bound and returns its volume.
func bound(ctx context.Context, world *harness.World, claim string) (*corev1.PersistentVolume, error) {
	claims, err := world.WaitBound(ctx, namespace, claim)
	if err != nil {
		return nil, err
	}
	return world.Client().CoreV1().PersistentVolumes().Get(ctx, claims[0].Spec.VolumeName, metav1.GetOptions{})
}

// stillPending is an error if the claim that has no Pod yet has got a volume.
func stillPending(ctx context.Context, world *harness.World) error {
	claim, err := world.Client().CoreV1().PersistentVolumeClaims(namespace).Get(ctx, delayedClaim, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if claim.Status.Phase != corev1.ClaimPending {
		return fmt.Errorf("it is %s before there is a Pod", claim.Status.Phase)
	}
	held, err := world.Driver.Volumes(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(held, func(v harness.Volume) bool { return v.Name == "pvc-"+string(claim.UID) }) {
		return errors.New("the driver has a volume for it before there is a Pod")
	}
	return nil
}

// placed waits until the scheduler has found a node for the Pod, and returns it.
func placed(ctx context.Context, world *harness.World) (node string, err error) {
	key := namespace + "/" + podName
	pods, err := harness.WatchPods(ctx, world.Client(), namespace, func(pods harness.Seen[*corev1.Pod]) bool {
		return pods[key] != nil && pods[key].Spec.NodeName != ""
	})
	if err == nil {
		return pods[key].Spec.NodeName, nil
	}
	last := "it does not exist"
	if pod := pods[key]; pod != nil {
		last = fmt.Sprintf("it is %s, conditions %v", pod.Status.Phase, pod.Status.Conditions)
	}
	return "", fmt.Errorf("wait until it is placed: %w: %s", err, last)
}

func bindingOf(world *harness.World, volume *corev1.PersistentVolume) string {
	return fmt.Sprintf("Bound to %s in %s", short(volume.Name), zoneOf(world, volume))
}

// zoneOf says where a volume can be reached from, by its node affinity.
func zoneOf(world *harness.World, volume *corev1.PersistentVolume) string {
	if volume.Spec.NodeAffinity == nil || volume.Spec.NodeAffinity.Required == nil {
		return "no zone"
	}
	for _, term := range volume.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, expression := range term.MatchExpressions {
			if expression.Key == world.ZoneKey() {
				return strings.Join(expression.Values, ", ")
			}
		}
	}
	return "no zone"
}

// short leaves of a volume's name what tells it from others.
func short(name string) string {
	if prefix, rest, ok := strings.Cut(name, "-"); ok && len(rest) > 8 {
		return prefix + "-" + rest[:8]
	}
	return name
}
