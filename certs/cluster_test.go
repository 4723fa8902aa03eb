package certs

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

// cluster is an API server that keeps UIDs and versions, and refuses a write to another version or object than the one that is there,
// which the fake clientset does not.
type cluster struct {
	*fake.Clientset
	t *testing.T

	mu      sync.Mutex
	version int
	refused map[string]error // by verb and resource, or "apply" and field manager
	sent    []string         // server-side applies: manager and body
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Clientset: fake.NewClientset(), t: t, refused: map[string]error{}}
	c.PrependReactor("*", "*", c.react)
	return c
}

// refuse answers what is asked with an error from now on; nil: not any more.
func (c *cluster) refuse(request string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[request] = err
}

func (c *cluster) applied() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

func (c *cluster) next() string {
	c.version++
	return strconv.Itoa(c.version)
}

func (c *cluster) react(action clienttesting.Action) (handled bool, object runtime.Object, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refused[action.GetVerb()+" "+action.GetResource().Resource]; err != nil {
		return true, nil, err
	}
	switch a := action.(type) {
	case clienttesting.CreateActionImpl:
		created := c.metaOf(a.Object)
		created.SetUID(types.UID(c.next()))
		created.SetResourceVersion(c.next())
	case clienttesting.UpdateActionImpl:
		updated := c.metaOf(a.Object)
		if err := c.precondition(action, updated.GetName(), updated.GetUID(), updated.GetResourceVersion()); err != nil {
			return true, nil, err
		}
		updated.SetResourceVersion(c.next())
	case clienttesting.PatchActionImpl:
		return c.apply(a)
	}
	return false, nil, nil
}

func (c *cluster) metaOf(object runtime.Object) metav1.Object {
	accessor, err := meta.Accessor(object)
	if err != nil {
		c.t.Error(err)
	}
	return accessor
}

// precondition compares what a writer believes to write to with what there is.
func (c *cluster) precondition(action clienttesting.Action, name string, uid types.UID, version string) error {
	resource := action.GetResource().GroupResource()
	live, err := c.Tracker().Get(action.GetResource(), action.GetNamespace(), name)
	if err != nil {
		if uid != "" && action.GetVerb() == "patch" {
			return apierrors.NewConflict(resource, name, fmt.Errorf("uid mismatch: there is no %s", name))
		}
		return err
	}
	if m := c.metaOf(live); uid != "" && uid != m.GetUID() || version != "" && version != m.GetResourceVersion() {
		return apierrors.NewConflict(resource, name, fmt.Errorf("version %s, not %s", m.GetResourceVersion(), version))
	}
	return nil
}

func (c *cluster) apply(action clienttesting.PatchActionImpl) (bool, runtime.Object, error) {
	var sent metav1.PartialObjectMetadata
	if err := json.Unmarshal(action.Patch, &sent); err != nil {
		return true, nil, apierrors.NewBadRequest(err.Error())
	}
	c.sent = append(c.sent, action.PatchOptions.FieldManager+" "+string(action.Patch))
	if err := c.refused["apply "+action.PatchOptions.FieldManager]; err != nil {
		return true, nil, err
	}
	if err := c.precondition(action, action.Name, sent.UID, sent.ResourceVersion); err != nil {
		return true, nil, err
	}
	_, object, err := clienttesting.ObjectReaction(c.Tracker())(action)
	if err != nil {
		return true, nil, err
	}
	c.metaOf(object).SetResourceVersion(c.next())
	return true, object, c.Tracker().Update(action.Resource, object, "")
}

// Names in the cluster.
const (
	namespace  = "storage"
	secretName = "berth-certs"
	host       = "berth.storage.svc"
)

