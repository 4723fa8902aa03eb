package certs

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestFirstStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		follower := c.start(nil)
		told := make(heard, 1)
		follower.AddListener(told)
		after(time.Minute)
		if follower.Check(nil) == nil || follower.phase() != PhaseNone {
			t.Error("ready without an authority")
		}
		leader := c.start(nil)
		leader.lead()
		after(time.Second)
		for _, r := range []*replica{leader, follower} {
			if err := errors.Join(r.Check(nil), c.verify(r)); err != nil {
				t.Error(err)
			}
		}
		told.wait(t)
		if phase := c.state().Phase(); phase != PhaseTrusted {
			t.Errorf("phase %s", phase)
		}
		after(5 * time.Minute)
		state, secret := c.state(), c.secret()
		if state.Phase() != PhaseStable || secret.Type != corev1.SecretTypeOpaque || secret.Labels["app"] != "berth" {
			t.Errorf("%s, Secret %s %v", describeState(state), secret.Type, secret.Labels)
		}
		expires := float64(state.Current.Certificate.NotAfter.Unix())
		want := map[string]float64{
			"berth_certificate_expiry_timestamp_seconds authority":   expires,
			"berth_certificate_expiry_timestamp_seconds serving":     float64(leader.holding().expires.Unix()),
			"berth_certificate_injected berth":                       1,
			"berth_certificate_injections_total berth certs written": 2,
			"berth_certificate_rotation_phase none":                  0,
			"berth_certificate_rotation_phase prepared":              0,
			"berth_certificate_rotation_phase trusted":               0,
			"berth_certificate_rotation_phase switched":              0,
			"berth_certificate_rotation_phase stable":                1,
			"berth_certificate_rotation_steps_total Prepare":         1,
			"berth_certificate_rotation_steps_total Trust":           1,
			"berth_certificate_rotation_steps_total Switch":          1,
			"berth_certificate_signed_total":                         1,
		}
		got := figures(t, leader.registry)
		const last = "berth_certificate_last_injection_timestamp_seconds berth certs"
		if ago := float64(time.Now().Unix()) - got[last]; ago < 300 || ago > 302 {
			t.Errorf("the last injection is %v seconds ago", ago)
		}
		delete(got, last)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if got, want := leader.Name(), "self-managed by Secret storage/berth-certs"; got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	})
}

// Helm and kubectl own what the chart renders; nothing of it may change, nor its owner.
func TestOnlyTheBundleIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		before := c.mutating()
		r := c.start(nil)
		r.lead()
		after(10 * time.Minute)
		now := c.mutating()
		bundle := c.state().Bundle()
		want := before.DeepCopy()
		want.Webhooks[0].ClientConfig.CABundle = bundle
		want.ResourceVersion, want.ManagedFields, now.ManagedFields = now.ResourceVersion, nil, nil
		if diff := cmp.Diff(want, now); diff != "" {
			t.Error(diff)
		}
		owned := map[string]string{}
		for _, entry := range c.mutating().ManagedFields {
			owned[entry.Manager+" "+string(entry.Operation)] = string(entry.FieldsV1.GetRawBytes())
		}
		if got, want := owned["berth-certs Apply"], `{"f:webhooks":{"k:{\"name\":\"claims.berth\"}":{".":{},"f:clientConfig":{"f:caBundle":{}},"f:name":{}}}}`; got != want {
			t.Errorf("owned:\n%s\nwant:\n%s", got, want)
		}
		if len(owned) != 2 {
			t.Errorf("owners: %v", owned)
		}
		wantSent := fmt.Sprintf(`berth-certs {"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingWebhookConfiguration",`+
			`"metadata":{"name":"berth","uid":"1","resourceVersion":"2"},"webhooks":[{"name":"claims.berth","clientConfig":{"caBundle":%s}}]}`, base64Of(t, bundle))
		if diff := cmp.Diff(wantSent, c.applied()[0]); diff != "" {
			t.Error(diff)
		}
		if sent := len(c.applied()); sent != 2 {
			t.Errorf("%d writes to two configurations", sent)
		}
	})
}

func TestTwoLeadersAtOnceAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		replicas := []*replica{c.start(nil), c.start(nil)}
		for _, r := range replicas {
			r.lead()
		}
		for range 15 * 20 {
			after(3 * time.Minute)
			for _, r := range replicas {
				if err := c.verify(r); err != nil {
					t.Fatal(err)
				}
			}
		}
		if state := c.state(); state.Damage != "" || state.Current == nil {
			t.Error(describeState(state))
		}
	})
}

func TestWebhookConfigurationsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		r := c.start(nil)
		r.lead()
		after(10 * time.Minute)
		if phase := c.state().Phase(); phase != PhaseStable {
			t.Fatalf("phase %s without webhooks", phase)
		}
		c.install()
		after(time.Second)
		if err := c.verify(r); err != nil {
			t.Error(err)
		}
		if err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(t.Context(), "berth", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		after(10 * time.Hour)
		_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), "berth", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("what was deleted came back: %v", err)
		}
	})
}

// A configuration that is deleted just before it is written must not be made anew: it would be a webhook of nobody's.
func TestAWriteNeverMakesAConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		r := c.start(nil)
		i := newInjector(r.config.conditions(), r.metrics)
		gone := configuration{target: target{kindMutating, "berth"}, uid: "1", resourceVersion: "2", webhooks: []webhook{{name: "claims.berth"}}}
		i.writeBundle(t.Context(), []configuration{gone}, []byte("bundle"))
		if n := len(c.applied()); n != 1 {
			t.Errorf("%d writes", n)
		}
		if got := figures(t, r.registry)["berth_certificate_injections_total berth certs conflict"]; got != 1 {
			t.Errorf("%v conflicts", got)
		}
		list, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) > 0 {
			t.Errorf("%v, %v", list, err)
		}
	})
}

func TestABundleThatIsTakenOutComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		r := c.start(nil)
		r.lead()
		after(time.Hour)
		takeOut := func() {
			c.change(func(_ string, w *admissionregistrationv1.WebhookClientConfig) { w.CABundle = nil })
			after(time.Second)
		}
		for range 3 {
			takeOut()
			if err := c.verify(r); err != nil {
				t.Error("at first it comes back at once:", err)
			}
		}
		after(2 * contention)
		before := len(c.applied())
		for range 60 {
			takeOut()
		}
		if writes := len(c.applied()) - before; writes < 16 || writes > 24 {
			t.Errorf("%d writes to two configurations in a minute, in which somebody took the bundle out every second", writes)
		}
		after(contention)
		if err := c.verify(r); err != nil {
			t.Error(err)
		}
	})
}

func TestConflictsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		conflict := apierrors.NewConflict(schema.GroupResource{Resource: "mutatingwebhookconfigurations"}, "berth", errors.New("changed"))
		c.refuse("patch mutatingwebhookconfigurations", conflict)
		exists := apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, secretName)
		c.refuse("create secrets", exists)
		r := c.start(nil)
		r.lead()
		after(time.Second)
		c.refuse("create secrets", nil)
		after(2 * time.Second)
		c.refuse("patch mutatingwebhookconfigurations", nil)
		after(2 * time.Second)
		if err := c.verify(r); err != nil {
			t.Error(err)
		}
	})
}

// Without a permission the rest goes on, nothing switches behind the webhooks' backs, and the permission is used once it is there.
func TestMissingPermissions(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "", errors.New("not allowed"))
	tests := map[string]struct {
		missing string
		ready   bool // without it
		phase   Phase
	}{
		"to list webhook configurations":  {"list mutatingwebhookconfigurations", true, PhasePrepared},
		"to patch webhook configurations": {"patch validatingwebhookconfigurations", true, PhasePrepared},
		"to create the Secret":            {"create secrets", false, PhaseNone},
		"to read the Secret":              {"get secrets", false, PhaseNone},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.install()
				c.refuse(tt.missing, forbidden)
				r := c.start(nil)
				r.lead()
				after(time.Hour)
				if ready := r.Check(nil) == nil; ready != tt.ready {
					t.Errorf("ready: %v", ready)
				}
				if phase := r.phase(); phase != tt.phase {
					t.Errorf("phase %s, want %s", phase, tt.phase)
				}
				c.refuse(tt.missing, nil)
				after(10 * time.Minute)
				if phase := r.phase(); phase != PhaseStable {
					t.Errorf("phase %s with the permission", phase)
				}
				if err := c.verify(r); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The match condition has a field manager of its own.
func TestConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		expressions := map[string]string{"berth/claims.berth": "one", "berth/contents.berth": ""}
		r := c.start(func(config *SelfManagedConfig) {
			config.ConditionName = "classes"
			config.Condition = func(configuration, webhook string) string { return expressions[configuration+"/"+webhook] }
		})
		r.lead()
		after(time.Second)
		want := func(mutating, claims, contents []admissionregistrationv1.MatchCondition) {
			t.Helper()
			got := [][]admissionregistrationv1.MatchCondition{
				c.mutating().Webhooks[0].MatchConditions, c.validating().Webhooks[0].MatchConditions, c.validating().Webhooks[1].MatchConditions}
			if diff := cmp.Diff([][]admissionregistrationv1.MatchCondition{mutating, claims, contents}, got); diff != "" {
				t.Error(diff)
			}
			if err := c.verify(r); err != nil {
				t.Error(err)
			}
		}
		charts := admissionregistrationv1.MatchCondition{Name: "charts", Expression: "true"}
		one := admissionregistrationv1.MatchCondition{Name: "classes", Expression: "one"}
		two := admissionregistrationv1.MatchCondition{Name: "classes", Expression: "two"}
		list := func(conditions ...admissionregistrationv1.MatchCondition) []admissionregistrationv1.MatchCondition {
			return conditions
		}
		want(list(charts, one), list(one), nil)

		expressions["berth/claims.berth"], expressions["berth/contents.berth"] = "two", "two"
		r.Refresh()
		r.Refresh()
		after(time.Second)
		want(list(charts, two), list(two), list(two))

		clear(expressions)
		r.Refresh()
		after(time.Second)
		want(list(charts), nil, nil)

		writes := len(c.applied())
		r.Refresh()
		after(time.Hour)
		if n := len(c.applied()) - writes; n > 0 {
			t.Errorf("%d writes without a change", n)
		}
	})
}

// An API server refuses an expression that it cannot compile. The bundle gets there nevertheless.
func TestARefusedConditionDoesNotKeepTheBundleOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		c.refuse("apply berth-match", apierrors.NewInvalid(schema.GroupKind{Kind: kindMutating}, "berth", nil))
		r := c.start(func(config *SelfManagedConfig) {
			config.ConditionName, config.Condition = "classes", func(string, string) string { return "nonsense(" }
		})
		r.lead()
		after(time.Second)
		if err := c.verify(r); err != nil {
			t.Error(err)
		}
		if failed := figures(t, r.registry)["berth_certificate_injections_total berth match failed"]; failed == 0 {
			t.Error("nobody counted the refusals")
		}
	})
}
