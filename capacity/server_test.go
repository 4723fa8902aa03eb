package capacity

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// apiServer keeps the objects of one namespace as an API server does: a write names the version that it is based on, names are taken once, what
// cannot be changed is not, and whoever watches hears of what matches its labels.
type apiServer struct {
	// fault decides about each write: an error before it is done, or after, so that nobody hears of it. nil: all goes well.
	fault func(verb string) (before, after error)

	mu       sync.Mutex
	version  int
	objects  map[string]*storagev1.CSIStorageCapacity
	watchers []*watcher
	writes   int
}

type watcher struct {
	selector labels.Selector
	events   chan watch.Event
	proxy    *watch.ProxyWatcher
}

var resourceName = schema.GroupResource{Group: "storage.k8s.io", Resource: "csistoragecapacities"}

func newAPIServer() *apiServer {
	return &apiServer{objects: map[string]*storagev1.CSIStorageCapacity{}}
}

// IsWatchListSemanticsUnSupported keeps informers from asking for a list by way of a watch.
func (s *apiServer) IsWatchListSemanticsUnSupported() bool { return true }

func (s *apiServer) Get(_ context.Context, name string, _ metav1.GetOptions) (*storagev1.CSIStorageCapacity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if object := s.objects[name]; object != nil {
		return object.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(resourceName, name)
}

func (s *apiServer) List(_ context.Context, options metav1.ListOptions) (*storagev1.CSIStorageCapacityList, error) {
	selector, err := labels.Parse(options.LabelSelector)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &storagev1.CSIStorageCapacityList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)}}
	for _, object := range s.objects {
		if selector.Matches(labels.Set(object.Labels)) {
			list.Items = append(list.Items, *object.DeepCopy())
		}
	}
	return list, nil
}

func (s *apiServer) Watch(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
	selector, err := labels.Parse(options.LabelSelector)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if options.ResourceVersion != strconv.Itoa(s.version) {
		return nil, apierrors.NewResourceExpired("this server keeps no history: list again")
	}
	w := &watcher{selector: selector, events: make(chan watch.Event, 100_000)}
	w.proxy = watch.NewProxyWatcher(w.events)
	s.watchers = append(s.watchers, w)
	return w.proxy, nil
}

// breakWatches ends all of them, as a server that restarts does.
func (s *apiServer) breakWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watchers {
		close(w.events)
	}
	s.watchers = nil
}

func (s *apiServer) Create(_ context.Context, object *storagev1.CSIStorageCapacity, _ metav1.CreateOptions) (*storagev1.CSIStorageCapacity, error) {
	return s.write("create", func() (*storagev1.CSIStorageCapacity, error) {
		created := object.DeepCopy()
		if created.Name == "" {
			created.Name = fmt.Sprintf("%s%05d", created.GenerateName, s.version)
		}
		if s.objects[created.Name] != nil {
			return nil, apierrors.NewAlreadyExists(resourceName, created.Name)
		}
		created.Namespace, created.UID, created.CreationTimestamp = "ns", types.UID(fmt.Sprintf("uid-%d", s.version)), metav1.Now()
		return s.put(nil, created), nil
	})
}

func (s *apiServer) Update(_ context.Context, object *storagev1.CSIStorageCapacity, _ metav1.UpdateOptions) (*storagev1.CSIStorageCapacity, error) {
	return s.write("update", func() (*storagev1.CSIStorageCapacity, error) {
		known := s.objects[object.Name]
		switch {
		case known == nil:
			return nil, apierrors.NewNotFound(resourceName, object.Name)
		case object.ResourceVersion != known.ResourceVersion || object.UID != known.UID:
			return nil, apierrors.NewConflict(resourceName, object.Name, fmt.Errorf("it was changed"))
		case keyOf(object) != keyOf(known):
			return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "CSIStorageCapacity"}, object.Name, nil)
		}
		return s.put(known, object.DeepCopy()), nil
	})
}

func (s *apiServer) Delete(_ context.Context, name string, options metav1.DeleteOptions) error {
	_, err := s.write("delete", func() (*storagev1.CSIStorageCapacity, error) {
		known := s.objects[name]
		switch {
		case known == nil:
			return nil, apierrors.NewNotFound(resourceName, name)
		case options.Preconditions != nil && options.Preconditions.UID != nil && *options.Preconditions.UID != known.UID:
			return nil, apierrors.NewConflict(resourceName, name, fmt.Errorf("it is another one"))
		}
		return s.put(known, nil), nil
	})
	return err
}

func (s *apiServer) write(verb string, do func() (*storagev1.CSIStorageCapacity, error)) (*storagev1.CSIStorageCapacity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var before, after error
	if s.fault != nil {
		before, after = s.fault(verb)
	}
	if before != nil {
		return nil, before
	}
	answer, err := do()
	if err == nil && after != nil {
		return nil, after
	}
	return answer, err
}

// put stores an object, or removes it, and tells who watches.
func (s *apiServer) put(before, after *storagev1.CSIStorageCapacity) *storagev1.CSIStorageCapacity {
	s.version++
	s.writes++
	matched := func(w *watcher, object *storagev1.CSIStorageCapacity) bool {
		return object != nil && w.selector.Matches(labels.Set(object.Labels))
	}
	if after != nil {
		after.ResourceVersion = strconv.Itoa(s.version)
		s.objects[after.Name] = after
	} else {
		delete(s.objects, before.Name)
	}
	for _, w := range s.watchers {
		was, is := matched(w, before), matched(w, after)
		switch {
		case is && !was:
			w.events <- watch.Event{Type: watch.Added, Object: after.DeepCopy()}
		case is:
			w.events <- watch.Event{Type: watch.Modified, Object: after.DeepCopy()}
		case was:
			last := before.DeepCopy()
			last.ResourceVersion = strconv.Itoa(s.version)
			w.events <- watch.Event{Type: watch.Deleted, Object: last}
		}
	}
	if after == nil {
		return nil
	}
	return after.DeepCopy()
}

// quietly does something as somebody else, whom no fault strikes, and whose writes do not count.
func (s *apiServer) quietly(do func()) {
	s.mu.Lock()
	fault, writes := s.fault, s.writes
	s.fault = nil
	s.mu.Unlock()
	do()
	s.mu.Lock()
	s.fault, s.writes = fault, writes
	s.mu.Unlock()
}

func (s *apiServer) counted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *apiServer) setFault(fault func(verb string) (before, after error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// all are the objects.
func (s *apiServer) all() []*storagev1.CSIStorageCapacity {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*storagev1.CSIStorageCapacity
	for _, object := range s.objects {
		all = append(all, object.DeepCopy())
	}
	return all
}
