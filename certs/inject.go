package certs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	admissioninformers "k8s.io/client-go/informers/admissionregistration/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

// field is what is written, each by a field manager of its own.
type field string

const (
	fieldBundle    field = "certs"
	fieldCondition field = "match"
)

// injector writes to webhook configurations what belongs to us in them, and only if it is not there. A configuration that does not exist is
// not missed, and never made: it is the chart's.
type injector struct {
	config    ConditionsConfig // Condition may be nil here
	metrics   *metrics
	targets   []target
	informers []cache.SharedIndexInformer // of one configuration each, in the order of targets

	// written is what was written last. The worker loop has one worker, so nothing else reads it.
	written map[writtenKey]written
}

type writtenKey struct {
	target target
	field  field
}

type written struct {
	webhooks string // as they were in the patch
	at       time.Time
	pause    time.Duration // before the very same is written again
}

const (
	// firstPause is the pause before the very same thing is written again: somebody took it out, and webhooks fail until it is back.
	// It doubles each time.
	firstPause = 250 * time.Millisecond
	// contention is the longest of these pauses: somebody keeps taking it out. After twice as long without that, all begins anew.
	contention = 10 * time.Second
	// stale is the pause after a conflict: usually the event that tells of the newer version comes first.
	stale = time.Second
)

func newInjector(config ConditionsConfig, metrics *metrics) *injector {
	i := &injector{config: config, metrics: metrics, written: map[writtenKey]written{}}
	watch := func(t target, informer cache.SharedIndexInformer) {
		i.targets = append(i.targets, t)
		i.informers = append(i.informers, logged(informer, t.kind, t.name))
	}
	for _, name := range config.Mutating {
		watch(target{kindMutating, name},
			admissioninformers.NewFilteredMutatingWebhookConfigurationInformer(config.Client, 0, cache.Indexers{}, onlyNamed(name)))
	}
	for _, name := range config.Validating {
		watch(target{kindValidating, name},
			admissioninformers.NewFilteredValidatingWebhookConfigurationInformer(config.Client, 0, cache.Indexers{}, onlyNamed(name)))
	}
	return i
}

// manager is the name of the field manager of a field.
func (i *injector) manager(f field) string { return i.config.FieldManager + "-" + string(f) }

func (i *injector) onChange(handler cache.ResourceEventHandler) error {
	for n, informer := range i.informers {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("watch %s %s: %w", i.targets[n].kind, i.targets[n].name, err)
		}
	}
	return nil
}

// watch returns when ctx has ended and all watches with it.
func (i *injector) watch(ctx context.Context) {
	var group sync.WaitGroup
	for _, informer := range i.informers {
		group.Go(func() { informer.RunWithContext(ctx) })
	}
	group.Wait()
}

// synced reports whether all configurations were looked for.
func (i *injector) synced() bool {
	for _, informer := range i.informers {
		if !informer.HasSynced() {
			return false
		}
	}
	return true
}

// configurations are those that exist.
func (i *injector) configurations() []configuration {
	var all []configuration
	for n, informer := range i.informers {
		object, exists, err := informer.GetStore().GetByKey(i.targets[n].name)
		if err == nil && exists {
			all = append(all, readConfiguration(i.targets[n], object))
		}
	}
	return all
}

func (i *injector) measure(configurations []configuration, bundle []byte) {
	for _, c := range configurations {
		value := 0.0
		if c.carries(bundle) {
			value = 1
		}
		i.metrics.injected.WithLabelValues(c.target.name).Set(value)
	}
}

// writeBundle writes the bundle where it is not.
func (i *injector) writeBundle(ctx context.Context, configurations []configuration, bundle []byte) worker.Result {
	var patches []patch
	for _, c := range configurations {
		if c.carries(bundle) {
			continue
		}
		p := newPatch(c)
		for _, w := range c.webhooks {
			p.Webhooks = append(p.Webhooks, webhookPatch{Name: w.name, ClientConfig: &clientConfigPatch{CABundle: bundle}})
		}
		patches = append(patches, p)
	}
	return i.apply(ctx, fieldBundle, patches)
}

// writeConditions writes the conditions where they are not as they should be.
func (i *injector) writeConditions(ctx context.Context) worker.Result {
	if i.config.Condition == nil {
		return worker.Done()
	}
	if !i.synced() {
		return worker.After(stale)
	}
	var patches []patch
	for _, c := range i.configurations() {
		p, differs := newPatch(c), false
		for _, w := range c.webhooks {
			wanted := i.config.Condition(c.target.name, w.name)
			differs = differs || wanted != w.expression(i.config.ConditionName)
			if wanted != "" { // what we do not name any more, server-side apply takes out
				p.Webhooks = append(p.Webhooks, webhookPatch{Name: w.name,
					MatchConditions: []admissionregistrationv1.MatchCondition{{Name: i.config.ConditionName, Expression: wanted}}})
			}
		}
		if differs {
			patches = append(patches, p)
		}
	}
	return i.apply(ctx, fieldCondition, patches)
}

// apply applies patches. One that fails does not keep the others from being tried.
func (i *injector) apply(ctx context.Context, f field, patches []patch) worker.Result {
	var problems []error
	again := time.Duration(0)
	for _, p := range patches {
		wait, err := i.applyOne(ctx, f, p)
		if err != nil {
			problems = append(problems, err)
		}
		if again == 0 || wait > 0 && wait < again {
			again = wait
		}
	}
	if len(problems) > 0 {
		return worker.Backoff(errors.Join(problems...))
	}
	return worker.After(again)
}

// applyOne applies a patch, and returns when to look again if nothing happens before.
func (i *injector) applyOne(ctx context.Context, f field, p patch) (time.Duration, error) {
	key := writtenKey{p.target(), f}
	webhooks, err := json.Marshal(p.Webhooks)
	if err != nil {
		return 0, fmt.Errorf("encode the webhooks of %s %s: %w", p.Kind, p.Metadata.Name, err)
	}
	pause := firstPause
	if last := i.written[key]; last.webhooks == string(webhooks) {
		since := time.Since(last.at)
		if since < last.pause {
			return last.pause - since, nil
		}
		if since < 2*contention {
			pause = min(2*last.pause, contention)
		}
	}
	count := func(result string) { i.metrics.injections.WithLabelValues(key.target.name, string(f), result).Inc() }
	err = i.send(ctx, f, p)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		count(resultConflict)
		return stale, nil
	case err != nil:
		count(resultFailed)
		return 0, fmt.Errorf("apply %s of %s %s: %w", f, p.Kind, p.Metadata.Name, err)
	}
	count(resultWritten)
	i.metrics.lastInjected.WithLabelValues(key.target.name, string(f)).SetToCurrentTime()
	i.written[key] = written{string(webhooks), time.Now(), pause}
	klog.FromContext(ctx).Info("Wrote to a webhook configuration", "kind", p.Kind, "configuration", p.Metadata.Name, "field", f)
	return pause, nil
}

func (i *injector) send(ctx context.Context, f field, p patch) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	api := i.config.Client.AdmissionregistrationV1()
	options := metav1.PatchOptions{FieldManager: i.manager(f), Force: new(true)}
	switch p.Kind {
	case kindMutating:
		_, err = api.MutatingWebhookConfigurations().Patch(ctx, p.Metadata.Name, types.ApplyPatchType, body, options)
	case kindValidating:
		_, err = api.ValidatingWebhookConfigurations().Patch(ctx, p.Metadata.Name, types.ApplyPatchType, body, options)
	}
	return err
}
