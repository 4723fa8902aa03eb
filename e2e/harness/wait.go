package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// WaitTimeout bounds every wait of the harness: long enough for a machine that is four times slower than ours and busy
// with something else.
const WaitTimeout = 2 * time.Minute

// Seen holds the objects that a wait watches, by namespace/name.
type Seen[T runtime.Object] map[string]T

// WatchClaims watches the claims of a namespace until done is content with them, and returns what was there last.
// The error is ctx's, or that of the timeout. The watch survives the API server.
func WatchClaims(ctx context.Context, client kubernetes.Interface, namespace string,
	done func(Seen[*corev1.PersistentVolumeClaim]) bool,
) (Seen[*corev1.PersistentVolumeClaim], error) {
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "persistentvolumeclaims", namespace, fields.Everything())
	return watchUntil(ctx, lw, &corev1.PersistentVolumeClaim{}, done)
}

// WatchVolumes is WatchClaims for the persistent volumes of the cluster.
func WatchVolumes(ctx context.Context, client kubernetes.Interface,
	done func(Seen[*corev1.PersistentVolume]) bool,
) (Seen[*corev1.PersistentVolume], error) {
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "persistentvolumes", corev1.NamespaceAll, fields.Everything())
	return watchUntil(ctx, lw, &corev1.PersistentVolume{}, done)
}

// WatchPods is WatchClaims for the Pods of a namespace.
func WatchPods(ctx context.Context, client kubernetes.Interface, namespace string,
	done func(Seen[*corev1.Pod]) bool,
) (Seen[*corev1.Pod], error) {
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", namespace, fields.Everything())
	return watchUntil(ctx, lw, &corev1.Pod{}, done)
}

// watchUntil shows done a complete picture every time: the first list, and then whatever has become of it. It never judges
// from a part of the list, which would take what it has not come to for gone.
func watchUntil[T runtime.Object](ctx context.Context, lw cache.ListerWatcher, zero T, done func(Seen[T]) bool) (Seen[T], error) {
	ctx, cancel := context.WithTimeout(ctx, WaitTimeout)
	defer cancel()
	changed := make(chan struct{}, 1)
	change := func() {
		select {
		case changed <- struct{}{}:
		default: // one is enough
		}
	}
	informer := cache.NewSharedIndexInformer(lw, zero, 0, nil)
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { change() },
		UpdateFunc: func(any, any) { change() },
		DeleteFunc: func(any) { change() },
	})
	if err != nil {
		return Seen[T]{}, err
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { informer.RunWithContext(ctx) })

	// The handler has been called for the whole first list, so the store has it.
	if !cache.WaitFor(ctx, "", handler.HasSyncedChecker()) {
		return Seen[T]{}, fmt.Errorf("first list: %w", ctx.Err())
	}
	for {
		seen := Seen[T]{}
		for _, object := range informer.GetStore().List() {
			key, err := cache.MetaNamespaceKeyFunc(object)
			if err != nil {
				return seen, err
			}
			seen[key] = object.(T)
		}
		if done(seen) {
			return seen, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return seen, ctx.Err()
		}
	}
}

// Eventually looks with check, a few times a second, until it returns no error. The error of a timeout carries the last
// one of check.
func Eventually(ctx context.Context, what string, check func(context.Context) error) error {
	return EventuallyWithin(ctx, WaitTimeout, what, check)
}

// EventuallyWithin is Eventually for what takes longer even on a quiet machine.
func EventuallyWithin(ctx context.Context, timeout time.Duration, what string, check func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 4*poll, timeout, true, func(ctx context.Context) (bool, error) {
		last = check(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait until %s: %w", what, errors.Join(err, last))
	}
	return nil
}
