package capacity

import (
	"context"
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

const (
	// apiTimeout bounds a single write to the API server. All of ours can be repeated.
	apiTimeout = 30 * time.Second
	// again is when to look at a key after something was written: whether it says what it should, and how long that holds.
	again = time.Second
	// behind is how long to wait for a cache that has not seen what the API server says.
	behind = 100 * time.Millisecond
)

// workKey takes the objects of one key one step on: gather, decide, act.
func (c *Controller) workKey(ctx context.Context, key Key) worker.Result {
	served := c.waiters.take(key)
	defer served() // whatever came of it: who waits has other things to do
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	c.forgetUnseen(key)
	if suspects := c.book.takeSuspects(key); len(suspects) > 0 {
		if err := c.mark(ctx, suspects); err != nil {
			c.book.suspect(key, suspects)
			return worker.Backoff(err)
		}
	}
	facts := c.book.facts(key)
	facts.Owner = c.owner
	switch action := Decide(facts).(type) {
	case Leave:
		c.book.hush(key)
		return worker.After(action.For)
	case Create:
		return c.create(ctx, key, action.Object)
	case Update:
		return c.update(ctx, key, action)
	case Delete:
		return c.remove(ctx, key, action.Objects)
	}
	return worker.Done()
}

func (c *Controller) create(ctx context.Context, key Key, object *storagev1.CSIStorageCapacity) worker.Result {
	created, err := c.config.Objects.Create(ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return c.takeOver(ctx, key, object)
	}
	if err != nil {
		return worker.Backoff(fmt.Errorf("create CSIStorageCapacity %s/%s: %w", c.config.Namespace, object.Name, err))
	}
	return c.wrote(ctx, key, created, ReasonCreated)
}

// takeOver goes on with an object of our name that the cache does not show: we made it and never heard, or somebody took a label off.
func (c *Controller) takeOver(ctx context.Context, key Key, object *storagev1.CSIStorageCapacity) worker.Result {
	live, err := c.config.Objects.Get(ctx, object.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return worker.After(behind)
	case err != nil:
		return worker.Backoff(fmt.Errorf("read CSIStorageCapacity %s/%s, which exists already: %w", c.config.Namespace, object.Name, err))
	case live.DeletionTimestamp != nil:
		return worker.Backoff(fmt.Errorf("CSIStorageCapacity %s/%s is being deleted, and something holds it back: look at its finalizers", c.config.Namespace, object.Name))
	case keyOf(live) != key:
		return worker.Backoff(fmt.Errorf("CSIStorageCapacity %s/%s is in the way, it is about %s: delete it", c.config.Namespace, object.Name, keyOf(live)))
	}
	if err := c.markOne(ctx, live); err != nil {
		return worker.Backoff(err)
	}
	return worker.After(time.Millisecond)
}

// mark puts our labels back on objects that are there without them. Then they are found again, and kept or deleted like any other.
func (c *Controller) mark(ctx context.Context, objects []*storagev1.CSIStorageCapacity) error {
	for _, object := range objects {
		live, err := c.config.Objects.Get(ctx, object.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return fmt.Errorf("find out whether CSIStorageCapacity %s/%s is gone: %w", c.config.Namespace, object.Name, err)
		case live.UID != object.UID || live.DeletionTimestamp != nil:
			continue
		}
		if err := c.markOne(ctx, live); err != nil {
			return err
		}
	}
	return nil
}

func (c *Controller) markOne(ctx context.Context, live *storagev1.CSIStorageCapacity) error {
	if live.Labels[LabelDriver] != c.config.Driver || live.Labels[LabelManagedBy] != c.config.Manager {
		if live.Labels == nil {
			live.Labels = map[string]string{}
		}
		live.Labels[LabelDriver], live.Labels[LabelManagedBy] = c.config.Driver, c.config.Manager
		marked, err := c.config.Objects.Update(ctx, live, metav1.UpdateOptions{})
		if err != nil {
			return fmt.Errorf("put the labels back on CSIStorageCapacity %s/%s: %w", c.config.Namespace, live.Name, err)
		}
		c.metrics.publishes.WithLabelValues(ReasonRepaired).Inc()
		live = marked
	}
	c.book.wrote(live)
	return nil
}

func (c *Controller) update(ctx context.Context, key Key, action Update) worker.Result {
	object := action.Object
	changed, err := c.config.Objects.Update(ctx, object, metav1.UpdateOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.book.gone(object)
		return worker.After(time.Millisecond)
	case apierrors.IsConflict(err): // somebody else changed it, or made another of its name
		live, readErr := c.config.Objects.Get(ctx, object.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(readErr):
			c.book.gone(object)
		case readErr == nil && live.UID == object.UID:
			c.book.wrote(live)
		}
		return worker.After(behind)
	case err != nil:
		return worker.Backoff(fmt.Errorf("update CSIStorageCapacity %s/%s: %w", c.config.Namespace, object.Name, err))
	}
	return c.wrote(ctx, key, changed, action.Reason)
}

func (c *Controller) wrote(ctx context.Context, key Key, object *storagev1.CSIStorageCapacity, reason string) worker.Result {
	c.book.wrote(object)
	c.book.hush(key)
	c.metrics.publishes.WithLabelValues(reason).Inc()
	klog.FromContext(ctx).V(4).Info("Capacity published", "about", key, "object", object.Name, "reason", reason,
		"capacity", object.Capacity, "maximumVolumeSize", object.MaximumVolumeSize)
	return worker.After(again)
}

func (c *Controller) remove(ctx context.Context, key Key, objects []*storagev1.CSIStorageCapacity) worker.Result {
	for _, object := range objects {
		err := c.config.Objects.Delete(ctx, object.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &object.UID}})
		switch {
		case err == nil:
			c.metrics.publishes.WithLabelValues(ReasonDeleted).Inc()
			klog.FromContext(ctx).V(4).Info("Capacity withdrawn", "about", key, "object", object.Name)
		case apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or another object of the same name, which an event tells of
		default:
			return worker.Backoff(fmt.Errorf("delete CSIStorageCapacity %s/%s: %w", c.config.Namespace, object.Name, err))
		}
		c.book.gone(object)
	}
	return worker.After(time.Millisecond)
}

// forgetUnseen drops what we wrote and the cache should have shown by now: it was deleted before the cache saw it.
func (c *Controller) forgetUnseen(key Key) {
	for _, object := range c.book.unseen(key) {
		if _, exists, err := c.objects.GetStore().GetByKey(object.Namespace + "/" + object.Name); err == nil && !exists {
			c.book.gone(object)
		}
	}
}
