//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/berth-csi/berth/e2e/harness"
)

// Periods of these stories, as flags. A rotation takes propagation, and then certificate lifetime and propagation: 16 seconds.
const (
	rotationLeaf        = 12 * time.Second
	rotationPropagation = 2 * time.Second
	rotationOverlap     = rotationLeaf + 2*rotationPropagation
	// rotationAuthority is the shortest life that is allowed with these.
	rotationAuthority = rotationOverlap + 2*(rotationLeaf+rotationPropagation)
)

// rotationFlags set periods of seconds, but for the authority's two.
func rotationFlags(authority, overlap time.Duration) []string {
	return []string{
		"--admission-authority-lifetime=" + authority.String(), "--admission-authority-overlap=" + overlap.String(),
		"--admission-certificate-lifetime=" + rotationLeaf.String(), "--admission-propagation=" + rotationPropagation.String(),
		"--admission-clock-skew=0s",
	}
}

// wholeRotation is what a rotation goes through.
func wholeRotation() []string {
	return []string{harness.PhasePrepared, harness.PhaseTrusted, harness.PhaseSwitched, harness.PhaseStable}
}

// diary is every phase that the Secret of a story's authority has ever been in.
type diary struct {
	mu     sync.Mutex
	phases []string
	last   *corev1.Secret // nil: it was deleted
}

// diary begins to watch the Secret, until the story ends.
func (s *story) diary() *diary {
	s.t.Helper()
	d := &diary{}
	ctx, cancel := context.WithCancel(context.Background())
	watch, err := s.Client().CoreV1().Secrets(harness.BerthNamespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, s.AuthoritySecretOf()).String(),
	})
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	var watching sync.WaitGroup
	s.t.Cleanup(func() { cancel(); watch.Stop(); watching.Wait() })
	watching.Go(func() {
		for event := range watch.ResultChan() {
			secret, ok := event.Object.(*corev1.Secret)
			if !ok {
				continue
			}
			if event.Type == "DELETED" {
				d.note(nil)
			} else {
				d.note(secret)
			}
		}
	})
	return d
}

func (d *diary) note(secret *corev1.Secret) {
	d.mu.Lock()
	defer d.mu.Unlock()
	phase := harness.PhaseNone
	if secret != nil {
		phase = harness.RotationPhase(secret)
	}
	d.last = secret
	if len(d.phases) == 0 || d.phases[len(d.phases)-1] != phase {
		d.phases = append(d.phases, phase)
	}
}

// now is the Secret and what phases it was in.
func (d *diary) now() (*corev1.Secret, []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last, slices.Clone(d.phases)
}

// until waits for a phase, and returns the Secret.
func (s *story) until(d *diary, phase string) *corev1.Secret {
	s.t.Helper()
	var secret *corev1.Secret
	must(s.t, harness.Eventually(s.t.Context(), "the rotation is "+phase, func(context.Context) error {
		var phases []string
		if secret, phases = d.now(); len(phases) == 0 || phases[len(phases)-1] != phase {
			return fmt.Errorf("its phases were %v", phases)
		}
		return nil
	}))
	return secret
}

// authority puts a Secret in place that a Berth of former times has left.
func (s *story) authority(ends time.Time) *corev1.Secret {
	s.t.Helper()
	secret, err := s.NewAuthoritySecret(ends)
	must(s.t, err)
	secret, err = s.Client().CoreV1().Secrets(harness.BerthNamespace).Create(s.t.Context(), secret, metav1.CreateOptions{})
	must(s.t, err)
	return secret
}

// replica starts a Berth that does nothing but admission, on an address.
func (s *story) replica(name, address string, flags ...string) *harness.Berth {
	s.t.Helper()
	berth, err := s.StartBerth(s.t.Context(), harness.BerthOptions{
		Name: name, Socket: "/nowhere.sock", Admission: &harness.AdmissionOptions{Components: "webhook", Address: address},
		Flags: append([]string{"--driver-name=" + s.Driver.Name}, flags...),
	})
	must(s.t, err)
	s.t.Cleanup(func() { berth.Kill() })
	return berth
}

