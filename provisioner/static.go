package provisioner

import (
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/internal/worker"
)

// binderPatience is how long a claim is left to the controller-manager because of a volume that exists. That one looks at each claim at least every 15
// seconds (--pvclaimbinder-sync-period), so it had the chance. There are volumes that fit by our rule and that it never takes, such as one that
// is reserved for the claim and too small: no claim waits longer for one than this.
const binderPatience = 30 * time.Second

// StaticVolume is a volume that exists and that the controller-manager may bind the claim to; the zero value if there is none.
type StaticVolume struct {
	Name string
	Left time.Duration // how long ago the claim was first left to the controller-manager because of such a volume
}

// gatherStatic looks for a volume that exists and that a claim with Immediate binding may be bound to. Admission has given the claim to us before the
// controller-manager saw it, perhaps with a cache that had not seen the volume. With WaitForFirstConsumer the scheduler has looked for a volume
// before it selected a node, and the controller-manager binds none by itself.
func (c *Controller) gatherStatic(in Input) StaticVolume {
	if in.Stored != nil || in.Class == nil || delayed(in.Class) || in.Claim.Spec.Selector != nil || notOurs(in) != "" {
		return StaticVolume{}
	}
	volume := c.static.InPlay(in.Claim)
	if volume == nil {
		return StaticVolume{}
	}
	return StaticVolume{Name: volume.Name, Left: c.left.howLong(in.Claim.UID)}
}

// leaveToBinder waits until the volume changes, or the controller-manager has had the time to take it.
func (c *Controller) leaveToBinder(key ClaimKey, in Input, action LeaveToBinder) worker.Result {
	c.left.to(key, action.Volume)
	// What happened to the volume before that line wakes nobody.
	if now := c.static.InPlay(in.Claim); now == nil || now.Name != action.Volume {
		c.claimLoop.Enqueue(key)
	}
	return worker.After(action.For)
}

// passOver tells people, once, of a volume that fits a claim and that the controller-manager does not take.
func (c *Controller) passOver(in Input) {
	if in.Static.Name == "" || !c.announced.first(in.Claim.UID, "volume") {
		return
	}
	c.event(claimReference(in.Claim), corev1.EventTypeNormal, ReasonProvisioning, fmt.Sprintf(
		"PersistentVolume %q is there for the claim, but was not bound to it within %s: another volume is created", in.Static.Name, binderPatience))
}

// overtaken reports whether a volume has appeared since the attempt was decided that leaves the claim to the controller-manager. It is asked last before
// the driver is called for the first time: waiting for the journal can take long.
func (c *Controller) overtaken(key ClaimKey, attempt *Attempt) bool {
	if attempt.SelectedNode != "" {
		return false
	}
	claim, err := c.claimLister.PersistentVolumeClaims(key.Namespace).Get(key.Name)
	if err != nil || claim.UID != key.UID {
		return false // that it is gone is found out when its volume is to be stored
	}
	return c.left.howLong(key.UID) < binderPatience && c.static.InPlay(claim) != nil
}

// left are the claims that are, or were, left to the controller-manager because of a volume that exists. A claim stays in it for as long as there is such a
// volume, so that it is left once and not again at each try.
type left struct {
	mu     sync.Mutex
	claims map[types.UID]*leaving
	by     map[string]map[types.UID]ClaimKey // name of a volume -> claims that wait for what becomes of it
}

type leaving struct {
	since  time.Time
	volume string // empty: the claim does not wait any more
}

func newLeft() *left {
	return &left{claims: map[types.UID]*leaving{}, by: map[string]map[types.UID]ClaimKey{}}
}

// howLong is how long ago a claim was first left.
func (l *left) howLong(claim types.UID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry := l.claims[claim]; entry != nil {
		return time.Since(entry.since)
	}
	return 0
}

// to has a claim wait for what becomes of a volume.
func (l *left) to(key ClaimKey, volume string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := l.claims[key.UID]
	if entry == nil {
		entry = &leaving{since: time.Now()}
		l.claims[key.UID] = entry
	}
	l.detach(key.UID, entry)
	entry.volume = volume
	if l.by[volume] == nil {
		l.by[volume] = map[types.UID]ClaimKey{}
	}
	l.by[volume][key.UID] = key
}

// noLonger ends a claim's waiting: it is provisioned although there is a volume.
func (l *left) noLonger(claim types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry := l.claims[claim]; entry != nil {
		l.detach(claim, entry)
	}
}

// forget forgets a claim: there is no volume that exists for it, or it has one, or it is gone.
func (l *left) forget(claim types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry := l.claims[claim]; entry != nil {
		l.detach(claim, entry)
		delete(l.claims, claim)
	}
}

func (l *left) detach(claim types.UID, entry *leaving) {
	if waiting := l.by[entry.volume]; waiting != nil {
		delete(waiting, claim)
		if len(waiting) == 0 {
			delete(l.by, entry.volume)
		}
	}
	entry.volume = ""
}

// waitingFor are the claims that wait for what becomes of a volume.
func (l *left) waitingFor(volume string) []ClaimKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := make([]ClaimKey, 0, len(l.by[volume]))
	for _, key := range l.by[volume] {
		keys = append(keys, key)
	}
	return keys
}

// reviewLeft wakes the claims that were left to the controller-manager because of a volume that changed or is gone.
func (c *Controller) reviewLeft(volume string) {
	for _, key := range c.left.waitingFor(volume) {
		c.claimLoop.Wake(key)
	}
}

// noteLeft keeps what is remembered of a claim's waiting to what was decided.
func (c *Controller) noteLeft(key ClaimKey, in Input, decided Action) {
	_, waits := decided.(LeaveToBinder)
	switch {
	case in.Attempt != nil || waits:
	case in.Static.Name == "":
		c.left.forget(key.UID)
	default:
		c.left.noLonger(key.UID)
	}
}
