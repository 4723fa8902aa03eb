package datasource

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// watchSnapshots runs a watch until the test's bubble ends.
func watchSnapshots(ctx context.Context, t *testing.T, watch *SnapshotWatch) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
}

func getSnapshot(t *testing.T, watch *SnapshotWatch, name string) (found, watched bool) {
	t.Helper()
	snapshot, watched, err := watch.Get("ns", name)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot != nil, watched
}

func TestSnapshotsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newSnapshotClient(makeSnapshot())
		watch := NewSnapshotWatch(client, 0)
		if found, watched := getSnapshot(t, watch, "snap"); found || watched || watch.Synced() || watch.Protected() != nil {
			t.Error("known before it runs")
		}
		heard := map[string]int{}
		watch.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { heard["add "+object.(*snapshotv1.VolumeSnapshot).Name]++ },
			UpdateFunc: func(_, after any) { heard["update "+after.(*snapshotv1.VolumeSnapshot).Name]++ },
			DeleteFunc: func(object any) { heard["delete "+object.(*snapshotv1.VolumeSnapshot).Name]++ },
		})
		watchSnapshots(t.Context(), t, watch)
		if found, watched := getSnapshot(t, watch, "snap"); !found || !watched || !watch.Synced() {
			t.Error("it is not watched")
		}
		if found, watched := getSnapshot(t, watch, "absent"); found || !watched {
			t.Error("another one is not known to be absent")
		}

		if got := watch.Protected(); len(got) != 0 {
			t.Errorf("protected: %v", got)
		}
		snapshots := client.SnapshotV1().VolumeSnapshots("ns")
		protected := makeSnapshot()
		protected.Finalizers = []string{"other", FinalizerSnapshot}
		if _, err := snapshots.Update(t.Context(), protected, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := watch.Protected(); len(got) != 1 || got[0].Name != "snap" {
			t.Errorf("protected: %v", got)
		}
		if err := snapshots.Delete(t.Context(), "snap", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if found, watched := getSnapshot(t, watch, "snap"); found || !watched || len(watch.Protected()) != 0 {
			t.Error("a deleted snapshot is still there")
		}
		if diff := cmp.Diff(map[string]int{"add snap": 1, "update snap": 1, "delete snap": 1}, heard); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSnapshotsAreTrimmed(t *testing.T) {
	snapshot := makeSnapshot()
	snapshot.TypeMeta = metav1.TypeMeta{Kind: "VolumeSnapshot", APIVersion: "snapshot.storage.k8s.io/v1"}
	snapshot.Labels, snapshot.Annotations = map[string]string{"a": "b"}, map[string]string{"a": "b"}
	snapshot.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	snapshot.ResourceVersion, snapshot.DeletionTimestamp, snapshot.Finalizers = "7", deletion(), []string{FinalizerSnapshot}
	snapshot.Spec = snapshotv1.VolumeSnapshotSpec{
		Source:                  snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: new("c")},
		VolumeSnapshotClassName: new("class"),
	}
	snapshot.Status.CreationTime = deletion()
	snapshot.Status.Error = &snapshotv1.VolumeSnapshotError{Message: new("m")}
	want := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "snap", UID: "snap-uid", ResourceVersion: "7",
			DeletionTimestamp: deletion(), Finalizers: []string{FinalizerSnapshot}},
		Spec: snapshotv1.VolumeSnapshotSpec{Source: snapshot.Spec.Source},
		Status: &snapshotv1.VolumeSnapshotStatus{
			BoundVolumeSnapshotContentName: new("content"), ReadyToUse: new(true),
			RestoreSize: snapshot.Status.RestoreSize, Error: snapshot.Status.Error,
		},
	}
	m := &NewSnapshotWatch(nil, 0).mirror
	for range 2 { // informers may run it twice
		got, err := m.transform(snapshot)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatal(err, diff)
		}
		snapshot = got.(*snapshotv1.VolumeSnapshot)
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "ns/snap"}
	if got, err := m.transform(tombstone); got != tombstone || err != nil {
		t.Error("what is no snapshot was changed")
	}
	if got, err := protectedSnapshot(&corev1.Pod{}); got != nil || err != nil {
		t.Error("what is no snapshot is protected")
	}
	if got := trimSnapshot(&snapshotv1.VolumeSnapshot{}); got.Status != nil {
		t.Error("a snapshot without a status got one")
	}
}

// The CRDs come after the process.
func TestSnapshotsAppear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newSnapshotClient(makeSnapshot())
		api := fragile{err: noSuchAPI(snapshotv1.Resource("volumesnapshots"), "")}
		api.stand(&client.Fake, "*", "volumesnapshots")
		watch := NewSnapshotWatch(client, 0)
		logs, ctx := logged(t)
		watchSnapshots(ctx, t, watch)
		time.Sleep(10*time.Minute + time.Second)
		if found, watched := getSnapshot(t, watch, "snap"); found || watched || watch.Synced() || len(watch.Protected()) != 0 {
			t.Error("watched what is not there")
		}
		logs.want(t, "Cannot watch: the cluster has no such API")
		if api.asked() < 20 || api.asked() > 21 {
			t.Errorf("asked %d times in ten minutes", api.asked())
		}

		api.set(nil)
		time.Sleep(defaultRetry)
		synctest.Wait()
		if found, watched := getSnapshot(t, watch, "snap"); !found || !watched {
			t.Error("what came is not watched")
		}
		logs.want(t, "Cannot watch: the cluster has no such API", "Watching now")
	})
}

func TestSnapshotsMayBeForbidden(t *testing.T) {
	forbidden := apierrors.NewForbidden(snapshotv1.Resource("volumesnapshots"), "", errors.New("no right"))
	for verb, asked := range map[string]int{"list": 20, "watch": 20} {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := newSnapshotClient(makeSnapshot())
				api := fragile{err: forbidden}
				if verb == "watch" {
					client.PrependWatchReactor("volumesnapshots", api.watchReaction)
				} else {
					api.stand(&client.Fake, verb, "volumesnapshots")
				}
				watch := NewSnapshotWatch(client, time.Minute)
				logs, ctx := logged(t)
				watchSnapshots(ctx, t, watch)
				time.Sleep(time.Duration(asked) * time.Minute)
				if watch.Synced() {
					t.Error("nobody would tell of changes")
				}
				if got := api.asked(); got < asked || got > asked+1 {
					t.Errorf("asked %d times", got)
				}
				logs.want(t, "Cannot watch: to list and watch them is forbidden")
				api.set(noSuchAPI(snapshotv1.Resource("volumesnapshots"), ""))
				time.Sleep(2 * time.Minute)
				api.set(nil)
				time.Sleep(2 * time.Minute)
				if found, watched := getSnapshot(t, watch, "snap"); !found || !watched {
					t.Error("not watched with the right to do it")
				}
				logs.want(t, "Cannot watch: to list and watch them is forbidden", "Cannot watch: the cluster has no such API", "Watching now")
			})
		})
	}
}
