package capacity

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// OwnerLookup says whose the objects are, so that they go when the driver is uninstalled.
type OwnerLookup struct {
	Client         kubernetes.Interface
	Namespace, Pod string // of this process
	// Level is how far up from the Pod: 0 the Pod itself, 1 its controller (StatefulSet, DaemonSet, or a Deployment's ReplicaSet), 2 the controller of
	// that (Deployment).
	Level int
}

// Find reads the Pod and what is above it.
func (o OwnerLookup) Find(ctx context.Context) (*metav1.OwnerReference, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	pod, err := o.Client.CoreV1().Pods(o.Namespace).Get(ctx, o.Pod, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Pod %s/%s, which POD_NAME and NAMESPACE name: %w", o.Namespace, o.Pod, err)
	}
	owner := metav1.OwnerReference{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Pod", Name: pod.Name, UID: pod.UID}
	var object metav1.Object = pod
	for level := range o.Level {
		if level > 0 {
			if object, err = o.read(ctx, owner); err != nil {
				return nil, err
			}
		}
		above := metav1.GetControllerOf(object)
		if above == nil {
			return nil, fmt.Errorf("%s %s/%s has no controller, so there is nothing at --capacity-ownerref-level=%d (choose %d or less): %w",
				owner.Kind, o.Namespace, owner.Name, o.Level, level, ErrNoOwner)
		}
		owner = metav1.OwnerReference{APIVersion: above.APIVersion, Kind: above.Kind, Name: above.Name, UID: above.UID}
	}
	owner.Controller = new(true)
	return &owner, nil
}

// read reads a Pod's controller, of the kinds that have controllers themselves.
func (o OwnerLookup) read(ctx context.Context, owner metav1.OwnerReference) (metav1.Object, error) {
	var object metav1.Object
	var err error
	switch owner.APIVersion + " " + owner.Kind {
	case appsv1.SchemeGroupVersion.String() + " ReplicaSet":
		object, err = o.Client.AppsV1().ReplicaSets(o.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	case batchv1.SchemeGroupVersion.String() + " Job":
		object, err = o.Client.BatchV1().Jobs(o.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	default:
		return nil, fmt.Errorf("the Pod's controller is the %s %s/%s, above which nothing is looked for; choose --capacity-ownerref-level=1: %w",
			owner.Kind, o.Namespace, owner.Name, ErrNoOwner)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s/%s, the Pod's controller: %w", owner.Kind, o.Namespace, owner.Name, err)
	}
	if object.GetUID() != owner.UID {
		return nil, fmt.Errorf("%s %s/%s is not the one that made the Pod any more: %w", owner.Kind, o.Namespace, owner.Name, ErrNoOwner)
	}
	return object, nil
}
