package provisioner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	recordutil "k8s.io/client-go/tools/record/util"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

const (
	recorderWorkers = 8
	// burst is the number of objects being written from which on news of success can wait, deferral how long at most, and
	// deferralStep how often it asks. When many claims come at once the API server is what they wait for, and a volume is
	// worth more than the news of another one. One person with one claim never waits.
	burst        = 2
	deferral     = 5 * time.Second
	deferralStep = 100 * time.Millisecond
	// maxPendingEvents bounds the memory of events that wait for an API server that is away.
	maxPendingEvents = 10_000
	// maxEventMessage is the limit that the API server sets for events.k8s.io.
	maxEventMessage = 1024
	// flushTimeout is how long a stop waits for events that are on their way.
	flushTimeout = 3 * time.Second
)

// recorder writes events. Unlike client-go's broadcaster, whose single writer drops events once a thousand wait, it has a few
// writers and loses none in a burst; what to merge, count or hold back is still decided by client-go's correlator, so a
// claim that fails again and again has one event with a count.
type recorder struct {
	client     kubernetes.Interface
	source     corev1.EventSource
	correlator *record.EventCorrelator
	loop       *worker.Loop[uint64]
	load       func() int // objects being written
	dropped    func()
	now        func() time.Time

	mu      sync.Mutex
	next    uint64
	stamp   int64 // of the last event's name
	pending map[uint64]*pendingEvent
	idle    chan struct{} // closed when nothing is pending; nil while nobody waits
}

// pendingEvent is an event until it is written. What the correlator made of it is kept, because asking it again counts the event again.
type pendingEvent struct {
	event     *corev1.Event
	recorded  time.Time
	result    *record.EventCorrelateResult // nil: not asked yet
	forbidden int                          // refusals so far
}

// maxForbidden is how often a refusal is not believed: an API server that has just started refuses everything until it has read
// its roles.
const maxForbidden = 5

func newRecorder(client kubernetes.Interface, component, host string, load func() int, dropped func()) *recorder {
	r := &recorder{
		client:     client,
		source:     corev1.EventSource{Component: component, Host: host},
		correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{}),
		load:       load,
		dropped:    dropped,
		now:        time.Now,
		pending:    map[uint64]*pendingEvent{},
	}
	r.loop = worker.New(worker.Config[uint64]{
		Name: "events", Workers: recorderWorkers, Grace: time.Second,
		BackoffStart: 500 * time.Millisecond, BackoffMax: 30 * time.Second,
		Work: r.write, Limit: callLimits * apiTimeout,
	})
	return r
}

// record queues an event. It never blocks.
func (r *recorder) record(about *corev1.ObjectReference, eventType, reason, message string) {
	now := metav1.NewTime(r.now())
	namespace := about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where events of cluster-scoped objects are kept
	}
	if len(message) > maxEventMessage {
		message = strings.ToValidUTF8(message[:maxEventMessage-3], "") + "..."
	}
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace},
		InvolvedObject: *about,
		Reason:         reason, Message: message, Type: eventType,
		Source:         r.source,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: r.source.Component, ReportingInstance: r.source.Host,
	}
	r.mu.Lock()
	if len(r.pending) >= maxPendingEvents {
		r.mu.Unlock()
		r.dropped()
		return
	}
	r.stamp = max(now.UnixNano(), r.stamp+1) // two events of one moment need two names
	event.Name = recordutil.GenerateEventName(about.Name, r.stamp)
	r.next++
	id := r.next
	r.pending[id] = &pendingEvent{event: event, recorded: now.Time}
	r.mu.Unlock()
	r.loop.Enqueue(id)
}

// write sends one event, as a new object or as one more occurrence of one that is there.
func (r *recorder) write(ctx context.Context, id uint64) worker.Result {
	r.mu.Lock()
	entry := r.pending[id]
	r.mu.Unlock()
	if entry == nil {
		return worker.Done()
	}
	if entry.event.Reason == ReasonProvisioningSucceeded && r.load() >= burst && r.now().Sub(entry.recorded) < deferral {
		return worker.After(deferralStep)
	}
	err := r.correlate(entry)
	if err == nil && !entry.result.Skip {
		err = r.send(ctx, entry.result)
	}
	if r.retries(entry, err) {
		return worker.Backoff(fmt.Errorf("write event %s for %s: %w", entry.event.Reason, entry.event.InvolvedObject.Name, err))
	}
	if err != nil {
		r.dropped()
		klog.FromContext(ctx).Info("Event not written", "reason", entry.event.Reason, "object", entry.event.InvolvedObject.Name,
			"namespace", entry.event.InvolvedObject.Namespace, "err", err)
	}
	r.forget(id)
	return worker.Done()
}

func (r *recorder) correlate(entry *pendingEvent) (err error) {
	if entry.result == nil {
		entry.result, err = r.correlator.EventCorrelate(entry.event)
	}
	return err
}

// retries tells a passing failure from an answer: the API server refuses an event for good if its namespace is being deleted or our
// role does not allow it, and there is nobody to tell.
func (r *recorder) retries(entry *pendingEvent, err error) bool {
	switch {
	case err == nil, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return false
	case apierrors.IsForbidden(err):
		entry.forbidden++
		return entry.forbidden < maxForbidden
	}
	return passing(err)
}

// passing reports whether an error is no answer of the API server, or one that will change by itself.
func passing(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	code := status.Status().Code
	return code == 0 || code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
}

func (r *recorder) send(ctx context.Context, result *record.EventCorrelateResult) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	events := r.client.CoreV1().Events(result.Event.Namespace)
	var written *corev1.Event
	var err error
	if result.Event.Count > 1 {
		written, err = events.Patch(ctx, result.Event.Name, types.StrategicMergePatchType, result.Patch, metav1.PatchOptions{})
		if apierrors.IsNotFound(err) { // it expired meanwhile
			result.Event.ResourceVersion = ""
			written, err = events.Create(ctx, result.Event, metav1.CreateOptions{})
		}
	} else {
		written, err = events.Create(ctx, result.Event, metav1.CreateOptions{})
	}
	if apierrors.IsAlreadyExists(err) { // an earlier try that we did not hear of
		return nil
	}
	if err != nil {
		return err
	}
	r.correlator.UpdateState(written)
	return nil
}

func (r *recorder) forget(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pending, id)
	if len(r.pending) == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// flush waits until every event is written, for as long as flushTimeout.
func (r *recorder) flush() {
	r.mu.Lock()
	if len(r.pending) == 0 {
		r.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	r.idle = idle
	r.mu.Unlock()
	timer := time.NewTimer(flushTimeout)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
