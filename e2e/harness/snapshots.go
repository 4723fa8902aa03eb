package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// AllowModeChange is the annotation of a VolumeSnapshotContent that lets its volume mode be converted.
const AllowModeChange = "snapshot.storage.kubernetes.io/allow-volume-mode-change"

// Snapshotter stands in for the snapshot controller and its sidecar: it makes real snapshots in the driver, and the
// objects about them as those two leave them. It does not set their finalizers, which nobody here would remove, and does
// nothing about a snapshot that is deleted.
type Snapshotter struct {
	// API is the client for VolumeSnapshots.
	API snapshotclient.Interface

	core   kubernetes.Interface
	driver *Driver
}

// NewSnapshotter makes snapshots of the volumes of a driver.
func NewSnapshotter(c *ControlPlane, driver *Driver) (*Snapshotter, error) {
	config := c.Config()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	api, err := snapshotclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for snapshots: %w", err)
	}
	return &Snapshotter{API: api, core: c.Client(), driver: driver}, nil
}

// Snapshot is a VolumeSnapshot with its VolumeSnapshotContent.
type Snapshot struct {
	Snapshot *snapshotv1.VolumeSnapshot
	Content  *snapshotv1.VolumeSnapshotContent
}

// Handle is what the driver calls the snapshot, empty if the objects do not say.
func (s *Snapshot) Handle() string {
	if s.Content.Status == nil || s.Content.Status.SnapshotHandle == nil {
		return ""
	}
	return *s.Content.Status.SnapshotHandle
}

// Take makes a snapshot of a bound claim's volume. Each edit states what is different about the finished objects, their
// status included; the snapshot in the driver is always sound.
func (s *Snapshotter) Take(ctx context.Context, namespace, name, claim string, edits ...func(*Snapshot)) (*Snapshot, error) {
	taken, err := s.take(ctx, namespace, name, claim, edits)
	if err != nil {
		return nil, fmt.Errorf("take snapshot %s/%s of claim %s: %w", namespace, name, claim, err)
	}
	return taken, nil
}

