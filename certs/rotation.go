package certs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

// rotation is the leader's part, for one term.
type rotation struct {
	*SelfManaged
	injector *injector
}

const (
	// lookAgain is the pause after a step.
	lookAgain = 50 * time.Millisecond
	// patience is how long a new leader waits to see the webhook configurations before it goes on without.
	patience = 5 * time.Second
)

// Lead keeps the authorities and the webhook configurations until ctx ends. Only the leader may call it: two at a time do not harm, but get
// in each other's way.
func (s *SelfManaged) Lead(ctx context.Context) error {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithName("certificates"))
	r := &rotation{SelfManaged: s, injector: newInjector(s.config.conditions(), s.metrics)}
	loop := newLoop("authority", r.work)
	registration, err := s.secrets.AddEventHandler(wakes(loop, taskAuthority))
	if err != nil {
		return fmt.Errorf("watch Secret %s/%s: %w", s.config.Namespace, s.config.SecretName, err)
	}
	defer s.secrets.RemoveEventHandler(registration) //nolint:errcheck // at the end of the process, at the latest
	if err := r.injector.onChange(wakes(loop, taskAuthority, taskConditions)); err != nil {
		return err
	}
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { r.injector.watch(ctx) })
	others.Go(func() { s.refresh.passOn(ctx, loop) })
	seen, cancel := context.WithTimeout(ctx, patience)
	cache.WaitForCacheSync(seen.Done(), r.injector.synced)
	cancel()
	loop.Enqueue(taskAuthority)
	loop.Enqueue(taskConditions)
	loop.Run(ctx)
	return nil
}

func (r *rotation) work(ctx context.Context, t task) worker.Result {
	if t == taskConditions {
		return r.injector.writeConditions(ctx)
	}
	return r.rotate(ctx)
}

// rotate takes one step.
func (r *rotation) rotate(ctx context.Context) worker.Result {
	known := r.injector.synced()
	configurations := r.injector.configurations() // before the Secret: see Facts.Webhooks
	secret, err := r.read(ctx)
	if err != nil {
		return worker.Backoff(err)
	}
	facts := Facts{Now: r.config.Now(), Stored: decode(dataOf(secret)), Periods: r.config.Periods, Webhooks: bundles(configurations), Known: known}
	r.injector.measure(configurations, facts.Stored.Bundle())
	action := Decide(facts)
	switch action := action.(type) {
	case Prepare:
		if action.State.Next, err = newAuthority(facts.Now, facts.Periods); err != nil {
			return worker.Backoff(err)
		}
		return r.store(ctx, secret, facts.Stored.Damage, Store{action.State, StepPrepare})
	case Store:
		return r.store(ctx, secret, facts.Stored.Damage, action)
	case Inject:
		return r.injector.writeBundle(ctx, configurations, action.Bundle)
	case Wait:
		return worker.After(min(max(action.Until.Sub(facts.Now), lookAgain), facts.Periods.recheck()))
	}
	return worker.Backoff(fmt.Errorf("do not know how to do %T", action))
}

func dataOf(secret *corev1.Secret) map[string][]byte {
	if secret == nil {
		return nil
	}
	return secret.Data
}

// read reads the Secret itself, not the cache: a step must never be taken on what an earlier one has changed. nil: there is none.
func (r *rotation) read(ctx context.Context) (*corev1.Secret, error) {
	secret, err := r.config.Client.CoreV1().Secrets(r.config.Namespace).Get(ctx, r.config.SecretName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // documented: there is none
	case err != nil:
		return nil, fmt.Errorf("read Secret %s/%s: %w", r.config.Namespace, r.config.SecretName, err)
	}
	return secret, nil
}

// store writes the state, if the Secret still is as it was read. Else somebody was faster, and everything is looked at anew.
func (r *rotation) store(ctx context.Context, secret *corev1.Secret, damage string, step Store) worker.Result {
	err := r.write(ctx, secret, step.State)
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), secret != nil && apierrors.IsNotFound(err):
		return worker.After(stale)
	case err != nil:
		return worker.Backoff(fmt.Errorf("write Secret %s/%s: %w", r.config.Namespace, r.config.SecretName, err))
	}
	r.metrics.steps.WithLabelValues(string(step.Why)).Inc()
	logger := klog.FromContext(ctx)
	if damage != "" {
		logger.Error(errors.New(damage), "The Secret of the authorities could not be read and is mended", "secret", klog.KObj(secret))
	}
	logger.Info("Changed the authorities", "step", step.Why, "phase", step.State.Phase(),
		"secret", klog.KRef(r.config.Namespace, r.config.SecretName))
	return worker.After(lookAgain)
}

func (r *rotation) write(ctx context.Context, read *corev1.Secret, state State) error {
	data, err := state.encode(dataOf(read))
	if err != nil {
		return err
	}
	secrets := r.config.Client.CoreV1().Secrets(r.config.Namespace)
	manager := r.injector.manager(fieldBundle)
	if read != nil {
		changed := read.DeepCopy()
		changed.Data = data
		_, err = secrets.Update(ctx, changed, metav1.UpdateOptions{FieldManager: manager})
		return err
	}
	_, err = secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.config.Namespace, Name: r.config.SecretName, Labels: r.config.SecretLabels},
		Type:       corev1.SecretTypeOpaque, // a kubernetes.io/tls Secret is one certificate with its key
		Data:       data,
	}, metav1.CreateOptions{FieldManager: manager})
	return err
}
