package datasource

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

func TestAttributesClassesAreHeardOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		classes := NewAttributesClassWatch(client, 0)
		var heard []*storagev1.VolumeAttributesClass
		classes.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(object any) { heard = append(heard, object.(*storagev1.VolumeAttributesClass)) },
		})
		done := make(chan struct{})
		t.Cleanup(func() { <-done })
		go func() {
			defer close(done)
			classes.Run(t.Context())
		}()
		synctest.Wait()
		class := &storagev1.VolumeAttributesClass{
			ObjectMeta: metav1.ObjectMeta{Name: "gold", UID: "uid"}, DriverName: "driver.example", Parameters: map[string]string{"iops": "500"},
		}
		if _, err := client.StorageV1().VolumeAttributesClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]*storagev1.VolumeAttributesClass{class}, heard); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(class, classes.Get("gold")); diff != "" {
			t.Error(diff)
		}
	})
}
