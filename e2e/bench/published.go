package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-csi/berth/e2e/harness"
)

// A place is what one CSIStorageCapacity object is about.
type place struct{ class, zone string }

// published follows the CSIStorageCapacity objects there are, and knows how many say what they should.
type published struct {
	zoneKey string
	want    map[place]int64 // bytes

	mu      sync.Mutex
	objects map[string]said // by name
	right   map[place]int   // objects that say what they should
	last    time.Time       // when one came to say so
	failure error

	following sync.WaitGroup
}

// said is what an object says.
type said struct {
	about place
	right bool
}

func newPublished(zoneKey string, want map[place]int64) *published {
	return &published{zoneKey: zoneKey, want: want, objects: map[string]said{}, right: map[place]int{}}
}

// watchPublished follows the objects until stop is called.
func watchPublished(ctx context.Context, client kubernetes.Interface, driver string, want map[place]int64) (p *published, stop func(), err error) {
	p = newPublished(harness.ZoneKey(driver), want)
	objects := client.StorageV1().CSIStorageCapacities(harness.BerthNamespace)
	list, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list capacities: %w", err)
	}
	for i := range list.Items {
		p.observe(watch.Event{Type: watch.Added, Object: &list.Items[i]}, time.Now())
	}
	ctx, cancel := context.WithCancel(ctx)
	p.following.Go(func() {
		err := follow(ctx, objects.Watch, list.ResourceVersion, func(event watch.Event) { p.observe(event, time.Now()) })
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failure = err
	})
	return p, func() {
		cancel()
		p.following.Wait()
	}, nil
}

func (p *published) observe(event watch.Event, now time.Time) {
	object, ok := event.Object.(*storagev1.CSIStorageCapacity)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old, known := p.objects[object.Name]; known && old.right {
		if p.right[old.about]--; p.right[old.about] == 0 {
			delete(p.right, old.about)
		}
	}
	delete(p.objects, object.Name)
	if event.Type == watch.Deleted {
		return
	}
	is := said{}
	if object.NodeTopology != nil {
		is.about = place{object.StorageClassName, object.NodeTopology.MatchLabels[p.zoneKey]}
	}
	bytes, wanted := p.want[is.about]
	is.right = wanted && object.Capacity != nil && object.Capacity.Value() == bytes
	p.objects[object.Name] = is
	if is.right {
		p.right[is.about]++
		p.last = now
	}
}

// count is how many places have an object that says what it should, and how many objects there are too many.
func (p *published) count() (right, tooMany int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.right), len(p.objects) - len(p.right)
}

// complete reports whether every place has its object, which is right, and nothing else is there; a watch that failed is as good as complete, and told
// by err.
func (p *published) complete() bool {
	right, tooMany := p.count()
	return right == len(p.want) && tooMany == 0 || p.err() != nil
}

func (p *published) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// since is how long after a start the last object came to say what it should.
func (p *published) since(start time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.Sub(start)
}
