package provisioner

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/datasource"
)

var (
	snapKey   = datasource.Key{Kind: datasource.Snapshot, Namespace: "ns", Name: "snap"}
	sourceKey = datasource.Key{Kind: datasource.Clone, Namespace: "ns", Name: "source"}
)

func TestHoldingAndReleasingExcludeEachOther(t *testing.T) {
	h := newHolds()
	for _, claim := range []types.UID{"a", "a", "b"} {
		if !h.take(claim, snapKey) {
			t.Fatalf("a source that nobody takes away was not given to %q", claim)
		}
	}
	if h.beginRelease(snapKey) {
		t.Error("released while two claims rely on it")
	}
	if !h.beginRelease(sourceKey) {
		t.Error("another source is not free")
	}
	if got, held := h.letGo("a"); !held || got != snapKey {
		t.Errorf("let go of %v, %v", got, held)
	}
	if h.beginRelease(snapKey) {
		t.Error("released while one claim relies on it, which took it once")
	}
	h.letGo("b")
	if !h.beginRelease(snapKey) {
		t.Error("not released though nobody relies on it")
	}
	if h.take("a", snapKey) || h.take("a", sourceKey) {
		t.Error("given while it is being released")
	}
	h.endRelease(snapKey)
	if !h.take("a", snapKey) {
		t.Error("not given after the release")
	}
}

func TestAClaimHoldsOneSource(t *testing.T) {
	h := newHolds()
	h.take("a", snapKey)
	h.take("a", sourceKey) // its spec changed
	if !h.beginRelease(snapKey) || h.beginRelease(sourceKey) {
		t.Error("the claim holds what it held before, and not what it holds")
	}
}

func TestARefusedTakeKeepsWhatIsHeld(t *testing.T) {
	h := newHolds()
	h.take("a", snapKey)
	h.beginRelease(sourceKey)
	if h.take("a", sourceKey) || h.beginRelease(snapKey) {
		t.Error("a claim that could not take a source lost the one that it has")
	}
}

func TestLettingGoOfNothing(t *testing.T) {
	h := newHolds()
	if got, held := h.letGo("a"); held || got != (datasource.Key{}) {
		t.Errorf("got %v, %v", got, held)
	}
	h.take("a", snapKey)
	h.letGo("a")
	if _, held := h.letGo("a"); held {
		t.Error("let go of twice")
	}
	if len(h.held)+len(h.holders)+len(h.releasing) > 0 {
		t.Errorf("left over: %v", h)
	}
}

// Whatever many workers do at once: nobody relies on a source that is being released, and nothing is left over.
func TestHoldsUnderManyHands(t *testing.T) {
	h := newHolds()
	var mu sync.Mutex
	relied, releasing := map[datasource.Key]int{}, map[datasource.Key]bool{}
	check := func(change func()) {
		mu.Lock()
		defer mu.Unlock()
		change()
		for source := range releasing {
			if releasing[source] && relied[source] > 0 {
				t.Errorf("%s is being released while %d claims rely on it", source, relied[source])
			}
		}
	}
	var hands sync.WaitGroup
	for i := range 8 {
		hands.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(i)))
			claim := types.UID(fmt.Sprint(i))
			for range 2000 {
				source := []datasource.Key{snapKey, sourceKey}[random.IntN(2)]
				if random.IntN(2) == 0 {
					if h.take(claim, source) {
						check(func() { relied[source]++ })
						check(func() { relied[source]-- })
						h.letGo(claim)
					}
				} else if i == 0 && h.beginRelease(source) { // a source has one worker at a time
					check(func() { releasing[source] = true })
					check(func() { releasing[source] = false })
					h.endRelease(source)
				}
			}
		})
	}
	hands.Wait()
	if len(h.held)+len(h.holders)+len(h.releasing) > 0 {
		t.Errorf("left over: %v", h)
	}
}
