package journal

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestAWriterThatHangsIsFoundOut: a write that not even the end of its context ends.
func TestAWriterThatHangsIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, release := fake.NewClientset(), make(chan struct{})
		client.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			<-release
			return false, nil, nil
		})
		j := makeJournal(client, "me")
		stop := running(t, j)
		recorded := make(chan error, 1)
		go func() { recorded <- j.Record(t.Context(), makeEntry(1)) }()
		time.Sleep(writingLimit - time.Second)
		if err := j.Stuck(); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(time.Minute)
		if err := j.Stuck(); err == nil {
			t.Error("nobody minds that the writer hangs")
		}
		close(release)
		if err := <-recorded; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if err := j.Stuck(); err != nil {
			t.Errorf("it goes on: %v", err)
		}
		stop()
	})
}

// TestAnAPIServerThatIsAwayIsNoHangingWriter: a restart would not bring it back.
func TestAnAPIServerThatIsAwayIsNoHangingWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewServiceUnavailable("away")
		})
		j := makeJournal(client, "me")
		stop := running(t, j)
		ctx, cancel := context.WithCancel(t.Context())
		recorded := make(chan error, 1)
		go func() { recorded <- j.Record(ctx, makeEntry(1)) }()
		for range 60 {
			time.Sleep(time.Minute)
			if err := j.Stuck(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if err := <-recorded; err == nil {
			t.Error("it was recorded")
		}
		stop()
	})
}