// under has the API server ask a Berth about every claim of the story, with no way past it, and begins to create claims.
func (s *story) under(berth *harness.Berth, edits ...func(*harness.Webhooks)) (*load, *harness.Webhooks) {
	s.t.Helper()
	immediate, delayed := s.class(), s.class(harness.WaitForFirstConsumer)
	webhooks := s.webhooks(berth, append([]func(*harness.Webhooks){harness.Mandatory}, edits...)...)
	must(s.t, webhooks.WaitKept(s.t.Context(), s.Client(), immediate, delayed))
	s.admitted(immediate)
	s.admitted(delayed)
	return s.load(immediate, delayed), webhooks
}

// figure is a metric of a Berth; without any, an error.
func figure(ctx context.Context, berth *harness.Berth, series string) (float64, error) {
	_, metrics, err := berth.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", series)
}

// figured waits until a metric is as it should be.
func (s *story) figured(berth *harness.Berth, series string, good func(float64) bool) {
	s.t.Helper()
	check(s.t, harness.Eventually(s.t.Context(), "metric "+series+" is good", func(ctx context.Context) error {
		value, err := figure(ctx, berth, series)
		if err == nil && !good(value) {
			err = fmt.Errorf("it is %v", value)
		}
		return err
	}))
}

func is(want float64) func(float64) bool { return func(value float64) bool { return value == want } }

// inOrder checks what a leader says of itself when a rotation is over: everything is as the Secret has it, and the webhooks have it, too.
func (s *story) inOrder(leader *harness.Berth, webhooks *harness.Webhooks, secret *corev1.Secret) {
	s.t.Helper()
	ends, err := harness.AuthorityEnds(secret)
	must(s.t, err)
	s.figured(leader, fmt.Sprintf("berth_certificate_rotation_phase{phase=%q}", harness.RotationPhase(secret)), is(1))
	s.figured(leader, `berth_certificate_expiry_timestamp_seconds{certificate="authority"}`, is(float64(ends.Unix())))
	s.figured(leader, `berth_certificate_expiry_timestamp_seconds{certificate="serving"}`,
		func(value float64) bool { return value > float64(time.Now().Unix()) && value <= float64(ends.Unix()) })
	for _, name := range []string{webhooks.MutateClaims.Name, webhooks.ValidateClaims.Name, webhooks.ValidateContents.Name} {
		s.figured(leader, fmt.Sprintf("berth_certificate_injected{configuration=%q}", name), is(1))
	}
	s.carried(webhooks, secret)
}

// carried waits until the webhooks carry what the Secret has for them.
func (s *story) carried(webhooks *harness.Webhooks, secret *corev1.Secret) {
	s.t.Helper()
	check(s.t, harness.Eventually(s.t.Context(), "the webhooks carry the bundle", func(ctx context.Context) error {
		kept, err := webhooks.Kept(ctx, s.Client())
		for _, one := range kept {
			if string(one.Bundle) != string(secret.Data[harness.KeyBundle]) {
				err = errors.Join(err, fmt.Errorf("%s carries another one", one.Configuration))
			}
		}
		return err
	}))
}

// rotations is how many the story of a whole rotation sees through: one, or BERTH_E2E_ROTATIONS.
func rotations(t *testing.T) int {
	t.Helper()
	text := os.Getenv("BERTH_E2E_ROTATIONS")
	if text == "" {
		return 1
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 {
		t.Fatalf("BERTH_E2E_ROTATIONS is %q, not a number of rotations", text)
	}
	return count
}

func TestRotationFailsNoAdmission(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "rotates", withoutBerth)
	// An authority that is due in a moment; those that follow are due as soon as the rotation before is over.
	former := s.authority(time.Now().Add(rotationOverlap + 8*time.Second))
	d := s.diary()
	berth, err := s.StartBerth(t.Context(), harness.BerthOptions{
		Admission: &harness.AdmissionOptions{}, Flags: rotationFlags(rotationAuthority, rotationOverlap),
	})
	must(t, err)
	s.Berth = berth // so that it is stopped, and has to end well
	l, webhooks := s.under(berth)

	// If the machine is slow the first rotation may have begun without the load; then it does not count.
	_, before := d.now()
	count := rotations(t)
	var done int
	must(t, harness.EventuallyWithin(t.Context(), time.Duration(count)*harness.WaitTimeout, "the authority was rotated", func(context.Context) error {
		_, phases := d.now()
		if done = wholeRotations(phases[max(len(before)-1, 0):]); done < count {
			return fmt.Errorf("the phases were %v", phases)
		}
		return nil
	}))
	secret, phases := d.now()
	l.check(t)
	for i, phase := range phases {
		if want := append([]string{harness.PhaseStable}, wholeRotation()[:3]...)[i%4]; phase != want {
			t.Fatalf("the phases were %v; number %d should have been %s", phases, i+1, want)
		}
	}
	if harness.RotationPhase(secret) == harness.PhaseStable {
		s.inOrder(berth, webhooks, secret)
	}
	if string(secret.Data[harness.KeyAuthority]) == string(former.Data[harness.KeyAuthority]) {
		t.Error("the authority is the former one")
	}
	for _, step := range []string{"Prepare", "Trust", "Switch", "Retire"} {
		s.figured(berth, fmt.Sprintf("berth_certificate_rotation_steps_total{step=%q}", step), func(value float64) bool { return value >= float64(count) })
	}
	s.figured(berth, "berth_certificate_signed_total", func(value float64) bool { return value >= 2 })
	// A claim that is meant is provisioned, at last.
	s.claim("data", s.class())
	s.bound("data")
}

