package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/berth-csi/berth/e2e/harness"
)

// town is what all groups share.
type town struct {
	controlPlane *harness.ControlPlane
	client       *kubernetes.Clientset
	grants       gatewayclient.Interface
	dir          string
	parallel     int
}

// A played case is what was seen of it, or why nothing was.
type played struct {
	seen *observation
	err  error
}

// playGroup plays all cases of a group for one subject, in one life of a driver and of the subject. An error is about the
// whole group; what went wrong with one case is with that case.
func (t *town) playGroup(ctx context.Context, g group, who subject) (results map[string]played, err error) {
	dir := filepath.Join(t.dir, slug(g.name, ""), who.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	driver, err := g.driver.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		_, stopping := driver.Stop(context.WithoutCancel(ctx))
		err = errors.Join(err, stopping)
	}()
	process, err := who.start(ctx, dir, driver, g.flags)
	if err != nil {
		return nil, err
	}
	defer func() {
		// How the established one ends is its own affair: it does so with a signal.
		exit, stopping := process.Stop(context.WithoutCancel(ctx))
		if stopping == nil && who.binary == "" && exit != (harness.Exit{}) {
			stopping = fmt.Errorf("%s ended with %s", who.name, exit)
		}
		err = errors.Join(err, stopping)
	}()
	snaps, err := harness.NewSnapshotter(t.controlPlane, driver)
	if err != nil {
		return nil, err
	}
	h := &house{group: g, subject: who, client: t.client, grants: t.grants, snaps: snaps, driver: driver, process: process}
	results = h.playAll(ctx, t.parallel)
	return results, h.sweep(ctx)
}

// playAll plays the cases that do not mind each other side by side, and then the others one by one.
func (h *house) playAll(ctx context.Context, parallel int) map[string]played {
	results := map[string]played{}
	var mu sync.Mutex
	play := func(c testCase) {
		seen, err := newStage(h, c).play(ctx)
		mu.Lock()
		defer mu.Unlock()
		results[c.name] = played{seen, err}
	}
	queue := make(chan testCase)
	var players sync.WaitGroup
	for range parallel {
		players.Go(func() {
			for c := range queue {
				play(c)
			}
		})
	}
	for _, c := range h.group.cases {
		if !c.alone() {
			queue <- c
		}
	}
	close(queue)
	players.Wait()
	for _, c := range h.group.cases {
		if c.alone() {
			play(c)
		}
	}
	return results
}

// sweep removes the volumes that are left when all cases are over, so that the next subject begins as this one did.
func (h *house) sweep(ctx context.Context) error {
	volumes, err := h.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, volume := range volumes.Items {
		if err := (&stage{house: h}).dropVolume(ctx, volume.Name); err != nil {
			return err
		}
	}
	return h.untilNoVolumes(ctx)
}

func (h *house) untilNoVolumes(ctx context.Context) error {
	seen, err := harness.WatchVolumes(ctx, h.client, func(volumes harness.Seen[*corev1.PersistentVolume]) bool { return len(volumes) == 0 })
	if err != nil {
		return fmt.Errorf("volumes that stay: %s: %w", strings.Join(slices.Sorted(maps.Keys(seen)), ", "), err)
	}
	return nil
}
