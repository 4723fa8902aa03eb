//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

func withoutBerth(options *harness.WorldOptions) { options.WithoutBerth = true }

// TestRotationMendsTheSecret deletes and damages what everything hangs on, while claims that depend on it are created.
func TestRotationMendsTheSecret(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "mends", withoutBerth)
	d := s.diary()
	berth := s.replica("berth", "", rotationFlags(time.Hour, time.Minute)...)
	l, webhooks := s.under(berth)
	secrets := s.Client().CoreV1().Secrets(harness.BerthNamespace)
	first := s.until(d, harness.PhaseStable)

	must(t, secrets.Delete(t.Context(), first.Name, metav1.DeleteOptions{}))
	second := s.until(d, harness.PhaseSwitched)
	s.renewed(berth, webhooks, first, second)

	damaged := second.DeepCopy()
	damaged.Data = map[string][]byte{harness.KeyAuthority: []byte("nonsense"), harness.KeyBundle: []byte("nonsense"), "others": []byte("kept")}
	_, err := secrets.Update(t.Context(), damaged, metav1.UpdateOptions{})
	must(t, err)
	must(t, harness.Eventually(t.Context(), "the Secret is mended", func(context.Context) error {
		if secret, _ := d.now(); secret == nil || harness.RotationPhase(secret) != harness.PhaseSwitched || secret.ResourceVersion == second.ResourceVersion ||
			bytes.Equal(secret.Data[harness.KeyAuthority], damaged.Data[harness.KeyAuthority]) {
			return errors.New("it is not")
		}
		return nil
	}))
	third, _ := d.now()
	s.renewed(berth, webhooks, second, third)
	if string(third.Data["others"]) != "kept" {
		t.Error("what is not Berth's is gone from the Secret")
	}
	last := s.until(d, harness.PhaseStable)
	s.inOrder(berth, webhooks, last)
	l.check(t)
}

// renewed checks that another authority signs than before, that the bundle with it was written, and that who trusts that trusts the server.
func (s *story) renewed(berth *harness.Berth, webhooks *harness.Webhooks, before, after *corev1.Secret) {
	s.t.Helper()
	if bytes.Equal(before.Data[harness.KeyAuthority], after.Data[harness.KeyAuthority]) {
		s.t.Error("the authority is the former one")
	}
	s.carried(webhooks, after)
	check(s.t, harness.Eventually(s.t.Context(), "it serves with what the new authority signed", func(ctx context.Context) error {
		_, err := harness.TrustedWith(ctx, berth.Admission.Address, after.Data[harness.KeyAuthority])
		return err
	}))
}

// TestRotationBeginsAnewAfterALongSleep starts on what a cluster has that was switched off for too long.
func TestRotationBeginsAnewAfterALongSleep(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "sleeps", withoutBerth)
	old := s.authority(time.Now().Add(-time.Hour))
	d := s.diary()
	berth := s.replica("berth", "", rotationFlags(time.Hour, time.Minute)...)
	l, webhooks := s.under(berth, func(w *harness.Webhooks) {
		w.MutateClaims.Webhooks[0].ClientConfig.CABundle = old.Data[harness.KeyBundle]
		w.ValidateClaims.Webhooks[0].ClientConfig.CABundle = old.Data[harness.KeyBundle]
		w.ValidateContents.Webhooks[0].ClientConfig.CABundle = old.Data[harness.KeyBundle]
	})
	secret := s.until(d, harness.PhaseSwitched)
	s.renewed(berth, webhooks, old, secret)
	s.inOrder(berth, webhooks, secret)
	s.ready(berth)
	must(t, harness.Eventually(t.Context(), "claims are created for a while", func(context.Context) error { return l.seen(50) }))
	l.check(t)
}