// install makes the webhook configurations as a chart would.
func (c *cluster) install() {
	c.t.Helper()
	fail, none := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone
	client := admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: namespace, Name: "berth"}}
	static := []admissionregistrationv1.MatchCondition{{Name: "charts", Expression: "true"}}
	_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(c.t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "berth", Labels: map[string]string{"chart": "berth"}},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "claims.berth", ClientConfig: client, FailurePolicy: &fail, SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"}, MatchConditions: static}},
	}, metav1.CreateOptions{FieldManager: "helm"})
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(c.t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "berth"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{
			{Name: "claims.berth", ClientConfig: client, FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}},
			{Name: "contents.berth", ClientConfig: client, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}},
		},
	}, metav1.CreateOptions{FieldManager: "helm"})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) mutating() *admissionregistrationv1.MutatingWebhookConfiguration {
	c.t.Helper()
	read, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(c.t.Context(), "berth", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return read
}

func (c *cluster) validating() *admissionregistrationv1.ValidatingWebhookConfiguration {
	c.t.Helper()
	read, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(c.t.Context(), "berth", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return read
}

// bundles are those of all webhooks.
func (c *cluster) bundles() [][]byte {
	c.t.Helper()
	var all [][]byte
	for _, w := range c.mutating().Webhooks {
		all = append(all, w.ClientConfig.CABundle)
	}
	for _, w := range c.validating().Webhooks {
		all = append(all, w.ClientConfig.CABundle)
	}
	return all
}

// secret is the authorities' Secret; nil: there is none.
func (c *cluster) secret() *corev1.Secret {
	c.t.Helper()
	secret, err := c.CoreV1().Secrets(namespace).Get(c.t.Context(), secretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return secret
}

func (c *cluster) state() State {
	c.t.Helper()
	return decode(dataOf(c.secret()))
}

// keep stores a state as if an earlier leader had, and has the webhooks trust its bundle.
func (c *cluster) keep(state State) {
	c.t.Helper()
	_, err := c.CoreV1().Secrets(namespace).Create(c.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: secretName}, Data: mustEncode(c.t, state, nil),
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.change(func(_ string, w *admissionregistrationv1.WebhookClientConfig) { w.CABundle = state.Bundle() })
}

// change edits all webhooks, as kubectl would.
func (c *cluster) change(edit func(name string, w *admissionregistrationv1.WebhookClientConfig)) {
	c.t.Helper()
	mutating, validating := c.mutating(), c.validating()
	for n := range mutating.Webhooks {
		edit(mutating.Webhooks[n].Name, &mutating.Webhooks[n].ClientConfig)
	}
	for n := range validating.Webhooks {
		edit(validating.Webhooks[n].Name, &validating.Webhooks[n].ClientConfig)
	}
	options := metav1.UpdateOptions{FieldManager: "kubectl"}
	if _, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(c.t.Context(), mutating, options); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Update(c.t.Context(), validating, options); err != nil {
		c.t.Fatal(err)
	}
}

// replica is one process.
type replica struct {
	*SelfManaged
	t        *testing.T
	registry *prometheus.Registry
}

// start starts a replica that does not lead.
func (c *cluster) start(change func(*SelfManagedConfig)) *replica {
	c.t.Helper()
	r := &replica{t: c.t, registry: prometheus.NewRegistry()}
	config := SelfManagedConfig{
		Client: c, Namespace: namespace, SecretName: secretName, SecretLabels: map[string]string{"app": "berth"}, Names: []string{host},
		Mutating: []string{"berth"}, Validating: []string{"berth"}, FieldManager: "berth", Periods: shortPeriods(), Registry: r.registry,
	}
	if change != nil {
		change(&config)
	}
	var err error
	if r.SelfManaged, err = NewSelfManaged(config); err != nil {
		c.t.Fatal(err)
	}
	r.runUntilTheEnd(r.Run)
	return r
}

// lead has the replica lead until the test ends, or until stop is called.
func (r *replica) lead() (stop func()) { return r.runUntilTheEnd(r.Lead) }

func (r *replica) runUntilTheEnd(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), ktesting.NewLogger(r.t, ktesting.NewConfig())))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx); err != nil {
			r.t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	r.t.Cleanup(stop)
	return stop
}

// verify checks what a replica serves against what every webhook trusts at this moment.
func (c *cluster) verify(r *replica) error {
	certificate, _ := r.CurrentCertKeyContent()
	parsed, err := parseCertificates(certificate)
	if err != nil {
		return err
	}
	for n, bundle := range c.bundles() {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(bundle)
		if _, err := parsed[0].Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: r.config.Now()}); err != nil {
			return fmt.Errorf("webhook %d: %w", n, err)
		}
	}
	return nil
}

// after lets time pass, and everything come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
