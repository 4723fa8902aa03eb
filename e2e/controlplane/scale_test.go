package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
)

// TestALargeClusterFits creates 5,000 nodes and 20,000 claims. It takes minutes, so it runs only when asked for with
// CONTROLPLANE_SCALE=1, and logs what the components have used.
func TestALargeClusterFits(t *testing.T) {
	if os.Getenv("CONTROLPLANE_SCALE") == "" {
		t.Skip("CONTROLPLANE_SCALE is not set")
	}
	p := start(t)
	admin, ctx := p.admin(t, "scale"), context.Background()
	class := newClass("large")
	if _, err := admin.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	inParallel(t, "nodes and CSINodes", 5_000, func(i int) error {
		node := newNode(i)
		if _, err := admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err := admin.StorageV1().CSINodes().Create(ctx, newCSINode(node), metav1.CreateOptions{})
		return err
	})
	inParallel(t, "claims", 20_000, func(i int) error {
		_, err := admin.CoreV1().PersistentVolumeClaims("default").
			Create(ctx, newClaim(fmt.Sprintf("claim-%05d", i), class.Name), metav1.CreateOptions{})
		return err
	})
	for name, s := range p.status(t) {
		t.Logf("%s: %.1f CPU seconds, %d MB", name, s.CPUSeconds, s.ResidentBytes/1e6)
		if s.State != control.Running {
			t.Errorf("%s: %+v", name, s)
		}
	}
	begin := time.Now()
	claims, err := admin.CoreV1().PersistentVolumeClaims("default").List(ctx, metav1.ListOptions{})
	if err != nil || len(claims.Items) != 20_000 {
		t.Fatalf("%d claims, %v", len(claims.Items), err)
	}
	t.Logf("listed in %s", time.Since(begin))
	begin = time.Now()
	p.do(t, "requests", "--json")
	t.Logf("requests counted in %s", time.Since(begin))
	begin = time.Now()
	p.do(t, "kill", string(component.APIServer))
	p.do(t, "start", string(component.APIServer))
	t.Logf("API server killed and back in %s", time.Since(begin))
}

func inParallel(t *testing.T, what string, n int, do func(int) error) {
	t.Helper()
	begin := time.Now()
	next, failures := make(chan int), make(chan error, 1)
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					select {
					case failures <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	select {
	case err := <-failures:
		t.Fatal(err)
	default:
		t.Logf("%d %s in %s", n, what, time.Since(begin))
	}
}
