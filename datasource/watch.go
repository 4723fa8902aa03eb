package datasource

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// defaultRetry is how long a mirror waits before it looks again whether its API is there for us.
const defaultRetry = 30 * time.Second

// mirror keeps the objects of an API that the cluster may lack, or not let us list and watch, now or at any time later. While that is
// so it has none, and it looks again every retry interval; the process goes on as if nothing was amiss.
//
//	  ┌────────────── API gone or forbidden ─────────────┐
//	  ▼                                                  │
//	waiting ──after retry──▶ a new informer lists ──▶ synced, and watches
//
// An informer cannot run twice, so each try has its own, and what the last one knew is dropped: nobody would hear of changes. So
// handlers hear of an object again at each try, and not of the deletion of one that went in between. All other trouble (a server that
// restarts, a connection that breaks) is the informer's, which goes on by itself with what it has.
type mirror[T runtime.Object] struct {
	what     string // for people
	retry    time.Duration
	client   any // that list and watch use
	list     cache.ListWithContextFunc
	watch    cache.WatchFuncWithContext
	example  T
	trim     func(T) T // of an object that nobody else has yet
	indexers cache.Indexers
	handlers []cache.ResourceEventHandler

	mu       sync.Mutex
	informer cache.SharedIndexInformer // nil: waiting
	problem  string                    // the last one logged; empty: none, or over
}

// run watches until ctx ends, and returns when its goroutines are gone.
func (m *mirror[T]) run(ctx context.Context) {
	for ctx.Err() == nil {
		m.try(ctx)
		timer := time.NewTimer(cmp.Or(m.retry, defaultRetry))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// try runs one informer, until ctx ends or the API turns out not to be there for us.
func (m *mirror[T]) try(ctx context.Context) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	informer := cache.NewSharedIndexInformer(m.listWatch(), m.example, 0, m.indexers)
	// None of these fails before the informer runs.
	_ = informer.SetTransform(m.transform)
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if m.failed(ctx, err) {
			end()
		}
	})
	for _, handler := range m.handlers {
		_, _ = informer.AddEventHandler(handler)
	}
	m.use(informer)
	defer m.use(nil)
	informer.RunWithContext(ctx)
}

// listWatch notes when a watch succeeds. A list that does proves little: who may list but not watch gets that far at each try.
func (m *mirror[T]) listWatch() cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: m.list,
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			events, err := m.watch(ctx, options)
			if err == nil {
				m.say(ctx, "", nil)
			}
			return events, err
		},
	}, m.client)
}

func (m *mirror[T]) transform(object any) (any, error) {
	if o, ok := object.(T); ok {
		return m.trim(o), nil
	}
	return object, nil
}

// failed says why a list or watch failed, and reports whether the API is not there for us.
func (m *mirror[T]) failed(ctx context.Context, err error) bool {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		return false // the usual end of a watch, or one that fell behind
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		m.say(ctx, "the cluster has no such API", err)
		return true
	case apierrors.IsForbidden(err):
		m.say(ctx, "to list and watch them is forbidden", err)
		return true
	}
	// The text of an error is no measure of whether it is another one: that of a broken connection has ports in it.
	m.say(ctx, string(cmp.Or(apierrors.ReasonForError(err), "the server cannot be reached")), err)
	return false
}

// say logs a problem, or that there is none any more, unless that was the last thing said.
func (m *mirror[T]) say(ctx context.Context, problem string, err error) {
	if ctx.Err() != nil {
		return // what fails now fails because it is being ended
	}
	m.mu.Lock()
	news := m.problem != problem
	m.problem = problem
	m.mu.Unlock()
	switch logger := klog.FromContext(ctx); {
	case !news:
	case problem == "":
		logger.Info("Watching now", "what", m.what)
	default:
		logger.Info("Cannot watch, will try again", "what", m.what, "why", problem, "err", err)
	}
}

func (m *mirror[T]) use(informer cache.SharedIndexInformer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.informer = informer
}

// known returns the objects that were heard of, which may not be all; nil while waiting.
func (m *mirror[T]) known() cache.Indexer {
	m.mu.Lock()
	informer := m.informer
	m.mu.Unlock()
	if informer == nil {
		return nil
	}
	return informer.GetIndexer()
}

// all returns all objects; nil while not all are known.
func (m *mirror[T]) all() cache.Indexer {
	m.mu.Lock()
	informer := m.informer
	m.mu.Unlock()
	if informer == nil || !informer.HasSynced() {
		return nil
	}
	return informer.GetIndexer()
}

// indexed returns the objects that have a value in an index.
func indexed[T any](objects cache.Indexer, index, value string) []T {
	found, err := objects.ByIndex(index, value)
	if err != nil {
		return nil // only without the index, which the mirror was made with
	}
	typed := make([]T, 0, len(found))
	for _, object := range found {
		if o, ok := object.(T); ok {
			typed = append(typed, o)
		}
	}
	return typed
}

// identity keeps what names an object and what an informer itself needs.
func identity(object metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: object.Namespace, Name: object.Name, UID: object.UID, ResourceVersion: object.ResourceVersion,
		DeletionTimestamp: object.DeletionTimestamp,
	}
}
