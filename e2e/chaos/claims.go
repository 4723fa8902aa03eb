package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

// live takes a claim through its life. The API server is away at times, so everything is tried until it is certain.
func (r *chaosRun) live(ctx context.Context, life claimLife) error {
	if err := r.until(ctx, life.Create); err != nil {
		return err
	}
	if err := harness.Eventually(ctx, life.Name+" is created", func(ctx context.Context) error {
		return r.create(ctx, life)
	}); err != nil {
		return err
	}
	if !life.Deleted {
		return nil
	}
	if err := r.until(ctx, life.Delete); err != nil {
		return err
	}
	return harness.Eventually(ctx, life.Name+" is deleted", func(ctx context.Context) error {
		return r.delete(ctx, life)
	})
}

// create may be repeated: a claim that is there was created by the request whose answer was lost.
func (r *chaosRun) create(ctx context.Context, life claimLife) error {
	class := classImmediate
	if life.Delayed {
		class = classDelayed
	}
	claims := r.client.CoreV1().PersistentVolumeClaims(chaosNamespace)
	claim, err := claims.Create(ctx, harness.Claim(chaosNamespace, life.Name, class), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		claim, err = claims.Get(ctx, life.Name, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	r.ledger.created(life.Name, claim.UID)
	if !life.Delayed {
		return nil
	}
	_, err = r.client.CoreV1().Pods(chaosNamespace).Create(ctx, harness.Pod(chaosNamespace, life.Name, life.Name), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// delete may be repeated. A Pod goes first, because a claim that is in use stays; no kubelet is there to end it.
func (r *chaosRun) delete(ctx context.Context, life claimLife) error {
	if life.Delayed {
		err := r.client.CoreV1().Pods(chaosNamespace).Delete(ctx, life.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	err := r.client.CoreV1().PersistentVolumeClaims(chaosNamespace).Delete(ctx, life.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	r.ledger.deleted(life.Name)
	return nil
}

// A ledger is what was done to claims.
type ledger struct {
	mu     sync.Mutex
	claims map[string]claimFact // by name
}

func newLedger() *ledger { return &ledger{claims: map[string]claimFact{}} }

func (l *ledger) created(name string, uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims[name] = claimFact{Name: name, UID: uid}
}

func (l *ledger) deleted(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	claim := l.claims[name]
	claim.Deleted = true
	l.claims[name] = claim
}

func (l *ledger) counts() (created, deleted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, claim := range l.claims {
		if claim.Deleted {
			deleted++
		}
	}
	return len(l.claims), deleted
}

// all are the claims by name, without what the API server knows about them.
func (l *ledger) all() []claimFact {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.claims), func(a, b claimFact) int { return strings.Compare(a.Name, b.Name) })
}
