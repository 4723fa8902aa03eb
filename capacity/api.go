package capacity

import (
	"context"
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	storagev1beta1 "k8s.io/api/storage/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	betaclient "k8s.io/client-go/kubernetes/typed/storage/v1beta1"
	"k8s.io/client-go/tools/cache"
)

// Objects are the CSIStorageCapacity objects of one namespace. The typed client of storage.k8s.io/v1 is one.
type Objects interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*storagev1.CSIStorageCapacity, error)
	List(ctx context.Context, options metav1.ListOptions) (*storagev1.CSIStorageCapacityList, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
	Create(ctx context.Context, object *storagev1.CSIStorageCapacity, options metav1.CreateOptions) (*storagev1.CSIStorageCapacity, error)
	Update(ctx context.Context, object *storagev1.CSIStorageCapacity, options metav1.UpdateOptions) (*storagev1.CSIStorageCapacity, error)
	Delete(ctx context.Context, name string, options metav1.DeleteOptions) error
}

// NewObjects returns the objects of a namespace in the version that the API server has: v1, or v1beta1 before Kubernetes 1.24. An API server that has
// neither is an error; one that does not say is taken to have v1.
func NewObjects(client kubernetes.Interface, namespace string) (Objects, error) {
	v1, err := serves(client.Discovery(), storagev1.SchemeGroupVersion.String())
	if err != nil || v1 {
		return client.StorageV1().CSIStorageCapacities(namespace), nil
	}
	beta, err := serves(client.Discovery(), storagev1beta1.SchemeGroupVersion.String())
	switch {
	case err != nil:
		return client.StorageV1().CSIStorageCapacities(namespace), nil
	case !beta:
		return nil, fmt.Errorf("the API server has CSIStorageCapacity objects neither in %s nor in %s", storagev1.SchemeGroupVersion, storagev1beta1.SchemeGroupVersion)
	}
	return betaObjects{client.StorageV1beta1().CSIStorageCapacities(namespace)}, nil
}

func serves(client discovery.DiscoveryInterface, version string) (bool, error) {
	list, err := client.ServerResourcesForGroupVersion(version)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "csistoragecapacities" }), nil
}

// newInformer keeps a cache of the objects with the given labels.
func newInformer(objects Objects, selector string) cache.SharedIndexInformer {
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			return objects.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			return objects.Watch(ctx, options)
		},
	}, objects), &storagev1.CSIStorageCapacity{}, 0, cache.Indexers{})
	_ = informer.SetTransform(func(event any) (any, error) { // only fails for one that runs
		if object, ok := event.(*storagev1.CSIStorageCapacity); ok {
			object.ManagedFields = nil
		}
		return event, nil
	})
	return informer
}

// betaObjects speaks v1beta1, which differs in nothing but the name.
type betaObjects struct {
	client betaclient.CSIStorageCapacityInterface
}

// IsWatchListSemanticsUnSupported has informers list before they watch. API servers of that age do not know of lists by way of a watch, and do
// not say so either: an informer would wait for the end of the list for ever.
func (betaObjects) IsWatchListSemanticsUnSupported() bool { return true }

// Get reads an object.
func (o betaObjects) Get(ctx context.Context, name string, options metav1.GetOptions) (*storagev1.CSIStorageCapacity, error) {
	return fromBeta(o.client.Get(ctx, name, options))
}

// List reads all objects.
func (o betaObjects) List(ctx context.Context, options metav1.ListOptions) (*storagev1.CSIStorageCapacityList, error) {
	list, err := o.client.List(ctx, options)
	if err != nil {
		return nil, err
	}
	converted := &storagev1.CSIStorageCapacityList{ListMeta: list.ListMeta, Items: make([]storagev1.CSIStorageCapacity, len(list.Items))}
	for i := range list.Items {
		converted.Items[i] = *convert(&list.Items[i])
	}
	return converted, nil
}

// Watch hears of changes.
func (o betaObjects) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	events, err := o.client.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return watch.Filter(events, func(event watch.Event) (watch.Event, bool) {
		if object, ok := event.Object.(*storagev1beta1.CSIStorageCapacity); ok {
			event.Object = convert(object)
		}
		return event, true
	}), nil
}

// Create makes an object.
func (o betaObjects) Create(ctx context.Context, object *storagev1.CSIStorageCapacity, options metav1.CreateOptions) (*storagev1.CSIStorageCapacity, error) {
	return fromBeta(o.client.Create(ctx, toBeta(object), options))
}

// Update changes an object.
func (o betaObjects) Update(ctx context.Context, object *storagev1.CSIStorageCapacity, options metav1.UpdateOptions) (*storagev1.CSIStorageCapacity, error) {
	return fromBeta(o.client.Update(ctx, toBeta(object), options))
}

// Delete deletes an object.
func (o betaObjects) Delete(ctx context.Context, name string, options metav1.DeleteOptions) error {
	return o.client.Delete(ctx, name, options)
}

func fromBeta(object *storagev1beta1.CSIStorageCapacity, err error) (*storagev1.CSIStorageCapacity, error) {
	if err != nil {
		return nil, err
	}
	return convert(object), nil
}

func convert(object *storagev1beta1.CSIStorageCapacity) *storagev1.CSIStorageCapacity {
	return &storagev1.CSIStorageCapacity{
		ObjectMeta: object.ObjectMeta, NodeTopology: object.NodeTopology, StorageClassName: object.StorageClassName,
		Capacity: object.Capacity, MaximumVolumeSize: object.MaximumVolumeSize,
	}
}

func toBeta(object *storagev1.CSIStorageCapacity) *storagev1beta1.CSIStorageCapacity {
	return &storagev1beta1.CSIStorageCapacity{
		ObjectMeta: object.ObjectMeta, NodeTopology: object.NodeTopology, StorageClassName: object.StorageClassName,
		Capacity: object.Capacity, MaximumVolumeSize: object.MaximumVolumeSize,
	}
}