func (s *Snapshotter) take(ctx context.Context, namespace, name, claim string, edits []func(*Snapshot)) (*Snapshot, error) {
	volume, err := s.volumeOf(ctx, namespace, claim)
	if err != nil {
		return nil, err
	}
	snapshots := s.API.SnapshotV1().VolumeSnapshots(namespace)
	contents := s.API.SnapshotV1().VolumeSnapshotContents()

	object, err := snapshots.Create(ctx, &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: &claim}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	made, err := s.driver.createSnapshot(ctx, "snapshot-"+string(object.UID), volume.Spec.CSI.VolumeHandle)
	if err != nil {
		return nil, err
	}
	pair := &Snapshot{Snapshot: object, Content: contentOf(object, volume, made)}
	for _, edit := range edits {
		edit(pair)
	}

	// Creating and updating ignore the status, and return the object without it.
	contentStatus, status := pair.Content.Status, pair.Snapshot.Status
	if pair.Content, err = contents.Create(ctx, pair.Content, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	pair.Content.Status = contentStatus
	if pair.Content, err = contents.UpdateStatus(ctx, pair.Content, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	if pair.Snapshot, err = snapshots.Update(ctx, pair.Snapshot, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	pair.Snapshot.Status = status
	pair.Snapshot, err = snapshots.UpdateStatus(ctx, pair.Snapshot, metav1.UpdateOptions{})
	return pair, err
}

func (s *Snapshotter) volumeOf(ctx context.Context, namespace, name string) (*corev1.PersistentVolume, error) {
	claim, err := s.core.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if claim.Spec.VolumeName == "" {
		return nil, errors.New("the claim is not bound")
	}
	volume, err := s.core.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err == nil && volume.Spec.CSI == nil {
		err = fmt.Errorf("volume %s is not a CSI volume", volume.Name)
	}
	return volume, err
}

// contentOf fills in the status of a snapshot and returns the content for it, with references both ways.
func contentOf(snapshot *snapshotv1.VolumeSnapshot, volume *corev1.PersistentVolume, made *csipb.Snapshot) *snapshotv1.VolumeSnapshotContent {
	name := "snapcontent-" + string(snapshot.UID)
	taken := made.GetCreationTime().AsTime()
	snapshot.Status = &snapshotv1.VolumeSnapshotStatus{
		BoundVolumeSnapshotContentName: &name,
		CreationTime:                   &metav1.Time{Time: taken},
		ReadyToUse:                     new(made.GetReadyToUse()),
		RestoreSize:                    resource.NewQuantity(made.GetSizeBytes(), resource.BinarySI),
	}
	return &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			VolumeSnapshotRef: corev1.ObjectReference{
				APIVersion: snapshotv1.SchemeGroupVersion.String(), Kind: "VolumeSnapshot",
				Namespace: snapshot.Namespace, Name: snapshot.Name, UID: snapshot.UID,
			},
			DeletionPolicy:   snapshotv1.VolumeSnapshotContentDelete,
			Driver:           volume.Spec.CSI.Driver,
			Source:           snapshotv1.VolumeSnapshotContentSource{VolumeHandle: &volume.Spec.CSI.VolumeHandle},
			SourceVolumeMode: volume.Spec.VolumeMode,
		},
		Status: &snapshotv1.VolumeSnapshotContentStatus{
			SnapshotHandle: new(made.GetSnapshotId()),
			CreationTime:   new(taken.UnixNano()),
			ReadyToUse:     new(made.GetReadyToUse()),
			RestoreSize:    new(made.GetSizeBytes()),
		},
	}
}

// Drop deletes a snapshot with its content and what the driver has of it, whatever holds them. What is gone is fine.
func (s *Snapshotter) Drop(ctx context.Context, taken *Snapshot) error {
	snapshots := s.API.SnapshotV1().VolumeSnapshots(taken.Snapshot.Namespace)
	contents := s.API.SnapshotV1().VolumeSnapshotContents()
	letGo, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": nil}})
	if err != nil {
		return err
	}
	errs := []error{
		unlessGone(snapshots.Delete(ctx, taken.Snapshot.Name, metav1.DeleteOptions{})),
		unlessGone(contents.Delete(ctx, taken.Content.Name, metav1.DeleteOptions{})),
	}
	_, err = snapshots.Patch(ctx, taken.Snapshot.Name, types.MergePatchType, letGo, metav1.PatchOptions{})
	errs = append(errs, unlessGone(err))
	_, err = contents.Patch(ctx, taken.Content.Name, types.MergePatchType, letGo, metav1.PatchOptions{})
	errs = append(errs, unlessGone(err))
	if handle := taken.Handle(); handle != "" {
		errs = append(errs, s.driver.deleteSnapshot(ctx, handle))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("drop snapshot %s/%s: %w", taken.Snapshot.Namespace, taken.Snapshot.Name, err)
	}
	return nil
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// withController calls the driver as a sidecar does, over its CSI socket.
func (d *Driver) withController(ctx context.Context, call func(context.Context, csipb.ControllerClient) error) error {
	connection, err := grpc.NewClient("unix:"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return call(ctx, csipb.NewControllerClient(connection))
}

func (d *Driver) createSnapshot(ctx context.Context, name, volume string) (*csipb.Snapshot, error) {
	var made *csipb.Snapshot
	err := d.withController(ctx, func(ctx context.Context, controller csipb.ControllerClient) error {
		answer, err := controller.CreateSnapshot(ctx, &csipb.CreateSnapshotRequest{Name: name, SourceVolumeId: volume})
		made = answer.GetSnapshot()
		return err
	})
	return made, err
}

func (d *Driver) deleteSnapshot(ctx context.Context, id string) error {
	return d.withController(ctx, func(ctx context.Context, controller csipb.ControllerClient) error {
		_, err := controller.DeleteSnapshot(ctx, &csipb.DeleteSnapshotRequest{SnapshotId: id})
		return err
	})
}
