package datasource

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestContentsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newSnapshotClient(makeContent())
		api := fragile{err: noSuchAPI(snapshotv1.Resource("volumesnapshotcontents"), "")}
		api.stand(&client.Fake, "*", "volumesnapshotcontents")
		watch := NewContentWatch(client, 0)
		get := func(name string) (found, watched bool) {
			t.Helper()
			content, watched, err := watch.Get(name)
			if err != nil {
				t.Fatal(err)
			}
			return content != nil, watched
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			watch.Run(ctx)
		}()
		defer func() {
			cancel()
			<-done
		}()
		synctest.Wait()
		if found, watched := get("content"); found || watched {
			t.Error("known without its API")
		}
		api.set(nil) // the CRDs come after the process
		time.Sleep(defaultRetry)
		synctest.Wait()
		if found, watched := get("content"); !found || !watched {
			t.Error("what came is not watched")
		}
		if found, watched := get("absent"); found || !watched {
			t.Error("another one is not known to be absent")
		}
		if err := client.SnapshotV1().VolumeSnapshotContents().Delete(t.Context(), "content", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if found, watched := get("content"); found || !watched {
			t.Error("a deleted content is still there")
		}
	})
}

func TestContentsAreTrimmed(t *testing.T) {
	content := makeContent()
	content.ResourceVersion, content.DeletionTimestamp = "7", deletion()
	content.Labels, content.Annotations = map[string]string{"a": "b"}, map[string]string{"a": "b", AnnotationAllowModeChange: "true"}
	content.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	content.Spec.VolumeSnapshotRef.ResourceVersion = "3"
	content.Spec.VolumeSnapshotClassName = new("class")
	content.Status.RestoreSize = new(int64(1))
	want := makeContent()
	want.ResourceVersion, want.DeletionTimestamp = "7", deletion()
	want.Annotations = map[string]string{AnnotationAllowModeChange: "true"}
	m := &NewContentWatch(nil, 0).mirror
	for range 2 { // informers may run it twice
		got, err := m.transform(content)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatal(err, diff)
		}
		content = got.(*snapshotv1.VolumeSnapshotContent)
	}
	if got := trimContent(&snapshotv1.VolumeSnapshotContent{}); got.Status != nil || got.Annotations != nil {
		t.Errorf("an empty content became %+v", got)
	}
}
