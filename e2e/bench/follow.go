package main

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// startWatch is the Watch of a typed client.
type startWatch func(context.Context, metav1.ListOptions) (watch.Interface, error)

// follow hands over every event after a resource version until ctx is done, which is no error. In a flood of changes the
// API server hangs up on watches that cannot keep pace on a busy machine, ours as well as everybody's; then follow goes on
// at once where it was, because a pause would be measured.
func follow(ctx context.Context, start startWatch, resourceVersion string, handle func(watch.Event)) error {
	for {
		watcher, err := start(ctx, metav1.ListOptions{ResourceVersion: resourceVersion, AllowWatchBookmarks: true})
		if err == nil {
			resourceVersion, err = drain(watcher, resourceVersion, handle)
			watcher.Stop()
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // how the watch ends does not matter when it was told to
		}
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
}

// drain hands over the events of one watch until it ends and returns the resource version it got to.
func drain(watcher watch.Interface, resourceVersion string, handle func(watch.Event)) (string, error) {
	for event := range watcher.ResultChan() {
		if event.Type == watch.Error {
			return "", apierrors.FromObject(event.Object)
		}
		object, err := meta.Accessor(event.Object)
		if err != nil {
			return "", err
		}
		resourceVersion = object.GetResourceVersion()
		if event.Type != watch.Bookmark {
			handle(event)
		}
	}
	return resourceVersion, nil
}
