package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-csi/berth/e2e/harness"
)

const (
	benchNamespace = "bench"
	classImmediate = "immediate"
	classDelayed   = "wait-for-consumer"
)

// zones each have a node and a pool of the driver.
var zones = []string{"zone-a", "zone-b", "zone-c"}

// createSurroundings makes what has to be there before any claim.
func createSurroundings(ctx context.Context, client kubernetes.Interface, driver string) error {
	for _, namespace := range []string{benchNamespace, harness.BerthNamespace} {
		if err := harness.CreateNamespace(ctx, client, namespace); err != nil {
			return err
		}
	}
	for _, zone := range zones {
		if err := harness.CreateNode(ctx, client, harness.NodeSpec{
			Name: "node-" + zone, Driver: driver, Labels: map[string]string{harness.ZoneKey(driver): zone},
		}); err != nil {
			return err
		}
	}
	classes := client.StorageV1().StorageClasses()
	immediate := harness.StorageClass(classImmediate, driver)
	if _, err := classes.Create(ctx, immediate, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create class: %w", err)
	}
	delayed := harness.StorageClass(classDelayed, driver, harness.WaitForFirstConsumer)
	if _, err := classes.Create(ctx, delayed, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create class: %w", err)
	}
	return nil
}

// clientWorkers is how many claims are created or deleted at once: enough to be far ahead of whoever provisions them.
const clientWorkers = 32

// inParallel does something for every name, clientWorkers at a time, and reports all that went wrong.
func inParallel(ctx context.Context, names []string, do func(context.Context, string) error) error {
	queue := make(chan string)
	failures := make(chan error, len(names))
	var workers sync.WaitGroup
	for range min(clientWorkers, len(names)) {
		workers.Go(func() {
			for name := range queue {
				if err := do(ctx, name); err != nil {
					failures <- err
				}
			}
		})
	}
	for _, name := range names {
		queue <- name
	}
	close(queue)
	workers.Wait()
	close(failures)
	var errs []error
	for err := range failures {
		errs = append(errs, err)
	}
	if len(errs) > 3 {
		errs = append(errs[:3], fmt.Errorf("and %d more", len(errs)-3))
	}
	return errors.Join(errs...)
}
