package provisioner

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
)

// In distributed mode a claim whose selected node does not have the driver, or is gone, waits for nobody: the scheduler does not select another node, and
// the instance that could give the claim back is not there. So the other nodes' instances look after it. None of them watches nodes; one of them
// reads the one node that the claim waits for, and takes it off the claim if the driver is not registered there. Which one, they cannot agree
// on: at first a few look, by chance, then more and more. That costs a large cluster few reads, and a small one some minutes.

// lookShares are how many of the nodes look at the first times, one after the other, and how many at all later ones. They come a
// --node-deployment-max-delay after each other, and later laterLooks times that.
var lookShares = []float64{1. / 64, 1. / 16, 1. / 4, 1}

const (
	laterShare = 1. / 16
	laterLooks = 60
	// straysLimit bounds what is remembered of nodes.
	straysLimit = 10_000
)

// LookForDriver finds out whether the node that a claim is for has the driver, and gives the claim back if not.
type LookForDriver struct{ Node string }

func (LookForDriver) action() {}

// strays are the claims without a volume that are for other nodes.
type strays struct {
	node Node // this one
	now  func() time.Time

	mu      sync.Mutex
	byClaim map[types.UID]stray
	seen    map[string]time.Time // other nodes, when the driver was last seen to be there
}

type stray struct {
	node  string
	since time.Time
	looks int // that are over, with this node's part in them or without
}

func newStrays(node Node) *strays {
	return &strays{node: node, now: time.Now, byClaim: map[types.UID]stray{}, seen: map[string]time.Time{}}
}

// left is how long it is until this node is to look after a claim that is for another one. The first question begins the waiting.
func (s *strays) left(claim types.UID, node string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	entry := s.byClaim[claim]
	if entry.node != node {
		entry = stray{node: node, since: now}
	}
	defer func() { s.byClaim[claim] = entry }()
	for {
		if wait := entry.since.Add(lookAfter(entry.looks, s.node.MaxDelay)).Sub(now); wait > 0 {
			return wait
		}
		if looks(claim, s.node.Name, entry.looks) {
			return 0
		}
		entry.looks++
	}
}

// looked counts a look.
func (s *strays) looked(claim types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry, ok := s.byClaim[claim]; ok {
		entry.looks++
		s.byClaim[claim] = entry
	}
}

func (s *strays) forget(claim types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byClaim, claim)
}

// saw remembers that a node has the driver.
func (s *strays) saw(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= straysLimit {
		clear(s.seen)
	}
	s.seen[node] = s.now()
}

// known reports whether a node had the driver not long ago.
func (s *strays) known(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.seen[node]
	return ok && s.now().Sub(at) < laterLooks/2*s.node.MaxDelay
}

// lookAfter is when a look comes, counted from 0.
func lookAfter(look int, pause time.Duration) time.Duration {
	first := min(look+1, len(lookShares))
	return time.Duration(first+laterLooks*(look+1-first)) * pause
}

// looks reports whether a node takes part in a look. Whoever took part in one of the first takes part in the greater ones after it.
func looks(claim types.UID, node string, look int) bool {
	h := fnv.New64a()
	share := laterShare
	if look < len(lookShares) {
		share = lookShares[look]
		_, _ = fmt.Fprintf(h, "%s/%s", claim, node) // never fails
	} else {
		_, _ = fmt.Fprintf(h, "%s/%s/%d", claim, node, look)
	}
	const even = 0x9e3779b97f4a7c15 // spreads what differs in the last characters alone
	return float64((h.Sum64()*even)>>11)/(1<<53) < share
}

// lookForDriver reads the node that a claim is for.
func (c *Controller) lookForDriver(ctx context.Context, key ClaimKey, in Input, node string) worker.Result {
	defer c.strays.looked(key.UID)
	if c.strays.known(node) {
		return worker.After(time.Second)
	}
	message, err := c.withoutDriver(ctx, node)
	switch {
	case err != nil:
		klog.FromContext(ctx).V(2).Info("Whether a claim waits for a node without the driver cannot be told", "claim", key, "node", node, "err", err)
		return worker.After(time.Second)
	case message == "":
		c.strays.saw(node)
		return worker.After(time.Second)
	}
	klog.FromContext(ctx).Info("A claim waits for a node without the driver and is given back", "claim", key, "node", node, "why", message)
	return c.giveBack(ctx, claimReference(in.Claim), node, in.Class.Name, message)
}

// withoutDriver says why a node cannot make volumes; empty: it has the driver.
func (c *Controller) withoutDriver(ctx context.Context, node string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	csiNode, err := absent(c.client.StorageV1().CSINodes().Get(ctx, node, metav1.GetOptions{}))
	if err != nil {
		return "", fmt.Errorf("read CSINode %s: %w", node, err)
	}
	has := func(d storagev1.CSINodeDriver) bool { return d.Name == c.settings.Driver.Name }
	if csiNode != nil && slices.ContainsFunc(csiNode.Spec.Drivers, has) {
		return "", nil
	}
	object, err := absent(c.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}))
	if err != nil {
		return "", fmt.Errorf("read node %s: %w", node, err)
	}
	if object == nil {
		return fmt.Sprintf("node %q, which was selected, does not exist any more: it is taken off the claim, and another one is to be selected", node), nil
	}
	return fmt.Sprintf("node %q, which was selected, does not have driver %s, so nobody can make the volume there: it is taken off the claim, and another one is to be selected. Pods can be kept off such nodes by their labels, or by publishing capacity (--enable-capacity, and spec.storageCapacity of the CSIDriver)",
		node, c.settings.Driver.Name), nil
}
