package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

// explained is how many claims an error goes into.
const explained = 3

// WaitBound waits until the named claims of a namespace are bound, and returns them in the order of the names. The error
// says how far the others came, with their events and the end of Berth's log.
func (w *World) WaitBound(ctx context.Context, namespace string, names ...string) ([]*corev1.PersistentVolumeClaim, error) {
	seen, err := WatchClaims(ctx, w.Client(), namespace, func(claims Seen[*corev1.PersistentVolumeClaim]) bool {
		return len(notBound(claims, namespace, names)) == 0
	})
	if err != nil {
		pending := notBound(seen, namespace, names)
		return nil, fmt.Errorf("wait until %d claims of %s are bound: %w: %d are not%s",
			len(names), namespace, err, len(pending), w.explain(namespace, pending...))
	}
	claims := make([]*corev1.PersistentVolumeClaim, 0, len(names))
	for _, name := range names {
		claims = append(claims, seen[namespace+"/"+name])
	}
	return claims, nil
}

func notBound(claims Seen[*corev1.PersistentVolumeClaim], namespace string, names []string) []string {
	var pending []string
	for _, name := range names {
		if claim := claims[namespace+"/"+name]; claim == nil || claim.Status.Phase != corev1.ClaimBound {
			pending = append(pending, name)
		}
	}
	return pending
}

// WaitVolumesGone waits until none of the named persistent volumes exists.
func (w *World) WaitVolumesGone(ctx context.Context, names ...string) error {
	left := func(volumes Seen[*corev1.PersistentVolume]) []string {
		var left []string
		for _, name := range names {
			if volume := volumes[name]; volume != nil {
				left = append(left, fmt.Sprintf("%s %s finalizers=%v", name, volume.Status.Phase, volume.Finalizers))
			}
		}
		return left
	}
	seen, err := WatchVolumes(ctx, w.Client(), func(volumes Seen[*corev1.PersistentVolume]) bool {
		return len(left(volumes)) == 0
	})
	if err != nil {
		rest := left(seen)
		return fmt.Errorf("wait until %d volumes are gone: %w: %d are left, among them %s\n%s", len(names), err,
			len(rest), strings.Join(rest[:min(explained, len(rest))], ", "), w.berthLog())
	}
	return nil
}

// WaitVolumePhase waits until a persistent volume is in a phase, and returns it.
func (w *World) WaitVolumePhase(ctx context.Context, name string, phase corev1.PersistentVolumePhase) (*corev1.PersistentVolume, error) {
	seen, err := WatchVolumes(ctx, w.Client(), func(volumes Seen[*corev1.PersistentVolume]) bool {
		return volumes[name] != nil && volumes[name].Status.Phase == phase
	})
	if err != nil {
		last := "it does not exist"
		if volume := seen[name]; volume != nil {
			last = "it is " + string(volume.Status.Phase)
		}
		return nil, fmt.Errorf("wait until %s is %s: %w: %s\n%s", name, phase, err, last, w.berthLog())
	}
	return seen[name], nil
}

// WaitEvent waits for an event with a reason on a claim, and returns it.
func (w *World) WaitEvent(ctx context.Context, namespace, claim, reason string) (*corev1.Event, error) {
	var found *corev1.Event
	err := Eventually(ctx, fmt.Sprintf("claim %s/%s has an event %s", namespace, claim, reason), func(ctx context.Context) error {
		events, err := ClaimEvents(ctx, w.Client(), namespace, claim)
		if err != nil {
			return err
		}
		for i := range events {
			if events[i].Reason == reason {
				found = &events[i]
				return nil
			}
		}
		return fmt.Errorf("%d events, none of them", len(events))
	})
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, w.explain(namespace, claim))
	}
	return found, nil
}

// ClaimEvents are the events of a claim, oldest first.
func ClaimEvents(ctx context.Context, client kubernetes.Interface, namespace, claim string) ([]corev1.Event, error) {
	list, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{
			"involvedObject.kind": "PersistentVolumeClaim", "involvedObject.name": claim,
		}.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("events of claim %s/%s: %w", namespace, claim, err)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int {
		return a.LastTimestamp.Compare(b.LastTimestamp.Time)
	})
	return list.Items, nil
}

// explain tells what the API server and Berth have to say about claims. It is for error messages, so it has a context
// of its own: the other one is usually over.
func (w *World) explain(namespace string, claims ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var b strings.Builder
	for _, name := range claims[:min(explained, len(claims))] {
		fmt.Fprintf(&b, "\nclaim %s/%s: ", namespace, name)
		claim, err := w.Client().CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			b.WriteString("does not exist")
			continue
		case err != nil:
			b.WriteString(err.Error())
			continue
		}
		fmt.Fprintf(&b, "phase %s, volume %q, annotations %v", claim.Status.Phase, claim.Spec.VolumeName, claim.Annotations)
		events, err := ClaimEvents(ctx, w.Client(), namespace, name)
		if err != nil {
			fmt.Fprintf(&b, "\n  %v", err)
		}
		for _, event := range events {
			fmt.Fprintf(&b, "\n  %s %s x%d: %s", event.Type, event.Reason, max(1, event.Count), event.Message)
		}
	}
	return b.String() + "\n" + w.berthLog()
}

func (w *World) berthLog() string {
	if w.Berth == nil {
		return "no Berth was started"
	}
	return w.Berth.describeLog()
}
