//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

// middle is a story in which something happens between two writes of a binding. A binder that has nothing else to do would be faster than we are, so
// the controller-manager is frozen until then.
type middle struct {
	*story

	proxy *harness.Proxy
}

// TestInTheMiddleOfABinding shares one control plane among its stories: it takes long to come up.
func TestInTheMiddleOfABinding(t *testing.T) {
	s := onOwnControlPlane(t, "middle", func(options *harness.WorldOptions) { options.WithoutBerth = true })
	m := &middle{story: s, proxy: proxied(s)}
	for _, write := range bindingWrites() {
		m.tell(t, write, "the claim is deleted", (*middle).deleted)
		m.tell(t, write, "the claim is made again under its name", (*middle).replaced)
		m.tell(t, write, "the node is taken away", (*middle).rescheduled)
		m.tell(t, write, "nobody hears the answer", (*middle).unheard)
		m.tell(t, write, "Berth is killed", (*middle).killed)
		m.tell(t, write, "the API server is killed", (*middle).serverKilled)
	}
}

func (m *middle) tell(t *testing.T, write bindingWrite, name string, story func(*middle, bindingWrite)) {
	t.Helper()
	t.Run(name+" before "+write.name, func(t *testing.T) {
		s := m.newNamespace(t)
		s.World.Berth = m.Berth
		m := &middle{story: s, proxy: m.proxy}
		// A controller-manager that goes on after a frost hears of claims and volumes in no order, and may call a claim lost for a moment.
		// Berth then leaves it alone for a while, which the next story is not about.
		if on, err := metric(t.Context(), s, "berth_express_binding"); err != nil || on == 0 {
			must(t, s.Berth.Restart(t.Context()))
		}
		m.freeze()
		defer func() {
			m.proxy.Before(nil)
			m.proxy.Lose(nil)
			check(t, m.ControlPlane.Signal(context.WithoutCancel(t.Context()), harness.ControllerManager, syscall.SIGCONT))
		}()
		story(m, write)
	})
}

func (m *middle) freeze() {
	m.t.Helper()
	must(m.t, m.ControlPlane.Signal(m.t.Context(), harness.ControllerManager, syscall.SIGSTOP))
}

func (m *middle) thaw() error {
	return m.ControlPlane.Signal(m.t.Context(), harness.ControllerManager, syscall.SIGCONT)
}

// at does something, once, before a write is forwarded. The function that it returns waits until it is done.
func (m *middle) at(write bindingWrite, do func() error) (wait func()) {
	done := make(chan error, 1)
	m.proxy.Before(write.once(func() { done <- do() }))
	return func() {
		m.t.Helper()
		select {
		case err := <-done:
			must(m.t, err)
		case <-time.After(harness.WaitTimeout):
			m.t.Fatal("Berth has not come to write it")
		}
		m.proxy.Before(nil)
	}
}

// goes deletes a claim and waits until it is gone, for which the controller-manager is needed.
func (m *middle) goes(name string) error {
	claims := m.Client().CoreV1().PersistentVolumeClaims(m.namespace)
	if err := errors.Join(claims.Delete(m.t.Context(), name, metav1.DeleteOptions{}), m.thaw()); err != nil {
		return err
	}
	return harness.Eventually(m.t.Context(), "claim "+name+" is gone", func(ctx context.Context) error {
		_, err := claims.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is there"))
	})
}

func (m *middle) wantNothingLeft(claim *corev1.PersistentVolumeClaim) {
	m.t.Helper()
	must(m.t, m.WaitVolumesGone(m.t.Context(), volumeName(claim)))
	if left := m.volumesNamed(volumeName(claim)); len(left) != 0 {
		m.t.Errorf("the driver still has %v", left)
	}
}

// wantOwn checks that a claim is bound to the volume that was made for it.
func (m *middle) wantOwn(name string) *corev1.PersistentVolumeClaim {
	m.t.Helper()
	claim, volume := m.bound(name)
	if volume.Name != volumeName(claim) || volume.Spec.ClaimRef.UID != claim.UID {
		m.t.Errorf("claim %s is bound to %s, which is for %v", claim.UID, volume.Name, volume.Spec.ClaimRef)
	}
	if _, err := m.WaitVolumePhase(m.t.Context(), volume.Name, corev1.VolumeBound); err != nil {
		m.t.Error(err)
	}
	return claim
}

func (m *middle) deleted(write bindingWrite) {
	wait := m.at(write, func() error { return m.goes("data") })
	claim := m.claim("data", m.class(), m.assigned)
	wait()
	m.wantNothingLeft(claim)
}

func (m *middle) replaced(write bindingWrite) {
	class := m.class()
	wait := m.at(write, func() error {
		if err := m.goes("data"); err != nil {
			return err
		}
		_, err := m.Client().CoreV1().PersistentVolumeClaims(m.namespace).
			Create(m.t.Context(), harness.Claim(m.namespace, "data", class, m.assigned), metav1.CreateOptions{})
		return err
	})
	first := m.claim("data", class, m.assigned)
	wait()
	m.wantNothingLeft(first)
	m.leavesNothing(m.wantOwn("data"))
}

// rescheduled is what the scheduler sees when it has to give up a node: the claim's annotation is gone.
func (m *middle) rescheduled(write bindingWrite) {
	wait := m.at(write, func() error {
		_, err := m.Client().CoreV1().PersistentVolumeClaims(m.namespace).Patch(m.t.Context(), "data", types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}}}`, selectedNode), metav1.PatchOptions{})
		return errors.Join(err, m.thaw())
	})
	m.claim("data", m.class(harness.WaitForFirstConsumer), m.assigned)
	m.pods("data")
	wait()
	claim := m.wantOwn("data")
	_, volume := m.bound("data")
	pod := m.placed("data")[m.namespace+"/data"]
	wantAffinity(m.story, volume, strings.TrimPrefix(pod.Spec.NodeName, m.Name+"-"))
	if calls := m.calls(harness.CreateVolume, volumeName(claim)); len(calls) != 1 {
		m.t.Errorf("CreateVolume was called %d times", len(calls))
	}
}

func (m *middle) unheard(write bindingWrite) {
	var first sync.Once
	m.proxy.Lose(func(r *http.Request) (lost bool) {
		if write.is(r) {
			first.Do(func() { lost = true })
		}
		return lost
	})
	m.claim("data", m.class(), m.assigned)
	m.wantOwn("data")
	must(m.t, m.thaw())
}

func (m *middle) killed(write bindingWrite) {
	wait := m.at(write, func() error {
		m.Berth.Kill()
		return nil
	})
	m.claim("data", m.class(), m.assigned)
	wait()
	must(m.t, m.Berth.Start(m.t.Context()))
	m.wantOwn("data")
	must(m.t, m.thaw())
}

// serverKilled also ends every watch, which come back one by one.
func (m *middle) serverKilled(write bindingWrite) {
	wait := m.at(write, func() error { return m.ControlPlane.Kill(m.t.Context(), harness.APIServer) })
	m.claim("data", m.class(), m.assigned)
	wait()
	must(m.t, m.ControlPlane.Start(m.t.Context(), harness.APIServer))
	must(m.t, m.thaw())
	m.leavesNothing(m.wantOwn("data"))
}
