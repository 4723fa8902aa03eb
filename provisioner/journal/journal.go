package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"
)

const (
	// window is the longest that an entry waits for others to share its write with. It only waits while many come: a single claim never does.
	window = 250 * time.Millisecond
	// quiet is the number of entries in the last second up to which none waits: somebody who makes a claim, waits for it and makes the
	// next comes to 20 and more. Above it, a write waits for share of the number that came in the
	// last second, or for largestBatch: ten and more at 50 a second.
	quiet        = 30
	share        = 5
	largestBatch = 20
	// tidyAfter is how long forgotten entries wait for company before they are taken out by themselves.
	tidyAfter = time.Minute
	// flushTimeout bounds the last write.
	flushTimeout = 5 * time.Second
	// retryStart and retryMax are the pauses after a write that failed.
	retryStart = 50 * time.Millisecond
	retryMax   = 5 * time.Second
)

// Config describes a Journal.
type Config struct {
	ConfigMaps corev1client.ConfigMapInterface // of the namespace that the journal is in
	Name       string                          // of its first page; further ones are numbered
	Holder     string                          // of this leader's term, never used again
	// Label is the value of the label of all pages, which several journals may have in common; empty: the name.
	Label string
	// Node is what the journal is of, where each node has one, and Owner the node's object, with which pages without entries go. Both may be left out.
	Node  string
	Owner *metav1.OwnerReference
	// Observe hears of each write: how many entries it carried, how long it took, and what came of it. May be nil.
	Observe func(entries int, took time.Duration, err error)
	// Degraded hears that nothing is recorded from now on, and why. May be nil.
	Degraded func(error)
}

// Journal is the record of one leader's term. New, then Load, then Run while Record and Forget are called.
type Journal struct {
	config Config

	mu       sync.Mutex
	recorded map[types.UID]record // what is to be on record
	adds     map[types.UID]*addition
	removes  map[types.UID]bool // forgotten, and still there
	leaving  map[types.UID]bool // the removes that are being written
	degraded string             // why nothing is recorded; empty: all is well
	hoping   bool               // the next entry is to try again
	deposed  error              // another leader has taken over: nothing may be recorded, and nothing done
	wake     chan struct{}      // there is something to write
	arrivals arrivals

	pages []*page      // used by Load and then by the writer alone
	mark  mark         // the same
	since atomic.Int64 // when the writer began what it does now, in Unix nanoseconds; 0: it waits for something to write, or for the API server
}

// record is an entry that is not forgotten.
type record struct {
	page   string // that it is on; empty: it is not written yet
	packed []byte // kept for the case that somebody deletes the page by hand
}

// addition is an entry that waits to be written.
type addition struct {
	packed []byte
	since  time.Time
	done   chan struct{} // closed when it is on record, or passed on without
	err    error         // set before done is closed
}

// New makes a Journal.
func New(config Config) *Journal {
	if config.Observe == nil {
		config.Observe = func(int, time.Duration, error) {}
	}
	if config.Degraded == nil {
		config.Degraded = func(error) {}
	}
	return &Journal{
		config:   config,
		mark:     mark{label: cmp.Or(config.Label, config.Name), node: config.Node, holder: config.Holder, owner: config.Owner},
		recorded: map[types.UID]record{},
		adds:     map[types.UID]*addition{},
		removes:  map[types.UID]bool{},
		wake:     make(chan struct{}, 1),
	}
}

// Degraded says why nothing is recorded at the moment; empty if all is well.
func (j *Journal) Degraded() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.degraded
}

// Open is the number of entries on record that are not forgotten.
func (j *Journal) Open() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.recorded)
}

// Record returns when the entry is on record, or when the journal is degraded. An error means that it may be on record or not, that the driver must
// not be asked, and that the entry is forgotten: ctx ended, it could not be encoded, or another leader has taken over.
func (j *Journal) Record(ctx context.Context, entry *Entry) error {
	packed, err := encode(entry)
	if err != nil {
		return fmt.Errorf("record the volume of claim %s/%s in the journal: %w", entry.Claim.Namespace, entry.Claim.Name, err)
	}
	uid := entry.UID()
	j.mu.Lock()
	if j.deposed != nil || j.passing() {
		defer j.mu.Unlock()
		return j.deposed
	}
	add := j.add(uid, packed)
	j.mu.Unlock()
	return j.await(ctx, uid, add)
}

func (j *Journal) add(uid types.UID, packed []byte) *addition {
	add := &addition{packed: packed, since: time.Now(), done: make(chan struct{})}
	j.adds[uid] = add
	j.arrivals.note(add.since)
	delete(j.removes, uid)
	j.recorded[uid] = record{j.recorded[uid].page, packed}
	j.signal()
	return add
}

func (j *Journal) await(ctx context.Context, uid types.UID, add *addition) error {
	select {
	case <-add.done:
		return add.err
	case <-ctx.Done():
		j.Forget(uid)
		return fmt.Errorf("record a volume in the journal: %w", context.Cause(ctx))
	}
}

// Forget takes an entry off the record, some time. It never blocks.
func (j *Journal) Forget(claim types.UID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.recorded[claim]; !ok {
		return
	}
	delete(j.recorded, claim)
	delete(j.adds, claim)
	j.removes[claim] = true
}

// Forgotten reports whether a forgotten entry is gone from the record, or there never was one. If it still is there it is taken out now, with no
// more than a short wait for company; ask again.
func (j *Journal) Forgotten(claim types.UID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.degraded != "" {
		return true // nothing can be taken out, and waiting for it would hold up what people asked for
	}
	if j.removes[claim] {
		j.signal()
	}
	_, recorded := j.recorded[claim]
	return !recorded && !j.removes[claim] && !j.leaving[claim]
}

func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// degrade lets everything pass from now on, after an answer that trying again did not change.
func (j *Journal) degrade(ctx context.Context, err error) {
	j.mu.Lock()
	j.degraded, j.hoping = err.Error(), false
	for uid, add := range j.adds {
		close(add.done)
		delete(j.adds, uid)
	}
	j.mu.Unlock()
	j.config.Degraded(err)
	klog.FromContext(ctx).Error(err, "The journal cannot be written: a volume can be lost if this process is killed while it is being created. Grant get, create and patch on configmaps in the namespace of the Lease",
		"journal", j.config.Name)
}

// hope has the next entry try whether the journal can be written again. Until a write succeeds it is called degraded.
func (j *Journal) hope() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hoping = j.degraded != ""
}

// passing reports whether nothing is written at the moment, with the lock held.
func (j *Journal) passing() bool { return j.degraded != "" && !j.hoping }

// maxRefusals is how often a refusal is not believed: an API server that has just started refuses everything until it has read its roles.
const maxRefusals = 5

// permanent reports whether an error is an answer that most likely stays the same: no permission, no such namespace, too large.
func permanent(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) ||
		apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err)
}

// takenOver reports whether a write failed because this is not the leader any more.
func takenOver(err error) bool { return errors.Is(err, ErrTakenOver) }
