package datasource

import (
	"context"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclientset "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// ContentWatch knows the contents of the cluster's snapshots, while their API is served and we may list and watch them. It serves admission,
// which has no time for live reads. Its objects are trimmed and shared: they must not be changed.
type ContentWatch struct {
	mirror mirror[*snapshotv1.VolumeSnapshotContent]
}

// NewContentWatch makes a ContentWatch. It looks again every retry interval for an API that was not there; 0: 30 s.
func NewContentWatch(client snapshotclientset.Interface, retry time.Duration) *ContentWatch {
	return &ContentWatch{mirror[*snapshotv1.VolumeSnapshotContent]{
		what:   "VolumeSnapshotContents",
		retry:  retry,
		client: client,
		list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.SnapshotV1().VolumeSnapshotContents().List(ctx, options)
		},
		watch: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.SnapshotV1().VolumeSnapshotContents().Watch(ctx, options)
		},
		example: &snapshotv1.VolumeSnapshotContent{},
		trim:    trimContent,
	}}
}

// Run watches until ctx ends, and returns when its goroutines are gone. It must be called once.
func (w *ContentWatch) Run(ctx context.Context) { w.mirror.run(ctx) }

// Get returns a content, nil if there is none. While not watched nothing is known about it.
func (w *ContentWatch) Get(name string) (content *snapshotv1.VolumeSnapshotContent, watched bool, err error) {
	all := w.mirror.all()
	if all == nil {
		return nil, false, nil
	}
	object, _, err := all.GetByKey(name)
	if err != nil {
		return nil, true, fmt.Errorf("read VolumeSnapshotContent %q: %w", name, err)
	}
	content, _ = object.(*snapshotv1.VolumeSnapshotContent)
	return content, true, nil
}

// trimContent keeps what the chain of checks reads (see Judge), and of the annotations the one that it goes by.
func trimContent(content *snapshotv1.VolumeSnapshotContent) *snapshotv1.VolumeSnapshotContent {
	slim := &snapshotv1.VolumeSnapshotContent{ObjectMeta: identity(content.ObjectMeta)}
	if allowed, ok := content.Annotations[AnnotationAllowModeChange]; ok {
		slim.Annotations = map[string]string{AnnotationAllowModeChange: allowed}
	}
	ref := content.Spec.VolumeSnapshotRef
	slim.Spec.VolumeSnapshotRef.Namespace, slim.Spec.VolumeSnapshotRef.Name, slim.Spec.VolumeSnapshotRef.UID = ref.Namespace, ref.Name, ref.UID
	slim.Spec.Driver = content.Spec.Driver
	slim.Spec.SourceVolumeMode = content.Spec.SourceVolumeMode
	if content.Status != nil && content.Status.SnapshotHandle != nil {
		slim.Status = &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: content.Status.SnapshotHandle}
	}
	return slim
}