// TestRotationStartsWithTwoAtOnce has replicas meet without an election and without a Secret.
func TestRotationStartsWithTwoAtOnce(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "meets", withoutBerth)
	d := s.diary()
	// A service account's kubeconfig is made once, not by both at the same time.
	_, err := harness.BerthAccount(t.Context(), s.ControlPlane, "berth-"+s.Name)
	must(t, err)
	started := make(chan *harness.Berth, 2)
	for _, name := range []string{"a", "b"} {
		go func() {
			berth, err := s.StartBerth(t.Context(), harness.BerthOptions{
				Name: name, Socket: "/nowhere.sock", Admission: &harness.AdmissionOptions{Components: "webhook"},
				Flags: append(rotationFlags(time.Hour, time.Minute), "--driver-name="+s.Driver.Name),
			})
			check(t, err)
			started <- berth
		}()
	}
	replicas := []*harness.Berth{<-started, <-started}
	for _, berth := range replicas {
		if berth == nil {
			t.FailNow()
		}
		t.Cleanup(func() { berth.Kill() })
	}
	service, err := harness.StartService(t.Context(), replicas[0].Admission.Address, replicas[1].Admission.Address)
	must(t, err)
	t.Cleanup(func() { check(t, service.Close()) })
	called := *replicas[0]
	called.Admission = new(*called.Admission)
	called.Admission.Address = service.Address
	l, webhooks := s.under(&called)
	secret := s.until(d, harness.PhaseStable)
	prepared := 0.0
	for _, berth := range replicas {
		s.ready(berth)
		s.inOrder(berth, webhooks, secret)
		if _, err := harness.TrustedWith(t.Context(), berth.Admission.Address, secret.Data[harness.KeyBundle]); err != nil {
			t.Error(err)
		}
		steps, err := figure(t.Context(), berth, `berth_certificate_rotation_steps_total{step="Prepare"}`)
		if err == nil {
			prepared += steps
		}
	}
	if prepared != 1 {
		t.Errorf("%v authorities were made, want one", prepared)
	}
	must(t, harness.Eventually(t.Context(), "claims are created for a while", func(context.Context) error { return l.seen(50) }))
	l.check(t)
}

// TestRotationKeepsTheBundleInTheWebhooks has others write to the webhook configurations: who applies what a chart renders takes nothing out,
// and what somebody does take out comes back.
func TestRotationKeepsTheBundleInTheWebhooks(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "keeps", withoutBerth)
	d := s.diary()
	berth := s.replica("berth", "", rotationFlags(time.Hour, time.Minute)...)
	l, webhooks := s.under(berth)
	secret := s.until(d, harness.PhaseStable)
	api := s.Client().AdmissionregistrationV1().MutatingWebhookConfigurations()
	name := webhooks.MutateClaims.Name
	before, err := api.Get(t.Context(), name, metav1.GetOptions{})
	must(t, err)

	// What is applied has neither bundle nor condition; it is the applier's now, and ours is still ours.
	rendered, err := harness.Rendered(webhooks.MutateClaims)
	must(t, err)
	for range 2 {
		_, err = api.Patch(t.Context(), name, types.ApplyPatchType, rendered, metav1.PatchOptions{FieldManager: "chart", Force: new(true)})
		must(t, err)
	}
	after, err := api.Get(t.Context(), name, metav1.GetOptions{})
	must(t, err)
	if !bytes.Equal(after.Webhooks[0].ClientConfig.CABundle, secret.Data[harness.KeyBundle]) || len(after.Webhooks[0].MatchConditions) != 1 {
		t.Errorf("after an apply the webhook has %d conditions and the bundle %q", len(after.Webhooks[0].MatchConditions), after.Webhooks[0].ClientConfig.CABundle)
	}
	if before.Generation != after.Generation {
		t.Errorf("generation %d became %d: an apply of what is there already is no change", before.Generation, after.Generation)
	}

	// Who replaces the object takes everything out. Until that is mended the API server trusts nobody.
	l.during("the bundle was taken out", []string{"x509:"}, func() {
		replaced := after.DeepCopy()
		replaced.Webhooks = webhooks.MutateClaims.DeepCopy().Webhooks
		_, err := api.Update(t.Context(), replaced, metav1.UpdateOptions{FieldManager: "somebody"})
		must(t, err)
		s.carried(webhooks, secret)
		must(t, harness.Eventually(t.Context(), "claims are let in again", func(context.Context) error { return l.fine(10) }))
	})
	must(t, harness.Eventually(t.Context(), "the condition is back", func(ctx context.Context) error {
		mended, err := api.Get(ctx, name, metav1.GetOptions{})
		if err == nil && len(mended.Webhooks[0].MatchConditions) != 1 {
			err = fmt.Errorf("there are %d", len(mended.Webhooks[0].MatchConditions))
		}
		return err
	}))
	s.figured(berth, fmt.Sprintf(`berth_certificate_injections_total{configuration=%q,field="certs",result="written"}`, name), func(value float64) bool { return value >= 2 })
	s.figured(berth, fmt.Sprintf("berth_certificate_injected{configuration=%q}", name), is(1))
	s.inOrder(berth, webhooks, secret)
	l.check(t)
}
