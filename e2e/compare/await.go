package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

// await returns the claim when it has settled, or when there is no more patience with it.
func (s *stage) await(ctx context.Context, name string) (*corev1.PersistentVolumeClaim, error) {
	if s.testCase.expected() == quiet {
		if err := s.fence(ctx); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	for {
		claim, err := s.client.CoreV1().PersistentVolumeClaims(s.name).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		done, err := s.settled(ctx, claim, time.Since(began))
		if done || err != nil {
			return claim, err
		}
		if err := pause(ctx, look); err != nil {
			return nil, err
		}
	}
}

func (s *stage) settled(ctx context.Context, claim *corev1.PersistentVolumeClaim, waited time.Duration) (bool, error) {
	if claim.Status.Phase == corev1.ClaimBound || !s.process.Running() || waited > patience {
		return true, nil
	}
	expected := s.testCase.expected()
	if s.testCase.until > 0 {
		calls, err := s.createCalls(ctx, claim.UID)
		if err != nil || len(calls) >= s.testCase.until {
			return err == nil, err
		}
	}
	if expected == bound && waited < patienceQuiet {
		return false, nil // nothing that is said now would change anything
	}
	said, err := s.said(ctx, claim)
	if err != nil {
		return false, err
	}
	switch {
	case expected == quiet:
		return waited > quietFor, nil
	case !said.failure:
		return false, nil
	case expected == bound, s.testCase.patient:
		return waited > patienceFailed, nil
	default:
		// The driver may still be asked to undo what it did.
		return true, pause(ctx, settling)
	}
}

// fence has a claim provisioned that nothing is wrong with: the provisioner has come to whatever was there before.
func (s *stage) fence(ctx context.Context) error {
	if err := s.createClass(ctx, s.name+"-fence"); err != nil {
		return err
	}
	return sourceOf("fence", "fence")(ctx, s)
}

// said is what a provisioner has to say about a claim.
type said struct {
	failure  bool
	messages []string
}

func (s *stage) said(ctx context.Context, claim *corev1.PersistentVolumeClaim) (said, error) {
	events, err := harness.ClaimEvents(ctx, s.client, claim.Namespace, claim.Name)
	if err != nil {
		return said{}, err
	}
	var all said
	for _, event := range events {
		if event.InvolvedObject.UID != claim.UID || notTheirs(event.Source.Component) {
			continue
		}
		all.failure = all.failure || event.Type == corev1.EventTypeWarning
		all.messages = append(all.messages, fmt.Sprintf("%s %s: %s", event.Type, event.Reason, event.Message))
	}
	return all, nil
}

// notTheirs says whether an event is from Kubernetes.
func notTheirs(component string) bool {
	return component == "persistentvolume-controller" || component == "default-scheduler"
}

// createCalls are the CreateVolume calls for a claim, whatever name the volume was given.
func (s *stage) createCalls(ctx context.Context, uid types.UID) ([]harness.Call, error) {
	all, err := s.driver.Calls(ctx, harness.CreateVolume)
	if err != nil {
		return nil, err
	}
	var calls []harness.Call
	for _, call := range all {
		if namedAfter(call.Subject(), uid) {
			calls = append(calls, call)
		}
	}
	return calls, nil
}

// namedAfter says whether a volume's name is made from a UID: PREFIX-UID, or PREFIX- and the beginning of the UID without
// its dashes.
func namedAfter(volume string, uid types.UID) bool {
	if strings.HasSuffix(volume, "-"+string(uid)) {
		return true
	}
	last := volume[strings.LastIndexByte(volume, '-')+1:]
	return len(last) >= shortestUID && strings.HasPrefix(strings.ReplaceAll(string(uid), "-", ""), last)
}