// wholeRotations is how many there are in a sequence of phases.
func wholeRotations(phases []string) (count int) {
	whole := wholeRotation()
	for i := 0; i+len(whole) <= len(phases); i++ {
		if slices.Equal(phases[i:i+len(whole)], whole) {
			count++
		}
	}
	return count
}

// mayWrite grants or takes away the right to write to webhook configurations, and waits until that has come to the API server. Without it, a
// rotation is held where it has just been prepared.
func (s *story) mayWrite(granted bool) {
	s.t.Helper()
	roles, account := s.Client().RbacV1().ClusterRoles(), "berth-"+s.Name
	must(s.t, harness.Eventually(s.t.Context(), "the role is changed", func(ctx context.Context) error {
		role, err := roles.Get(ctx, account, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for i, rule := range role.Rules {
			if slices.Contains(rule.APIGroups, "admissionregistration.k8s.io") {
				role.Rules[i].Verbs = []string{"list", "watch"}
				if granted {
					role.Rules[i].Verbs = append(role.Rules[i].Verbs, "patch")
				}
			}
		}
		_, err = roles.Update(ctx, role, metav1.UpdateOptions{})
		return err
	}))
	must(s.t, harness.Eventually(s.t.Context(), "the role has its effect", func(ctx context.Context) error {
		review, err := s.Client().AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: s.User(), ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "patch", Name: account + "-mutate-claims",
			}},
		}, metav1.CreateOptions{})
		if err == nil && review.Status.Allowed != granted {
			err = fmt.Errorf("allowed: %t", review.Status.Allowed)
		}
		return err
	}))
}

// pair are two replicas of admission behind a service, of which one keeps the authority.
type pair struct {
	*story

	load     *load
	service  *harness.Service
	replicas map[string]*harness.Berth // by name
}

// leading waits for somebody else than some replica to lead, and returns the name.
func (p *pair) leading(not string) string {
	p.t.Helper()
	var holder string
	must(p.t, harness.Eventually(p.t.Context(), "another than "+not+" leads", func(ctx context.Context) error {
		lease, err := p.Client().CoordinationV1().Leases(harness.BerthNamespace).
			Get(ctx, strings.ReplaceAll(p.Driver.Name, ".", "-")+"-admission", metav1.GetOptions{})
		switch {
		case err != nil:
			return err
		case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || *lease.Spec.HolderIdentity == not:
			return errors.New("nobody does")
		}
		holder = *lease.Spec.HolderIdentity
		return nil
	}))
	return holder
}

// start starts a replica, once more or for the first time, and waits until it serves.
func (p *pair) start(name, address string, flags ...string) {
	p.t.Helper()
	p.replicas[name] = p.replica(name, address, append(flags, "--leader-election", "--leader-election-identity="+name,
		"--leader-election-lease-duration=3s", "--leader-election-renew-deadline=2s", "--leader-election-retry-period=400ms")...)
	p.ready(p.replicas[name])
}

