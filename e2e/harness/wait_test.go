package harness

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

func volume(name string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// listing is an API server with a list that changes only through the watch.
type listing struct {
	items []string
	watch *watch.FakeWatcher
}

func (l listing) ListWithContext(context.Context, metav1.ListOptions) (runtime.Object, error) {
	list := &corev1.PersistentVolumeList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for _, name := range l.items {
		list.Items = append(list.Items, *volume(name))
	}
	return list, nil
}

func (l listing) WatchWithContext(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return l.watch, nil
}

func (l listing) List(options metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), options)
}

func (l listing) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.Background(), options)
}

// IsWatchListSemanticsUnSupported tells the reflector that the list has to be asked for.
func (listing) IsWatchListSemanticsUnSupported() bool { return true }

func TestWaitNeverJudgesFromAPartOfTheList(t *testing.T) {
	l := listing{items: []string{"a", "b", "c"}, watch: watch.NewFakeWithChanSize(1, false)}
	looks := 0
	seen, err := watchUntil(t.Context(), l, &corev1.PersistentVolume{}, func(seen Seen[*corev1.PersistentVolume]) bool {
		if looks++; looks == 1 {
			if len(seen) != 3 {
				t.Errorf("the first look is at %d volumes, want 3", len(seen))
			}
			l.watch.Delete(volume("b"))
		}
		return seen["b"] == nil
	})
	if err != nil || len(seen) != 2 {
		t.Errorf("got %v (%v), want what is left", seen, err)
	}
}

func TestWaitForNothingEndsAtOnceWhenThereIsNothing(t *testing.T) {
	l := listing{watch: watch.NewFakeWithChanSize(1, false)}
	seen, err := watchUntil(t.Context(), l, &corev1.PersistentVolume{}, func(seen Seen[*corev1.PersistentVolume]) bool {
		return len(seen) == 0
	})
	if err != nil || len(seen) != 0 {
		t.Errorf("got %v (%v), want nothing", seen, err)
	}
}

func TestWaitThatIsGivenUpReturnsWhatItSawLast(t *testing.T) {
	l := listing{items: []string{"a"}, watch: watch.NewFakeWithChanSize(1, false)}
	ctx, cancel := context.WithCancel(t.Context())
	seen, err := watchUntil(ctx, l, &corev1.PersistentVolume{}, func(Seen[*corev1.PersistentVolume]) bool {
		cancel()
		return false
	})
	if !errors.Is(err, context.Canceled) || seen["a"] == nil {
		t.Errorf("got %v (%v), want volume a and the error of the context", seen, err)
	}
}

func TestEventuallyTellsTheLastError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Eventually(ctx, "pigs fly", func(context.Context) error {
		cancel()
		return errors.New("they walk")
	})
	if err == nil || !strings.Contains(err.Error(), "pigs fly") || !strings.Contains(err.Error(), "they walk") {
		t.Errorf("got %v, want what was waited for and what was seen", err)
	}
}

var _ cache.ListerWatcher = listing{}
