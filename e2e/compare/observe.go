package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// observation is what there was to see of a case, with names evened out. What a claim's view holds is compared, what was
// said is only reported.
type observation struct {
	Claims map[string]*view    `json:"claims"`
	Said   map[string][]string `json:"said"`
	// Sources are the finalizers of what the claims were made from.
	Sources map[string][]string `json:"sources,omitempty"`

	handles map[string][]string // of a claim's volumes
	volumes map[string]string   // the name of a bound claim's PersistentVolume
}

// view is what is compared about one claim.
type view struct {
	Outcome outcome `json:"outcome"`
	// CreateVolume are the requests that the driver got for the claim, each once.
	CreateVolume []any `json:"createVolume"`
	// PersistentVolume as the API server has it, nil if there is none.
	PersistentVolume any `json:"persistentVolume"`
	// Claim, with its annotations, finalizers and status.
	Claim any `json:"claim"`
	// DeleteVolume are the requests about the claim's volumes after its deletion or before, each once.
	DeleteVolume []any `json:"deleteVolume"`
	// AfterDeletion is the phase of the PersistentVolume, or that it is gone.
	AfterDeletion string `json:"afterDeletion"`
	// LeftInDriver is how many volumes of the claim there are then.
	LeftInDriver int `json:"leftInDriver"`
}

func newObservation() *observation {
	return &observation{
		Claims: map[string]*view{}, Said: map[string][]string{}, Sources: map[string][]string{},
		handles: map[string][]string{}, volumes: map[string]string{},
	}
}

// observe takes down what became of a claim.
func (s *stage) observe(ctx context.Context, claim *corev1.PersistentVolumeClaim, seen *observation) error {
	v := &view{}
	seen.Claims[claim.Name] = v
	var volume *corev1.PersistentVolume
	if claim.Status.Phase == corev1.ClaimBound {
		var err error
		if claim, volume, err = s.unchanging(ctx, claim.Name); err != nil {
			return err
		}
		seen.volumes[claim.Name] = volume.Name
	} else {
		var err error
		if claim, err = s.assigned(ctx, claim.Name); err != nil {
			return err
		}
	}
	calls, err := s.createCalls(ctx, claim.UID)
	if err != nil {
		return err
	}
	told, err := s.said(ctx, claim)
	if err != nil {
		return err
	}
	v.Outcome = s.outcome(claim, len(calls), told.failure)
	seen.handles[claim.Name] = handles(calls)

	n, err := s.names(ctx, claim, volume, calls)
	if err != nil {
		return err
	}
	if v.CreateVolume, err = requests(calls, n); err != nil {
		return err
	}
	if volume != nil {
		object, err := object(volume)
		if err != nil {
			return err
		}
		v.PersistentVolume = n.inAll(stored(object))
	}
	if v.Claim, err = claimView(claim, n); err != nil {
		return err
	}
	for _, text := range told.messages {
		if text = message(text, n); !slices.Contains(seen.Said[claim.Name], text) {
			seen.Said[claim.Name] = append(seen.Said[claim.Name], text)
		}
	}
	return nil
}

func (s *stage) outcome(claim *corev1.PersistentVolumeClaim, calls int, failure bool) outcome {
	switch {
	case claim.Status.Phase == corev1.ClaimBound:
		return bound
	case !s.process.Running():
		return died
	case failure && calls == 0:
		return refused
	case failure:
		return failed
	case calls > 0:
		return silent
	default:
		return quiet
	}
}

// unchanging returns a bound claim and its volume once nobody writes to them any more.
func (s *stage) unchanging(ctx context.Context, name string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume, error) {
	versions, since := "", time.Now()
	for {
		claim, err := s.client.CoreV1().PersistentVolumeClaims(s.name).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, nil, err
		}
		volume, err := s.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		if err != nil {
			return nil, nil, err
		}
		if now := claim.ResourceVersion + "/" + volume.ResourceVersion; now != versions {
			versions, since = now, time.Now()
		}
		if time.Since(since) > settling && volume.Status.Phase == corev1.VolumeBound {
			return claim, volume, nil
		}
		if time.Since(since) > gone {
			return nil, nil, fmt.Errorf("volume %s is %s", volume.Name, volume.Status.Phase)
		}
		if err := pause(ctx, look); err != nil {
			return nil, nil, err
		}
	}
}

