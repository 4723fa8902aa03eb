package certs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

// SelfManaged serves with certificates that it signs itself. Every replica calls Run, and the leader Lead beside it.
type SelfManaged struct {
	listeners
	config  SelfManagedConfig
	secrets cache.SharedIndexInformer // of the one Secret
	metrics *metrics
	refresh refresh

	mu    sync.Mutex
	held  *leaf
	state State // as last read
}

// NewSelfManaged makes the self-managed source.
func NewSelfManaged(config SelfManagedConfig) (*SelfManaged, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("self-managed certificates: %w", err)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	s := &SelfManaged{
		config: config,
		secrets: logged(coreinformers.NewFilteredSecretInformer(config.Client, config.Namespace, 0, cache.Indexers{}, onlyNamed(config.SecretName)),
			"Secret", config.SecretName),
		metrics: newMetrics(config.Registry),
		refresh: make(refresh, 1),
	}
	config.Registry.MustRegister(&expiryCollector{s.expiries}, &phaseCollector{s.phase})
	return s, nil
}

// Name tells the Secret.
func (s *SelfManaged) Name() string {
	return fmt.Sprintf("self-managed by Secret %s/%s", s.config.Namespace, s.config.SecretName)
}

// CurrentCertKeyContent is the certificate and its key, in PEM.
func (s *SelfManaged) CurrentCertKeyContent() (certificate, key []byte) {
	if held := s.holding(); held != nil {
		return held.certificate, held.key
	}
	return nil, nil
}

// Check is an error until the first certificate is signed.
func (s *SelfManaged) Check(*http.Request) error {
	if s.holding() == nil {
		return errNoCertificate
	}
	return nil
}

// Refresh says that what Condition answers may have changed.
func (s *SelfManaged) Refresh() { s.refresh.say() }

func (s *SelfManaged) holding() *leaf {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// task is what there is to do, for the worker loops of this package.
type task string

const (
	taskCertificate task = "certificate" // this replica's
	taskAuthority   task = "authority"
	taskConditions  task = "match conditions"
)

// newLoop makes a worker loop for one task at a time.
func newLoop(name string, work func(context.Context, task) worker.Result) *worker.Loop[task] {
	return worker.New(worker.Config[task]{
		Name: name, Workers: 1, BackoffStart: 250 * time.Millisecond, BackoffMax: 30 * time.Second, Grace: 5 * time.Second, Work: work,
	})
}

// Run watches the Secret and signs, until ctx ends. It goes on with what it knows while the API server is away.
func (s *SelfManaged) Run(ctx context.Context) error {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithName("certificates"))
	loop := newLoop("certificate", s.keepCertificate)
	if _, err := s.secrets.AddEventHandler(wakes(loop, taskCertificate)); err != nil {
		return fmt.Errorf("watch Secret %s/%s: %w", s.config.Namespace, s.config.SecretName, err)
	}
	var watching sync.WaitGroup
	watching.Go(func() { s.secrets.RunWithContext(ctx) })
	loop.Enqueue(taskCertificate)
	loop.Run(ctx)
	watching.Wait()
	return nil
}

// keepCertificate signs a new certificate if it is time to.
func (s *SelfManaged) keepCertificate(ctx context.Context, _ task) worker.Result {
	now, state, held := s.config.Now(), s.stored(), s.holding()
	next := s.config.Periods.recheck()
	signer := chooseSigner(held, state, now)
	if signer == nil {
		s.publish(state, held)
		if held != nil && held.renew.After(now) {
			next = min(next, held.renew.Sub(now))
		}
		return worker.After(next)
	}
	signed, err := signer.sign(signing{
		names: s.config.Names, now: now, periods: s.config.Periods,
		jitter: rand.Float64(), //nolint:gosec // not a secret
	})
	if err != nil {
		return worker.Backoff(err)
	}
	s.publish(state, signed)
	s.metrics.signed.Inc()
	klog.FromContext(ctx).Info("Signed a serving certificate", "authority", signer.Certificate.Subject.CommonName,
		"phase", state.Phase(), "expires", signed.expires)
	s.tell()
	return worker.After(next)
}

// stored is the state as the watch last saw it.
func (s *SelfManaged) stored() State {
	object, exists, err := s.secrets.GetStore().GetByKey(s.config.Namespace + "/" + s.config.SecretName)
	if err != nil || !exists {
		return State{}
	}
	return decode(object.(*corev1.Secret).Data)
}

func (s *SelfManaged) publish(state State, held *leaf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.held = state, held
}

func (s *SelfManaged) phase() Phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Phase()
}

func (s *SelfManaged) expiries() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]time.Time{}
	if s.held != nil {
		all[certificateServing] = s.held.expires
	}
	if s.state.Current != nil {
		all[certificateAuthority] = s.state.Current.Certificate.NotAfter
	}
	if s.state.Next != nil {
		all[certificateNext] = s.state.Next.Certificate.NotAfter
	}
	return all
}