// leavesService takes a replica out of the Service as endpoints do: once it says that it is not ready, not before it is told to end.
func (p *pair) leavesService(name, address string) <-chan error {
	left, replica := make(chan error, 1), p.replicas[name]
	go func() {
		left <- harness.Eventually(p.t.Context(), "the replica is not ready any more", func(ctx context.Context) error {
			if code, _, err := replica.Get(ctx, "/readyz"); err == nil && code == http.StatusOK {
				return errors.New("it is ready")
			}
			return nil
		})
		p.service.Leave(address)
	}()
	return left
}

// killed kills the replica that leads, and starts it again when another one leads: before, it would lead again itself, for its Lease tells
// one life of a name from another as little as a StatefulSet's Pods do.
func (p *pair) killed() {
	p.t.Helper()
	name := p.leading("")
	p.load.kill(p.replicas[name], p.service)
	p.leading(name)
	must(p.t, p.replicas[name].Start(p.t.Context()))
	p.ready(p.replicas[name])
}

// TestRotationIsFinishedByTheNextLeader kills the leader in each state of a rotation. API servers call a Service, which is more than one
// loopback address can be: harness.Service stands for it. What was asked of a process as it was killed cannot be answered, behind a real
// Service as here; all other claims have to be let in, by the replica that is left.
func TestRotationIsFinishedByTheNextLeader(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "succeeds", withoutBerth)
	// At first nothing is due. Replicas that come later are told of a longer overlap, so that a rotation begins when one of them leads.
	former := s.authority(time.Now().Add(time.Hour))
	d := s.diary()
	calm, due := rotationFlags(3*time.Hour, time.Minute), rotationFlags(3*time.Hour, 2*time.Hour)
	p := &pair{story: s, replicas: map[string]*harness.Berth{}}
	p.start("a", "", calm...)
	p.start("b", "", calm...)
	addresses := map[string]string{}
	for name, berth := range p.replicas {
		addresses[name] = berth.Admission.Address
	}
	var err error
	p.service, err = harness.StartService(t.Context(), addresses["a"], addresses["b"])
	must(t, err)
	t.Cleanup(func() { check(t, p.service.Close()) })
	called := *p.replicas["a"]
	called.Admission = new(*called.Admission)
	called.Admission.Address = p.service.Address
	var webhooks *harness.Webhooks
	p.load, webhooks = s.under(&called)

	// Stable: the one that leads is killed, the other one is told to end; both are replaced.
	leader := p.leading("")
	other := map[string]string{"a": "b", "b": "a"}
	s.mayWrite(false)
	p.load.kill(p.replicas[leader], p.service)
	p.leading(leader)
	p.start(leader, addresses[leader], due...)
	left := p.leavesService(other[leader], addresses[other[leader]])
	_, err = p.replicas[other[leader]].Stop(t.Context())
	must(t, err)
	must(t, <-left)
	p.start(other[leader], addresses[other[leader]], due...)
	p.service.Return(addresses[other[leader]])

	// Prepared: no leader gets on from here.
	s.until(d, harness.PhasePrepared)
	p.killed()
	s.until(d, harness.PhasePrepared)

	// Trusted: this begins once the right is given back, and takes no longer than the propagation time.
	s.mayWrite(true)
	s.until(d, harness.PhaseTrusted)
	p.killed()

	// Switched: the one that was next signs, and the former one is still trusted.
	s.until(d, harness.PhaseSwitched)
	p.killed()

	secret := s.until(d, harness.PhaseStable)
	leader = p.leading("")
	s.inOrder(p.replicas[leader], webhooks, secret)
	_, phases := d.now()
	if want := append([]string{harness.PhaseStable}, wholeRotation()...); !slices.Equal(phases, want) {
		t.Errorf("the phases were %v, want %v", phases, want)
	}
	if string(secret.Data[harness.KeyAuthority]) == string(former.Data[harness.KeyAuthority]) {
		t.Error("the authority is the former one")
	}
	p.load.check(t)
	for name, berth := range p.replicas {
		if _, err := harness.TrustedWith(t.Context(), addresses[name], secret.Data[harness.KeyBundle]); err != nil {
			t.Errorf("%s after the rotation: %v", name, err)
		}
		s.figured(berth, `berth_certificate_rotation_phase{phase="stable"}`, is(1))
	}
}
