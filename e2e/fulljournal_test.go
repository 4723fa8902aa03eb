//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// openAttempts is how many volumes are made of which nobody hears. BERTH_OPEN_ATTEMPTS=5000 fills several pages, in minutes.
func openAttempts(t *testing.T) int {
	t.Helper()
	value := os.Getenv("BERTH_OPEN_ATTEMPTS")
	if value == "" {
		return 150
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 2 {
		t.Fatalf("BERTH_OPEN_ATTEMPTS=%s is not a number from 2 on", value)
	}
	return n
}

// The driver makes every volume, and no answer arrives. Berth is killed, half of the claims are deleted, and the driver recovers.
// It is not parallel: with thousands of claims there is nothing left for other stories.
func TestAJournalFullOfOpenAttempts(t *testing.T) {
	count := openAttempts(t)
	patient := func(options *harness.WorldOptions) {
		berthFlags("--timeout=20s", "--retry-interval-start=30s", "--retry-interval-max=30s")(options)
	}
	s := inOwnWorld(t, "full", patient, driverFaults(harness.Fault{Method: harness.CreateVolume, Action: "lost", Code: "DeadlineExceeded"}))
	await := func(what string, check func(context.Context) error) {
		t.Helper()
		must(t, harness.EventuallyWithin(t.Context(), harness.WaitTimeout*time.Duration(1+count/1000), what, check))
	}
	for _, zone := range s.Zones { // there has to be room for all, or nothing is made whose answer could be lost
		must(t, s.Driver.SetPools(t.Context(), harness.DriverPool{Segments: map[string]string{s.ZoneKey(): zone}, Size: "100Ti"}))
	}
	class := s.class()
	began := time.Now()
	claims := s.claims(class, count)
	t.Logf("%d claims made after %s", count, time.Since(began).Round(time.Second))
	await("every volume is made", func(ctx context.Context) error {
		volumes, err := s.Driver.Volumes(ctx)
		if err == nil && len(volumes) < count {
			err = fmt.Errorf("the driver has %d of %d", len(volumes), count)
		}
		return err
	})
	t.Logf("%d volumes made after %s", count, time.Since(began).Round(time.Second))
	s.wantMetric(fmt.Sprintf("berth_open_attempts %d", count))
	began = time.Now()
	table := s.journal()
	if want := fmt.Sprintf("\n%d on record.\n", count); !strings.Contains(table, want) {
		t.Errorf("berth journal ends with %q, without %q", table[max(0, len(table)-300):], want)
	}
	head, _, _ := strings.Cut(table, "\n")
	t.Logf("berth journal took %s:\n%s\n…%s", time.Since(began).Round(time.Millisecond), head, table[max(0, len(table)-300):])
	pages, err := s.Client().CoreV1().ConfigMaps(harness.BerthNamespace).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for _, page := range pages.Items {
		if strings.HasPrefix(page.Name, s.journalName()) {
			t.Logf("%s: %d entries, %d bytes", page.Name, len(page.BinaryData), page.Size())
		}
	}

	s.Berth.Kill()
	for _, claim := range claims[:count/2] {
		s.drop(claim)
	}
	must(t, s.Driver.ClearFaults(t.Context()))
	began = time.Now()
	must(t, s.Berth.Start(t.Context()))
	await("the volumes of deleted claims are deleted", func(ctx context.Context) error {
		volumes, err := s.Driver.Volumes(ctx)
		if err == nil && len(volumes) != count-count/2 {
			err = fmt.Errorf("the driver has %d, want %d; Berth's log ends with:\n%s", len(volumes), count-count/2, s.Berth.LogTail(3))
		}
		return err
	})
	wantAccounted(s, claims[count/2:])
	s.wantMetric("berth_open_attempts 0")
	t.Logf("everything resolved %s after the start", time.Since(began).Round(time.Second))
}
