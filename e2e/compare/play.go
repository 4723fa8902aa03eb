package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

const (
	// look is how often a claim is looked at.
	look = 100 * time.Millisecond
	// patience with a claim of which nothing is heard, and with one that failed but should be bound in the end; patienceQuiet
	// is how long nobody listens to what is said about that one.
	patience       = 40 * time.Second
	patienceFailed = 8 * time.Second
	patienceQuiet  = 2 * time.Second
	// quietFor is how long a claim is left alone of which nothing should be heard, once another one has been served.
	quietFor = 2 * time.Second
	// settling is how long an object must stay the same, and a failed attempt have no more calls, to be taken for final.
	settling = 600 * time.Millisecond
	// releasing is how long it may take until a source is let go.
	releasing = 2 * time.Second
	// gone is how long a deletion may take.
	gone = 30 * time.Second
)

// play runs a case and says what it came to. The stage is cleared whatever happens.
func (s *stage) play(ctx context.Context) (*observation, error) {
	seen, err := s.act(ctx)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*gone)
	defer cancel()
	if clearing := s.clear(ending); clearing != nil {
		err = errors.Join(err, fmt.Errorf("clear up: %w", clearing))
	}
	return seen, err
}

func (s *stage) act(ctx context.Context) (*observation, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	// The caches of a provisioner have all of that when the claims come: what it does while it has not is left to chance.
	if err := pause(ctx, settling/2); err != nil {
		return nil, err
	}
	if len(s.testCase.faults) > 0 {
		if err := s.driver.SetFaults(ctx, s.testCase.faults...); err != nil {
			return nil, err
		}
		s.later(s.driver.ClearFaults)
	}
	for _, name := range s.testCase.claimNames() {
		if err := s.begin(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := s.meddle(ctx); err != nil {
		return nil, fmt.Errorf("meanwhile: %w", err)
	}
	seen := newObservation()
	for _, name := range s.testCase.claimNames() {
		if err := s.watch(ctx, name, seen); err != nil {
			return nil, fmt.Errorf("claim %s: %w", name, err)
		}
	}
	if err := s.observeSources(ctx, seen); err != nil {
		return nil, err
	}
	for _, ingredient := range s.testCase.then {
		if err := ingredient(ctx, s); err != nil {
			return nil, err
		}
	}
	for _, name := range s.testCase.claimNames() {
		if err := s.end(ctx, name, seen); err != nil {
			return nil, fmt.Errorf("claim %s: %w", name, err)
		}
	}
	return seen, nil
}

// meddle does what is to happen after the driver was first asked.
func (s *stage) meddle(ctx context.Context) error {
	if len(s.testCase.meanwhile) == 0 {
		return nil
	}
	name := s.testCase.claimNames()[0]
	claim, err := s.client.CoreV1().PersistentVolumeClaims(s.name).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	err = harness.Eventually(ctx, "the driver is asked", func(ctx context.Context) error {
		calls, err := s.createCalls(ctx, claim.UID)
		if err == nil && len(calls) == 0 {
			err = errors.New("it has not been")
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, ingredient := range s.testCase.meanwhile {
		if err := ingredient(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// begin creates a claim, and a Pod if the case wants one.
func (s *stage) begin(ctx context.Context, name string) error {
	claim, err := s.createClaim(ctx, name, s.name, s.testCase.claim...)
	if err != nil {
		return err
	}
	s.later(func(ctx context.Context) error { return s.dropClaim(ctx, claim) })
	if s.testCase.podOn == "" {
		return nil
	}
	pods := s.client.CoreV1().Pods(s.name)
	pod := harness.Pod(s.name, "user-"+name, name, harness.OnNodesWith(hostLabel, s.group.driver.on(s.testCase.podOn)))
	if _, err = pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Pod: %w", err)
	}
	s.later(func(ctx context.Context) error { return s.dropPod(ctx, pod.Name) })
	return nil
}

func (s *stage) dropPod(ctx context.Context, name string) error {
	return unlessGone(s.client.CoreV1().Pods(s.name).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
}

// watch waits until it is clear what becomes of a claim, and takes down what there is to see.
func (s *stage) watch(ctx context.Context, name string, seen *observation) error {
	claim, err := s.await(ctx, name)
	if err != nil {
		return err
	}
	return s.observe(ctx, claim, seen)
}

// end deletes a claim and takes down what becomes of its volume.
func (s *stage) end(ctx context.Context, name string, seen *observation) error {
	if s.testCase.podOn != "" {
		if err := s.dropPod(ctx, "user-"+name); err != nil {
			return err
		}
	}
	claims := s.client.CoreV1().PersistentVolumeClaims(s.name)
	claim, err := claims.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := s.dropClaim(ctx, claim); err != nil {
		return err
	}
	if s.testCase.alone() {
		// What is left open can be closed now.
		if err := s.driver.ClearFaults(ctx); err != nil {
			return err
		}
	}
	return s.observeDeletion(ctx, claim, seen)
}

// dropClaim deletes a claim, and its volume if nobody else does. Finalizers that keep the claim too long are removed.
func (s *stage) dropClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	claims := s.client.CoreV1().PersistentVolumeClaims(claim.Namespace)
	if err := unlessGone(claims.Delete(ctx, claim.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(claim.UID))})); err != nil {
		if apierrors.IsConflict(err) {
			return nil // another one of that name
		}
		return err
	}
	get := func(ctx context.Context) error {
		current, err := claims.Get(ctx, claim.Name, metav1.GetOptions{})
		if err == nil && heldByUs(current.Finalizers) {
			err = s.letGo(ctx, current)
		}
		return err
	}
	return s.untilGone(ctx, "claim "+claim.Namespace+"/"+claim.Name, get)
}

func heldByUs(finalizers []string) bool {
	for _, finalizer := range finalizers {
		if strings.HasPrefix(finalizer, "compare.berth.dev/") {
			return true
		}
	}
	return false
}

// letGo removes the finalizers of a claim.
func (s *stage) letGo(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	_, err := s.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	return unlessGone(err)
}

// untilGone waits until get says that something does not exist.
func (s *stage) untilGone(ctx context.Context, what string, get func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, gone, fmt.Errorf("%s is still there after %s", what, gone))
	defer cancel()
	for {
		err := get(ctx)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = pause(ctx, look)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
