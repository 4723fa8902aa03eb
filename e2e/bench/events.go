package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const (
	// eventsQuiet is how long no event must have arrived before they are counted, eventsLimit how long to wait for that.
	eventsQuiet = 2 * time.Second
	eventsLimit = 10 * time.Second
)

// awaitEvents waits until events have stopped arriving, or as long as is reasonable: whoever is told by an event is not
// told if it comes later. It asks for the number only.
func awaitEvents(ctx context.Context, client kubernetes.Interface) error {
	limit, quietSince, last := time.After(eventsLimit), time.Now(), int64(-1)
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		list, err := client.CoreV1().Events(benchNamespace).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return fmt.Errorf("count events: %w", err)
		}
		count := int64(len(list.Items))
		if list.RemainingItemCount != nil {
			count += *list.RemainingItemCount
		}
		if count != last {
			last, quietSince = count, time.Now()
		}
		if time.Since(quietSince) >= eventsQuiet {
			return nil
		}
		select {
		case <-ticker.C:
		case <-limit:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lostEvents is how many of the events that the claims should have are not there: one of each reason a claim. An event
// that was repeated is one event.
func lostEvents(found []corev1.Event, claims, reasons []string) int {
	type about struct {
		claim, reason string
	}
	seen := map[about]types.UID{}
	for i := range found {
		e := &found[i]
		if e.InvolvedObject.Kind == "PersistentVolumeClaim" && slices.Contains(reasons, e.Reason) {
			seen[about{e.InvolvedObject.Name, e.Reason}] = e.UID
		}
	}
	lost := 0
	for _, claim := range claims {
		for _, reason := range reasons {
			if _, ok := seen[about{claim, reason}]; !ok {
				lost++
			}
		}
	}
	return lost
}
