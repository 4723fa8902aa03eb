package datasource

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclientset "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// readTimeout bounds each read, so that a server that hangs does not hold a worker.
const readTimeout = 30 * time.Second

// ReaderConfig describes a Reader.
type ReaderConfig struct {
	Client    kubernetes.Interface        // for claims and volumes
	Snapshots snapshotclientset.Interface // whether or not the cluster has that API
	Grants    *GrantWatch                 // nil: the feature gate CrossNamespaceVolumeDataSource is off, and nobody needs them
}

// Reader gathers facts about sources. Safe for concurrent use.
type Reader struct{ config ReaderConfig }

// NewReader makes a Reader.
func NewReader(config ReaderConfig) *Reader { return &Reader{config} }

// Gather reads what there is to know about a source: the objects of Facts, and which APIs are served. The caller adds the rest. What does
// not exist is a fact; an error means that something could not be read.
//
// All objects are read live. A verdict leads to a call that is not undone easily, so no cache that lags should give it. The informers
// would not do for a source claim anyway: once it has a volume they drop its request and its mode, because nobody else reads them
// (internal/kube, Trim).
func (r *Reader) Gather(ctx context.Context, reference Reference) (Facts, error) {
	var facts Facts
	err := r.gatherGrants(ctx, reference, &facts)
	if err == nil {
		switch reference.Kind {
		case Snapshot:
			err = r.gatherSnapshot(ctx, reference, &facts)
		case Clone:
			err = r.gatherClaim(ctx, reference, &facts)
		case None, Populator:
		}
	}
	if err != nil {
		return Facts{}, err
	}
	return facts, nil
}

func (r *Reader) gatherGrants(ctx context.Context, reference Reference, facts *Facts) (err error) {
	if reference.CrossNamespace && r.config.Grants != nil {
		facts.Grants, facts.GrantsServed, err = r.config.Grants.List(ctx, reference.Namespace)
	}
	return err
}

func (r *Reader) gatherSnapshot(ctx context.Context, reference Reference, facts *Facts) (err error) {
	client := r.config.Snapshots.SnapshotV1()
	facts.Snapshot, facts.SnapshotsServed, err = live(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshot, error) {
		return client.VolumeSnapshots(reference.Namespace).Get(ctx, reference.Name, metav1.GetOptions{})
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", reference, err)
	}
	name := boundContent(facts.Snapshot)
	if name == "" {
		return nil
	}
	facts.Content, facts.SnapshotsServed, err = live(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
		return client.VolumeSnapshotContents().Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return fmt.Errorf("read VolumeSnapshotContent %q of %s: %w", name, reference, err)
	}
	return nil
}

func (r *Reader) gatherClaim(ctx context.Context, reference Reference, facts *Facts) (err error) {
	client := r.config.Client.CoreV1()
	facts.SourceClaim, _, err = live(ctx, func(ctx context.Context) (*corev1.PersistentVolumeClaim, error) {
		return client.PersistentVolumeClaims(reference.Namespace).Get(ctx, reference.Name, metav1.GetOptions{})
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", reference, err)
	}
	if facts.SourceClaim == nil || facts.SourceClaim.Spec.VolumeName == "" {
		return nil
	}
	name := facts.SourceClaim.Spec.VolumeName
	facts.SourceVolume, _, err = live(ctx, func(ctx context.Context) (*corev1.PersistentVolume, error) {
		return client.PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return fmt.Errorf("read PersistentVolume %q of %s: %w", name, reference, err)
	}
	return nil
}

// live reads one thing from the API server. It is nil if it does not exist; served tells whether its API does.
func live[T any](ctx context.Context, read func(context.Context) (*T, error)) (object *T, served bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	object, err = read(ctx)
	switch {
	case err == nil:
		return object, true, nil
	case unserved(err):
		return nil, false, nil
	case apierrors.IsNotFound(err):
		return nil, true, nil
	}
	return nil, false, err
}

// unserved tells a missing API from a missing object. Both are 404; but an API that has not got the object says so in a Status that
// names it, and for a path that nobody serves there is a page of plain text, which the client notes as an unexpected response.
func unserved(err error) bool {
	if meta.IsNoMatchError(err) {
		return true
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsNotFound(err) {
		return false
	}
	details := status.ErrStatus.Details
	return details == nil || details.Name == "" || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}
