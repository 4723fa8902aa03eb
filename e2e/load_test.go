//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// load is users who create claims all the time, some of them without meaning it, while something happens to the webhooks that every one of
// the claims has to pass.
type load struct {
	s    *story
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	tries int
	since int // tries since the last one that was bad
	bad   []trial
	mends []mend
}

// trial is a claim that was refused, or let in without being given to the driver.
type trial struct {
	begun, ended time.Time
	err          error
}

// mend is a time in which claims may fail, and of what.
type mend struct {
	why        string
	begun, end time.Time
	words      []string // one of which tells that it was this
}

const (
	// hands are the users of each kind.
	dryHands, realHands = 3, 1
	// handsRest is the pause of each between two claims: what is measured is who is refused, not what the machine can take.
	handsRest = 40 * time.Millisecond
)

// load begins to create claims of a class with Immediate binding and of one without, until the story ends or it is told to.
func (s *story) load(immediate, delayed string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{s: s, stop: cancel}
	claims := s.Client().CoreV1().PersistentVolumeClaims(s.namespace)
	for hand := range dryHands {
		l.done.Go(func() {
			l.each(ctx, func(ctx context.Context, n int) (*corev1.PersistentVolumeClaim, error) {
				name := fmt.Sprintf("dry-%d-%05d", hand, n)
				return claims.Create(ctx, harness.Claim(s.namespace, name, immediate), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			})
		})
	}
	for hand := range realHands {
		l.done.Go(func() {
			l.each(ctx, func(ctx context.Context, n int) (*corev1.PersistentVolumeClaim, error) {
				name := fmt.Sprintf("real-%d-%05d", hand, n)
				claim, err := claims.Create(ctx, harness.Claim(s.namespace, name, delayed), metav1.CreateOptions{})
				if err == nil {
					err = claims.Delete(ctx, name, metav1.DeleteOptions{})
				}
				return claim, err
			})
		})
	}
	s.t.Cleanup(l.end)
	return l
}

// each creates one claim after the other, and judges them.
func (l *load) each(ctx context.Context, create func(context.Context, int) (*corev1.PersistentVolumeClaim, error)) {
	for n := 0; ctx.Err() == nil; n++ {
		begun := time.Now()
		claim, err := create(context.WithoutCancel(ctx), n)
		if err == nil && !givenTo(claim, l.s.Driver.Name) {
			err = fmt.Errorf("it was let in with the annotations %v", claim.Annotations)
		}
		l.mu.Lock()
		l.tries++
		l.since++
		if err != nil {
			l.bad = append(l.bad, trial{begun, time.Now(), err})
			l.since = 0
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(handsRest):
		}
	}
}

func (l *load) end() {
	l.stop()
	l.done.Wait()
}

// seen is an error until so many claims were created.
func (l *load) seen(count int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tries < count {
		return fmt.Errorf("%d were created", l.tries)
	}
	return nil
}

// fine is an error until so many claims, one after the other, were let in.
func (l *load) fine(count int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since < count {
		return fmt.Errorf("%d were let in since the last failure", l.since)
	}
	return nil
}

// during does something while which claims may fail, if their error has one of the words.
func (l *load) during(why string, words []string, do func()) {
	begun := time.Now()
	do()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mends = append(l.mends, mend{why, begun, time.Now(), words})
}

// check ends the load, and checks that no claim failed but for those that may. It returns how many there were of these.
func (l *load) check(t *testing.T) (excused int) {
	t.Helper()
	l.end()
	if l.tries < 50 {
		t.Errorf("only %d claims were created: that shows nothing", l.tries)
	}
	shown := 0
	for _, bad := range l.bad {
		if slices.ContainsFunc(l.mends, func(m mend) bool { return m.excuses(bad) }) {
			excused++
			continue
		}
		if shown++; shown <= 5 {
			t.Errorf("at %s, for %s: %v", bad.begun.Format(time.StampMilli), bad.ended.Sub(bad.begun).Round(time.Millisecond), bad.err)
		}
	}
	t.Logf("%d claims were created, %d failed, %d of them with an excuse", l.tries, len(l.bad), excused)
	return excused
}

func (m mend) excuses(bad trial) bool {
	return bad.begun.Before(m.end) && bad.ended.After(m.begun) && apierrors.IsInternalError(bad.err) &&
		slices.ContainsFunc(m.words, func(word string) bool { return strings.Contains(bad.err.Error(), word) })
}

// brokenConnection are the words of a webhook call whose connection broke.
func brokenConnection() []string { return []string{"EOF", "connection reset by peer", "broken pipe"} }

// settle is how long API servers may take to notice that an idle connection was closed under them.
const settle = time.Second

// kill ends a replica behind a service with SIGKILL. What was asked of it then is lost, and nothing else may be: until the service has hung up
// what it had to it, and the API server has heard.
func (l *load) kill(berth *harness.Berth, service *harness.Service) {
	l.s.t.Helper()
	l.during("a replica was killed", brokenConnection(), func() {
		berth.Kill()
		must(l.s.t, harness.Eventually(l.s.t.Context(), "the service has hung up", func(context.Context) error {
			if open := service.Open(berth.Admission.Address); open > 0 {
				return fmt.Errorf("%d connections are open", open)
			}
			return nil
		}))
		select {
		case <-time.After(settle):
		case <-l.s.t.Context().Done():
			l.s.t.Fatal(errors.New("the story ended"))
		}
	})
}
