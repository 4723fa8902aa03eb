package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-csi/berth/e2e/harness"
)

// A world is what a group has in the place of three zones with a large pool each.
type world struct {
	// driver is how it runs, with the latency that everything is measured at.
	driver func(o Options, latency time.Duration) harness.DriverOptions
	// zones each have a node.
	zones func(Options) []string
	// classes there are when the subject starts.
	classes func(o Options, driver string) []*storagev1.StorageClass
	// flags that every subject gets.
	flags func(Options) []string
}

// build makes what has to be there before the subject. The scheduler looks at what is published for the driver.
func (w world) build(ctx context.Context, client kubernetes.Interface, driver string, o Options) error {
	for _, namespace := range []string{benchNamespace, harness.BerthNamespace} {
		if err := harness.CreateNamespace(ctx, client, namespace); err != nil {
			return err
		}
	}
	_, err := client.StorageV1().CSIDrivers().Create(ctx, &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: driver}, Spec: storagev1.CSIDriverSpec{StorageCapacity: new(true)},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create CSIDriver: %w", err)
	}
	err = inParallel(ctx, w.zones(o), func(ctx context.Context, zone string) error {
		return harness.CreateNode(ctx, client, harness.NodeSpec{
			Name: "node-" + zone, Driver: driver, Labels: map[string]string{harness.ZoneKey(driver): zone},
		})
	})
	if err != nil {
		return err
	}
	for _, class := range w.classes(o, driver) {
		if _, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create class %s: %w", class.Name, err)
		}
	}
	return nil
}

// numberedZones are n zones as the driver names those that it generates.
func numberedZones(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%04d", zonePrefix, i)
	}
	return names
}

const zonePrefix = "zone-"

// publishing are the flags by which both subjects publish capacity, for nobody in particular.
func publishing(Options) []string {
	return []string{"--enable-capacity", "--capacity-ownerref-level=-1"}
}

// publishingEnv is the environment that goes with them.
func publishingEnv() []string { return []string{"NAMESPACE=" + harness.BerthNamespace} }

// restart ends the subject and starts another one in its place, with these flags beside its own.
func (e *environment) restart(ctx context.Context, flags []string) error {
	if _, err := e.process.Stop(ctx); err != nil {
		return err
	}
	e.flags = slices.Clone(flags)
	process, err := e.subject.start(ctx, e)
	if err != nil {
		return err
	}
	e.process = process
	return nil
}

// within waits as await does, but no longer than limit, and reports whether it was done by then.
func (e *environment) within(ctx context.Context, limit time.Duration, done func() bool) (bool, error) {
	ended := e.process.Done()
	until := time.NewTimer(limit)
	defer until.Stop()
	ticker := time.NewTicker(trackerPoll)
	defer ticker.Stop()
	for {
		if done() {
			return true, nil
		}
		select {
		case <-ticker.C:
		case <-until.C:
			return done(), nil
		case <-ended:
			return false, errSubjectEnded
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}
