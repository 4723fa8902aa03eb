package certs

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

// keptConditions starts a keeper of conditions, which the returned function changes the classes of.
func (c *cluster) keptConditions(expression string) (conditions *Conditions, change func(string)) {
	c.t.Helper()
	var mu sync.Mutex
	kept, err := NewConditions(ConditionsConfig{
		Client: c, Mutating: []string{"berth"}, Validating: []string{"berth"}, FieldManager: "berth", ConditionName: "classes",
		Condition: func(string, string) string {
			mu.Lock()
			defer mu.Unlock()
			return expression
		},
		Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), ktesting.NewLogger(c.t, ktesting.NewConfig())))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := kept.Lead(ctx); err != nil {
			c.t.Error(err)
		}
	}()
	c.t.Cleanup(func() {
		cancel()
		<-ended
	})
	return kept, func(to string) {
		mu.Lock()
		expression = to
		mu.Unlock()
		kept.Refresh()
	}
}

// expressions are the conditions named "classes" of all webhooks; empty: the webhook has none.
func (c *cluster) expressions() []string {
	c.t.Helper()
	var all []string
	find := func(conditions []admissionregistrationv1.MatchCondition) {
		all = append(all, webhook{conditions: conditions}.expression("classes"))
	}
	for _, w := range c.mutating().Webhooks {
		find(w.MatchConditions)
	}
	for _, w := range c.validating().Webhooks {
		find(w.MatchConditions)
	}
	return all
}

func (c *cluster) wantExpressions(want string) {
	c.t.Helper()
	synctest.Wait()
	for n, got := range c.expressions() {
		if got != want {
			c.t.Errorf("the condition of webhook %d is %q, want %q", n, got, want)
		}
	}
}

// TestConditionsAreKeptBesideSomebodyElsesCertificate: classes come and go, somebody takes the condition out, and caBundle is never touched.
func TestConditionsAreKeptBesideSomebodyElsesCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.install()
		theirs := []byte("somebody else's")
		c.change(func(_ string, w *admissionregistrationv1.WebhookClientConfig) { w.CABundle = theirs })
		_, classes := c.keptConditions("one")
		after(time.Second)
		c.wantExpressions("one")

		classes("one, two")
		after(time.Second)
		c.wantExpressions("one, two")

		mutating := c.mutating()
		mutating.Webhooks[0].MatchConditions = nil
		if err := c.Tracker().Update(admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations"), mutating, ""); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		c.wantExpressions("one, two")

		classes("") // nobody wants it any more
		after(time.Second)
		c.wantExpressions("")
		for n, bundle := range c.bundles() {
			if !bytes.Equal(bundle, theirs) {
				t.Errorf("the bundle of webhook %d is %q, which somebody else keeps", n, bundle)
			}
		}
	})
}

// TestConditionsWaitForTheWebhooks: a chart may make them after the process has started.
func TestConditionsWaitForTheWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.keptConditions("one")
		after(time.Hour)
		c.install()
		after(time.Second)
		c.wantExpressions("one")
	})
}

func TestConditionsNeedToBeKnown(t *testing.T) {
	for name, config := range map[string]ConditionsConfig{
		"nobody knows them":   {FieldManager: "berth", ConditionName: "classes"},
		"they have no name":   {FieldManager: "berth", Condition: func(string, string) string { return "" }},
		"nobody writes them":  {ConditionName: "classes", Condition: func(string, string) string { return "" }},
		"nothing is said yet": {},
	} {
		if _, err := NewConditions(config); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