// assigned returns a claim that is not bound, with the annotations by which the controller-manager hands it to a provisioner.
// A provisioner may have said no before those were written.
func (s *stage) assigned(ctx context.Context, name string) (*corev1.PersistentVolumeClaim, error) {
	if s.testCase.expected() != quiet {
		if err := pause(ctx, settling); err != nil {
			return nil, err
		}
	}
	return s.client.CoreV1().PersistentVolumeClaims(s.name).Get(ctx, name, metav1.GetOptions{})
}

// names are those of everything on the stage.
func (s *stage) names(ctx context.Context, claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume, calls []harness.Call) (names, error) {
	known := uidPlaceholders(string(claim.UID), "UID")
	for _, handle := range handles(calls) {
		known[handle] = "HANDLE"
	}
	if volume != nil && volume.Spec.CSI != nil {
		known[volume.Spec.CSI.VolumeHandle] = "HANDLE"
	}
	for name, source := range s.sources {
		maps.Copy(known, uidPlaceholders(string(source.UID), "UID-OF-"+name))
		made, err := s.createCalls(ctx, source.UID)
		if err != nil {
			return names{}, err
		}
		for _, handle := range handles(made) {
			known[handle] = "HANDLE-OF-" + name
		}
	}
	for name, taken := range s.snapshots {
		known[taken.Handle()] = "SNAPSHOT-" + name
		maps.Copy(known, uidPlaceholders(string(taken.Snapshot.UID), "UID-OF-"+name))
	}
	return newNames(known), nil
}

// handles are what the driver answered.
func handles(calls []harness.Call) []string {
	var all []string
	for _, call := range calls {
		answer, err := call.CreatedVolume()
		if err != nil || answer.Volume.VolumeID == "" || slices.Contains(all, answer.Volume.VolumeID) {
			continue // an answer without a volume
		}
		all = append(all, answer.Volume.VolumeID)
	}
	return all
}

// requests are those of the calls, each once, in the order of their first time.
func requests(calls []harness.Call, n names) ([]any, error) {
	var all []any
	var texts []string
	for _, call := range calls {
		var request any
		if err := json.Unmarshal(call.Request, &request); err != nil {
			return nil, fmt.Errorf("read request %d of the call log: %w", call.Seq, err)
		}
		request = n.inAll(request)
		if text := show(request); !slices.Contains(texts, text) {
			texts, all = append(texts, text), append(all, request)
		}
	}
	return all, nil
}

// claimView is the part of a claim that others write.
func claimView(claim *corev1.PersistentVolumeClaim, n names) (any, error) {
	slices.Sort(claim.Finalizers)
	view, err := tree(map[string]any{
		"annotations": claim.Annotations, "finalizers": claim.Finalizers,
		"volumeName": claim.Spec.VolumeName, "status": claim.Status,
	})
	return n.inAll(view), err
}

// observeSources takes down what holds the objects that the claims were made from, after the time it takes to let them go.
func (s *stage) observeSources(ctx context.Context, seen *observation) error {
	if len(s.sources) == 0 {
		return nil
	}
	if err := pause(ctx, releasing); err != nil {
		return err
	}
	for name, source := range s.sources {
		claim, err := s.client.CoreV1().PersistentVolumeClaims(source.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err = unlessGone(err); err != nil {
			return err
		}
		seen.Sources["claim "+name] = slices.Sorted(slices.Values(claim.GetFinalizers()))
	}
	for name, taken := range s.snapshots {
		current, err := s.snaps.API.SnapshotV1().VolumeSnapshots(taken.Snapshot.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err = unlessGone(err); err != nil {
			return err
		}
		seen.Sources["snapshot "+name] = slices.Sorted(slices.Values(current.GetFinalizers()))
	}
	return nil
}
