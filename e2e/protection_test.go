//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func TestSnapshotIsProtectedUntilTheLastVolumeFromIt(t *testing.T) {
	s := inSharedWorld(t)
	class := s.class()
	s.claim("original", class)
	s.bound("original")
	snapshot := s.take("snap", "original")
	s.delay(snapshot.Handle())

	ready := time.Now()
	slow := s.claim("slow", class, harness.FromSnapshot("snap"))
	var calls []harness.Call
	s.meanwhile(slow, snapshot.Handle(), func() {
		quick := s.claim("quick", class, harness.FromSnapshot("snap"))
		s.bound("quick")
		calls = s.calls(harness.CreateVolume, volumeName(quick))
	})
	s.bound("slow")
	s.released(snapshotNamed("snap"))
	wantProtected(s, snapshotNamed("snap"), ready, append(calls, s.calls(harness.CreateVolume, volumeName(slow))...))
}

func TestProtectionThatWasLeftOverIsTakenOff(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "leftover")
	class := s.class()
	s.claim("original", class)
	s.bound("original")
	_, err := s.Berth.Stop(t.Context())
	must(t, err)

	left := harness.SnapshotFinalizer(snapshotNamed("").finalizer)
	s.take("another-driver", "original", left, harness.SnapshotOfDriver("other.csi.example.com"))
	s.take("before", "original", left)
	claim, err := s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(t.Context(), "original", metav1.GetOptions{})
	must(t, err)
	claim.Finalizers = append(claim.Finalizers, claimNamed("").finalizer)
	_, err = s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Update(t.Context(), claim, metav1.UpdateOptions{})
	must(t, err)

	must(t, s.Berth.Start(t.Context()))
	s.released(snapshotNamed("before"))
	s.released(claimNamed("original"))
	// Sources are looked at in the order in which they were heard of, so the others have been by then.
	s.take("later", "original", left)
	s.released(snapshotNamed("later"))
	if !s.protected(snapshotNamed("another-driver")) {
		t.Error("the finalizer of another driver's provisioner was taken off")
	}
}

// source is something in the story's namespace that volumes are made from, and the finalizer that keeps it meanwhile.
type source struct{ resource, name, finalizer string }

func snapshotNamed(name string) source {
	return source{"volumesnapshots", name, "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection"}
}

func claimNamed(name string) source {
	return source{"persistentvolumeclaims", name, "provisioner.storage.kubernetes.io/cloning-protection"}
}

// protected says whether a source has the finalizer now. One that does not exist has none.
func (s *story) protected(of source) bool {
	s.t.Helper()
	var object metav1.Object
	var err error
	if of.resource == snapshotNamed("").resource {
		object, err = s.snapshots().API.SnapshotV1().VolumeSnapshots(s.namespace).Get(s.t.Context(), of.name, metav1.GetOptions{})
	} else {
		object, err = s.Client().CoreV1().PersistentVolumeClaims(s.namespace).Get(s.t.Context(), of.name, metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) {
		return false
	}
	must(s.t, err)
	return slices.Contains(object.GetFinalizers(), of.finalizer)
}

// released waits until a source does not have the finalizer.
func (s *story) released(of source) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), of.name+" is not protected any more", func(context.Context) error {
		if s.protected(of) {
			return errors.New("it is")
		}
		return nil
	}))
}

// wantProtected checks that Berth has written to a source twice since it was ready to be one: before the first of these
// calls, and after the last. What Berth wrote before, to bind a claim that is a source, is another matter.
func wantProtected(s *story, of source, ready time.Time, calls []harness.Call) {
	s.t.Helper()
	if len(calls) == 0 {
		s.t.Fatal("the driver was not asked")
	}
	var writes []harness.AuditEvent
	must(s.t, harness.Eventually(s.t.Context(), "the audit log shows both writes", func(context.Context) (err error) {
		writes, err = s.ControlPlane.Audit(func(event *harness.AuditEvent) bool {
			object := event.ObjectRef
			return event.User.Username == s.User() && slices.Contains([]string{"patch", "update"}, event.Verb) &&
				event.ResponseStatus.Code == http.StatusOK && event.Received.After(ready) &&
				object.Resource == of.resource && object.Namespace == s.namespace && object.Name == of.name
		})
		if err == nil && len(writes) < 2 {
			err = fmt.Errorf("there are %d", len(writes))
		}
		return err
	}))
	if len(writes) != 2 {
		s.t.Fatalf("Berth wrote to %s %d times, want twice: %+v", of.name, len(writes), writes)
	}
	for _, call := range calls {
		if !writes[0].Received.Before(call.Began()) || !writes[1].Received.After(call.Time) {
			s.t.Errorf("%s was protected from %s to %s, but the driver was at it from %s to %s", of.name,
				writes[0].Received, writes[1].Received, call.Began(), call.Time)
		}
	}
}
