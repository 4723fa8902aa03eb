package datasource

import (
	"context"
	"fmt"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclientset "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// indexProtected finds the snapshots that carry FinalizerSnapshot, all under one value.
const indexProtected = "berth-protected-snapshots"

// SnapshotWatch knows the cluster's snapshots, while their API is served and we may list and watch them. It serves to hear of what
// happens to a snapshot; the facts of a verdict are read live (see Reader). Its objects are trimmed and shared: they must not be
// changed.
type SnapshotWatch struct {
	mirror mirror[*snapshotv1.VolumeSnapshot]
}

// NewSnapshotWatch makes a SnapshotWatch. It looks again every retry interval for an API that was not there; 0: 30 s.
func NewSnapshotWatch(client snapshotclientset.Interface, retry time.Duration) *SnapshotWatch {
	return &SnapshotWatch{mirror[*snapshotv1.VolumeSnapshot]{
		what:   "VolumeSnapshots",
		retry:  retry,
		client: client,
		list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.SnapshotV1().VolumeSnapshots(metav1.NamespaceAll).List(ctx, options)
		},
		watch: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.SnapshotV1().VolumeSnapshots(metav1.NamespaceAll).Watch(ctx, options)
		},
		example:  &snapshotv1.VolumeSnapshot{},
		trim:     trimSnapshot,
		indexers: cache.Indexers{indexProtected: protectedSnapshot},
	}}
}

// Run watches until ctx ends, and returns when its goroutines are gone. It must be called once.
func (w *SnapshotWatch) Run(ctx context.Context) { w.mirror.run(ctx) }

// AddEventHandler adds a handler, which must only enqueue keys: each time that the API comes back it hears of all snapshots again, and
// not of those that were deleted meanwhile. It must be called before Run.
func (w *SnapshotWatch) AddEventHandler(handler cache.ResourceEventHandler) {
	w.mirror.handlers = append(w.mirror.handlers, handler)
}

// Get returns a snapshot, nil if there is none. While not watched nothing is known about it.
func (w *SnapshotWatch) Get(namespace, name string) (snapshot *snapshotv1.VolumeSnapshot, watched bool, err error) {
	all := w.mirror.all()
	if all == nil {
		return nil, false, nil
	}
	object, _, err := all.GetByKey(cache.NewObjectName(namespace, name).String())
	if err != nil {
		return nil, true, fmt.Errorf("read VolumeSnapshot %s/%s: %w", namespace, name, err)
	}
	snapshot, _ = object.(*snapshotv1.VolumeSnapshot)
	return snapshot, true, nil
}

// Protected returns the snapshots that carry FinalizerSnapshot, as far as they are known; none while the watch waits for its API.
func (w *SnapshotWatch) Protected() []*snapshotv1.VolumeSnapshot {
	known := w.mirror.known()
	if known == nil {
		return nil
	}
	return indexed[*snapshotv1.VolumeSnapshot](known, indexProtected, FinalizerSnapshot)
}

// Synced reports whether all snapshots are known. That may never be so, and change at any time: readiness must not depend on it.
func (w *SnapshotWatch) Synced() bool { return w.mirror.all() != nil }

func protectedSnapshot(object any) ([]string, error) {
	snapshot, ok := object.(*snapshotv1.VolumeSnapshot)
	if !ok || !slices.Contains(snapshot.Finalizers, FinalizerSnapshot) {
		return nil, nil
	}
	return []string{FinalizerSnapshot}, nil
}

// trimSnapshot keeps what tells whether a snapshot can be restored from and is protected.
func trimSnapshot(snapshot *snapshotv1.VolumeSnapshot) *snapshotv1.VolumeSnapshot {
	slim := &snapshotv1.VolumeSnapshot{ObjectMeta: identity(snapshot.ObjectMeta)}
	slim.CreationTimestamp = snapshot.CreationTimestamp
	slim.Finalizers = snapshot.Finalizers
	slim.Spec.Source = snapshot.Spec.Source
	if status := snapshot.Status; status != nil {
		slim.Status = &snapshotv1.VolumeSnapshotStatus{
			BoundVolumeSnapshotContentName: status.BoundVolumeSnapshotContentName,
			ReadyToUse:                     status.ReadyToUse,
			RestoreSize:                    status.RestoreSize,
			Error:                          status.Error,
		}
	}
	return slim
}
