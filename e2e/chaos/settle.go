package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// look takes a picture. Its lists are read one after the other, so it is exact only when nothing changes.
func (r *chaosRun) look(ctx context.Context) (picture, error) {
	claims, err := r.client.CoreV1().PersistentVolumeClaims(chaosNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return picture{}, fmt.Errorf("list claims: %w", err)
	}
	volumes, err := r.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return picture{}, fmt.Errorf("list volumes: %w", err)
	}
	held, err := r.driver.Volumes(ctx)
	if err != nil {
		return picture{}, fmt.Errorf("volumes of the driver: %w", err)
	}
	p := picture{Claims: withServer(r.ledger.all(), claims.Items)}
	for i := range volumes.Items {
		p.PVs = append(p.PVs, factOf(&volumes.Items[i]))
	}
	for _, volume := range held {
		p.Volumes = append(p.Volumes, volumeFact{Handle: volume.ID, Name: volume.Name})
	}
	slices.SortFunc(p.PVs, func(a, b pvFact) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Volumes, func(a, b volumeFact) int { return strings.Compare(a.Handle, b.Handle) })
	return p, nil
}

// withServer adds to what was done to the claims what the API server knows about them.
func withServer(claims []claimFact, list []corev1.PersistentVolumeClaim) []claimFact {
	there := map[string]*corev1.PersistentVolumeClaim{}
	for i := range list {
		there[list[i].Name] = &list[i]
	}
	for i := range claims {
		fact := &claims[i]
		if claim := there[fact.Name]; claim != nil && claim.UID == fact.UID {
			fact.Exists, fact.Phase, fact.Volume = true, string(claim.Status.Phase), claim.Spec.VolumeName
		}
	}
	return claims
}

func factOf(volume *corev1.PersistentVolume) pvFact {
	fact := pvFact{Name: volume.Name}
	if volume.Spec.CSI != nil {
		fact.Handle = volume.Spec.CSI.VolumeHandle
	}
	if volume.Spec.ClaimRef != nil {
		fact.Claim = volume.Spec.ClaimRef.UID
	}
	return fact
}

// settlement is how the waiting ended.
type settlement struct {
	Exact bool
	Took  time.Duration // until the last change
}

// settle leaves the subject alone until everything is as it should be and stays so, or nothing changes any more.
func (r *chaosRun) settle(ctx context.Context) (settlement, error) {
	began := time.Now()
	changed, told := began, began
	var last picture
	for {
		if _, _, err := r.keeper.counts(); err != nil {
			return settlement{}, err
		}
		now, err := r.look(ctx)
		if err != nil {
			return settlement{}, err
		}
		if !samePicture(now, last) {
			last, changed = now, time.Now()
		}
		wrong := judge(now)
		switch unchanged := time.Since(changed); {
		case wrong.exact() && unchanged >= r.options.Quiet:
			return settlement{Exact: true, Took: changed.Sub(began)}, nil
		case !wrong.exact() && unchanged >= r.options.Settle:
			return settlement{Took: changed.Sub(began)}, nil
		}
		if every := time.Since(told); every >= tellEvery && changed.After(told) || every >= time.Minute {
			told = time.Now()
			fmt.Fprintf(r.progress, "  %3.0f s after the last trouble: %d volumes, %d PVs; %s\n", time.Since(began).Seconds(), len(now.Volumes), len(now.PVs), wrong)
		}
		if !sleep(ctx, 500*time.Millisecond) {
			return settlement{}, context.Cause(ctx)
		}
	}
}

func samePicture(a, b picture) bool {
	return slices.Equal(a.Claims, b.Claims) && slices.Equal(a.PVs, b.PVs) && slices.Equal(a.Volumes, b.Volumes)
}

// outcome is what became of a run.
type outcome struct {
	settlement
	kills, ends int
	verdict     verdict
	// complaints are what else is not as it should be at the end.
	complaints []string
}

// conclude stops the subject, so that nothing moves, and compares for good.
func (r *chaosRun) conclude(ctx context.Context, settled settlement) (outcome, error) {
	o := outcome{settlement: settled}
	var err error
	if o.kills, o.ends, err = r.keeper.counts(); err != nil {
		return o, err
	}
	r.stopKeeping()
	exit, err := r.keeper.stop(ctx)
	if err != nil {
		return o, err
	}
	last, err := r.look(ctx)
	if err != nil {
		return o, err
	}
	o.verdict = judge(last)
	if r.subject == subjectBerth {
		if exit != (harness.Exit{}) {
			o.complaints = append(o.complaints, fmt.Sprintf("told to stop, it ended with %s", exit))
		}
		if journal := r.journal(ctx); !strings.Contains(journal, "Nothing is on record.") {
			o.complaints = append(o.complaints, "its journal is not empty:\n"+journal)
		}
	}
	return o, nil
}
