package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// watches is an API server that ends each watch after the events listed for it, and refuses when there are no more.
type watches struct {
	events [][]watch.Event
	asked  []string // resource versions
}

func (w *watches) start(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w.asked = append(w.asked, o.ResourceVersion)
	if len(w.events) == 0 {
		return nil, errors.New("no more")
	}
	fake := watch.NewFakeWithChanSize(len(w.events[0]), false)
	for _, event := range w.events[0] {
		fake.Action(event.Type, event.Object)
	}
	w.events = w.events[1:]
	fake.Stop()
	return fake, nil
}

func volumeAt(kind watch.EventType, resourceVersion string) watch.Event {
	return watch.Event{Type: kind, Object: &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{ResourceVersion: resourceVersion},
	}}
}

func TestFollowGoesOnWhereTheWatchEnded(t *testing.T) {
	server := &watches{events: [][]watch.Event{
		{volumeAt(watch.Added, "5"), volumeAt(watch.Modified, "7")},
		{},
		{volumeAt(watch.Bookmark, "20")},
		{volumeAt(watch.Deleted, "21")},
	}}
	var got []watch.EventType
	err := follow(t.Context(), server.start, "3", func(event watch.Event) { got = append(got, event.Type) })
	if err == nil || !strings.Contains(err.Error(), "no more") {
		t.Errorf("error %v, want that of the API server", err)
	}
	if diff := cmp.Diff([]watch.EventType{watch.Added, watch.Modified, watch.Deleted}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"3", "7", "7", "20", "21"}, server.asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}

func TestFollowEndsWithItsContextAndWithErrorEvents(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := &watches{events: [][]watch.Event{{volumeAt(watch.Added, "5")}, {volumeAt(watch.Added, "6")}}}
	if err := follow(ctx, server.start, "3", func(watch.Event) { cancel() }); err != nil {
		t.Errorf("error %v, want none", err)
	}
	server = &watches{events: [][]watch.Event{{{Type: watch.Error, Object: &metav1.Status{Message: "too old"}}}}}
	err := follow(t.Context(), server.start, "3", func(watch.Event) {})
	if err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("error %v, want the one of the event", err)
	}
}
