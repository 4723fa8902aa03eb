package datasource

import (
	"context"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// AttributesClassWatch hears of volume attributes classes. They are no data sources, but watched on the same terms: the API server may have
// none, and roles made for the established provisioner permit no more than to read one by its name.
type AttributesClassWatch struct {
	mirror mirror[*storagev1.VolumeAttributesClass]
}

// NewAttributesClassWatch makes an AttributesClassWatch. It looks again every retry interval for an API that was not there; 0: 30 s.
func NewAttributesClassWatch(client kubernetes.Interface, retry time.Duration) *AttributesClassWatch {
	return &AttributesClassWatch{mirror[*storagev1.VolumeAttributesClass]{
		what:   "VolumeAttributesClasses",
		retry:  retry,
		client: client,
		list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.StorageV1().VolumeAttributesClasses().List(ctx, options)
		},
		watch: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.StorageV1().VolumeAttributesClasses().Watch(ctx, options)
		},
		example: &storagev1.VolumeAttributesClass{},
		trim: func(class *storagev1.VolumeAttributesClass) *storagev1.VolumeAttributesClass {
			return &storagev1.VolumeAttributesClass{ObjectMeta: identity(class.ObjectMeta), DriverName: class.DriverName, Parameters: class.Parameters}
		},
	}}
}

// Run watches until ctx ends, and returns when its goroutines are gone. It must be called once.
func (w *AttributesClassWatch) Run(ctx context.Context) { w.mirror.run(ctx) }

// AddEventHandler adds a handler, on the same terms as SnapshotWatch's. It must be called before Run.
func (w *AttributesClassWatch) AddEventHandler(handler cache.ResourceEventHandler) {
	w.mirror.handlers = append(w.mirror.handlers, handler)
}

// Get returns a class as far as it is known; nil: it may exist all the same.
func (w *AttributesClassWatch) Get(name string) *storagev1.VolumeAttributesClass {
	known := w.mirror.known()
	if known == nil {
		return nil
	}
	object, _, err := known.GetByKey(name)
	if err != nil {
		return nil // only of stores that are not in memory
	}
	class, _ := object.(*storagev1.VolumeAttributesClass)
	return class
}
