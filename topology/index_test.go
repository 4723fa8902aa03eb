package topology

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

func TestNodeSegment(t *testing.T) {
	index := NewIndex()
	index.SetNode("ok", map[string]string{"zone": "a", "other": "x"})
	index.SetRegistration("ok", NewKeySet([]string{"zone"}))
	index.SetNode("no-csinode", map[string]string{"zone": "a"})
	index.SetNode("no-driver", map[string]string{"zone": "a"})
	index.DeleteRegistration("no-driver")
	index.SetRegistration("no-node", NewKeySet([]string{"zone"}))
	index.SetNode("no-keys", map[string]string{"zone": "a"})
	index.SetRegistration("no-keys", KeySet{})
	index.SetNode("no-label", nil)
	index.SetRegistration("no-label", NewKeySet([]string{"zone"}))

	if got, err := index.NodeSegment("ok"); err != nil || got != seg("zone", "a") {
		t.Errorf("got %v, %v", got, err)
	}
	for node, gone := range map[string]bool{"never-seen": true, "no-node": true, "no-csinode": true, "no-driver": false, "no-keys": false, "no-label": false} {
		_, err := index.NodeSegment(node)
		if err == nil || errors.Is(err, ErrNodeGone) != gone {
			t.Errorf("%s: got %v, want an error that is ErrNodeGone: %v", node, err, gone)
		}
	}
}

func TestIndexSegments(t *testing.T) {
	index := NewIndex()
	register := func(node string, keys ...string) { index.SetRegistration(node, NewKeySet(keys)) }
	check := func(step string, registered, labelled []string) {
		t.Helper()
		if diff := cmp.Diff(registered, names(index.RegisteredSegments())); diff != "" {
			t.Errorf("%s: registered: %s", step, diff)
		}
		if diff := cmp.Diff(labelled, names(index.LabelledSegments(seg("zone", "any")))); diff != "" {
			t.Errorf("%s: labelled: %s", step, diff)
		}
	}
	check("empty", nil, nil)
	index.SetNode("n1", map[string]string{"zone": "b"})
	index.SetNode("n2", map[string]string{"zone": "a"})
	check("no driver anywhere", nil, nil)
	register("n1", "zone")
	check("the first registration brings all labels", []string{"zone=b"}, []string{"zone=a", "zone=b"})
	register("n2", "zone")
	check("both registered", []string{"zone=a", "zone=b"}, []string{"zone=a", "zone=b"})
	index.SetNode("n2", map[string]string{"zone": "b"})
	check("a node moves", []string{"zone=b"}, []string{"zone=b"})
	register("n2", "zone", "rack")
	check("a node without a label of its new keys counts nowhere", []string{"zone=b"}, []string{"zone=b"})
	index.SetNode("n2", map[string]string{"zone": "b", "rack": "1"})
	check("two sets of keys: the union", []string{"zone=b", "rack=1,zone=b"}, []string{"zone=b"})
	index.DeleteRegistration("n1")
	check("the last of the old set leaves", []string{"rack=1,zone=b"}, nil)
	index.DeleteNode("n2")
	check("node gone, registration stays", nil, nil)
	index.SetNode("n2", map[string]string{"zone": "c", "rack": "1"})
	check("and comes back", []string{"rack=1,zone=c"}, nil)
}

func TestListsAlreadyHandedOutDoNotChange(t *testing.T) {
	index := NewIndex()
	index.SetNode("n1", map[string]string{"zone": "b"})
	index.SetRegistration("n1", NewKeySet([]string{"zone"}))
	before := index.RegisteredSegments()
	index.SetNode("n2", map[string]string{"zone": "a"})
	index.SetRegistration("n2", NewKeySet([]string{"zone"}))
	if diff := cmp.Diff([]string{"zone=b"}, names(before)); diff != "" {
		t.Error(diff)
	}
}

// TestIndexEqualsRecount compares the index, after random changes, with counting everything anew.
func TestIndexEqualsRecount(t *testing.T) {
	type node struct {
		labels     map[string]string
		present    bool
		registered bool
		keys       []string
	}
	keySets := [][]string{{"zone"}, {"zone", "rack"}, {}}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		index, model := NewIndex(), map[string]*node{}
		for step := range 200 {
			name := fmt.Sprintf("n%d", random.IntN(6))
			n := model[name]
			if n == nil {
				n = &node{}
				model[name] = n
			}
			switch random.IntN(4) {
			case 0:
				n.present, n.labels = true, map[string]string{"zone": string(rune('a' + random.IntN(3)))}
				if random.IntN(2) == 0 {
					n.labels["rack"] = string(rune('1' + random.IntN(2)))
				}
				index.SetNode(name, n.labels)
			case 1:
				n.present, n.labels = false, nil
				index.DeleteNode(name)
			case 2:
				n.registered, n.keys = true, keySets[random.IntN(len(keySets))]
				index.SetRegistration(name, NewKeySet(n.keys))
			case 3:
				n.registered, n.keys = false, nil
				if random.IntN(2) == 0 {
					index.DeleteRegistration(name)
				} else {
					index.DeleteCSINode(name)
				}
			}
			var registered, labelled []Segment
			zoneKnown := false
			for _, n := range model {
				zoneKnown = zoneKnown || n.registered && len(n.keys) == 1
			}
			for _, n := range model {
				keys := slices.Sorted(slices.Values(n.keys))
				if s, ok := SegmentOf(n.labels, keys); ok && n.present && n.registered && len(keys) > 0 {
					registered = append(registered, s)
				}
				if s, ok := SegmentOf(n.labels, []string{"zone"}); ok && n.present && zoneKnown {
					labelled = append(labelled, s)
				}
			}
			if diff := cmp.Diff(names(sortUnique(registered)), names(index.RegisteredSegments())); diff != "" {
				t.Fatalf("seed %d step %d: registered: %s", seed, step, diff)
			}
			if diff := cmp.Diff(names(sortUnique(labelled)), names(index.LabelledSegments(seg("zone", "x")))); diff != "" {
				t.Fatalf("seed %d step %d: labelled: %s", seed, step, diff)
			}
		}
	}
}

func TestIndexFollowsInformerEvents(t *testing.T) {
	index := NewIndex()
	nodes, csiNodes := index.NodeEvents(), index.CSINodeEvents("driver")
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"zone": "a"}}}
	with := func(drivers ...storagev1.CSINodeDriver) *storagev1.CSINode {
		return &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: storagev1.CSINodeSpec{Drivers: drivers}}
	}
	keys := []string{"zone"}
	ours := storagev1.CSINodeDriver{Name: "driver", TopologyKeys: keys}
	other := storagev1.CSINodeDriver{Name: "other", TopologyKeys: []string{"host"}}

	check := func(step string, want []string) {
		t.Helper()
		if diff := cmp.Diff(want, names(index.RegisteredSegments())); diff != "" {
			t.Errorf("%s: %s", step, diff)
		}
	}
	nodes.OnAdd(node, true)
	csiNodes.OnAdd(with(other), true)
	check("another driver's registration", nil)
	csiNodes.OnUpdate(with(other), with(other, ours))
	check("ours", []string{"zone=a"})
	csiNodes.OnUpdate(with(other, ours), with(other))
	check("unregistered", nil)
	csiNodes.OnUpdate(with(other), with(ours))
	nodes.OnDelete(cache.DeletedFinalStateUnknown{Key: "n1"})
	check("node gone, known only by key", nil)
	nodes.OnAdd(node, false)
	csiNodes.OnDelete(with(ours))
	check("CSINode gone", nil)
}

func TestOnlyChangesAreTold(t *testing.T) {
	index, told := NewIndex(), 0
	index.OnChange(func() {
		told++
		index.RegisteredSegments() // no lock is held
	})
	for range 3 { // a Node's status changes all the time
		index.SetNode("n1", map[string]string{"zone": "a"})
	}
	index.DeleteRegistration("n1")
	for range 3 {
		index.SetRegistration("n1", NewKeySet([]string{"zone"}))
	}
	if told != 3 {
		t.Errorf("told %d times, want 3", told)
	}
}

func TestKeySetIsAValue(t *testing.T) {
	keys := []string{"zone", "host", "zone"} // an informer's
	if got := NewKeySet(keys).String(); got != "host,zone" {
		t.Errorf("got %q", got)
	}
	if diff := cmp.Diff([]string{"zone", "host", "zone"}, keys); diff != "" {
		t.Error(diff)
	}
	if NewKeySet(keys) != NewKeySet([]string{"host", "zone"}) || NewKeySet(keys) != seg("zone", "a", "host", "b").keySet() {
		t.Error("the same keys are not the same set")
	}
	none := NewKeySet(nil)
	if !none.IsZero() || none != (KeySet{}) || none.Keys() != nil || none.String() != "" {
		t.Errorf("no keys make %v", none)
	}
	if odd := NewKeySet([]string{""}); odd.IsZero() {
		t.Error("a key without characters is no key")
	}
}

func TestIndexLeavesInformersObjectsAlone(t *testing.T) {
	index := NewIndex()
	csiNode := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: storagev1.CSINodeSpec{
		Drivers: []storagev1.CSINodeDriver{{Name: "driver", TopologyKeys: []string{"zone", "rack"}}}}}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"zone": "a", "rack": "1"}}}
	nodeBefore, csiNodeBefore := node.DeepCopy(), csiNode.DeepCopy()
	index.NodeEvents().OnAdd(node, true)
	index.CSINodeEvents("driver").OnAdd(csiNode, true)
	if diff := cmp.Diff([]string{"rack=1,zone=a"}, names(index.RegisteredSegments())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(csiNodeBefore, csiNode) + cmp.Diff(nodeBefore, node); diff != "" {
		t.Error(diff)
	}
}

func TestIndexIgnoresObjectsOfOtherTypes(t *testing.T) {
	index := NewIndex()
	index.NodeEvents().OnAdd(&storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, true)
	index.CSINodeEvents("driver").OnAdd(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, true)
	index.NodeEvents().OnDelete("n1")
	if len(index.nodes) != 0 {
		t.Errorf("got %v, want nothing", index.nodes)
	}
}

func TestIndexForgetsNodesThatAreGone(t *testing.T) {
	index := NewIndex()
	for range 2 { // a deletion may be told again, or of what was never seen
		index.DeleteNode("n1")
		index.DeleteCSINode("n1")
		index.SetNode("n1", map[string]string{"zone": "a"})
		index.SetRegistration("n1", NewKeySet([]string{"zone"}))
		index.DeleteNode("n1")
		index.DeleteNode("n1")
		index.DeleteCSINode("n1")
		index.DeleteCSINode("n1")
	}
	if len(index.nodes) != 0 || len(index.labelled) != 0 || len(index.registered.nodes) != 0 {
		t.Errorf("left: %v, %v, %v", index.nodes, index.labelled, index.registered.nodes)
	}
}

// For the race detector: claims read what they were given while nodes change.
func TestIndexIsAskedWhileItChanges(t *testing.T) {
	index := largeIndex(50, NewKeySet([]string{"host"}))
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 200 {
				node := fmt.Sprintf("n%04d", (worker*50+i)%60)
				if i%3 == 0 {
					index.DeleteNode(node)
				} else {
					index.SetNode(node, map[string]string{"host": node})
				}
				need := Need{ClaimName: node, Immediate: true, Candidates: index.RegisteredSegments(), Limit: i % 20}
				if got, err := Require(need); err != nil || !slices.IsSortedFunc(got.Requisite, Segment.Compare) {
					t.Errorf("got %v, %v", got, err)
				}
				if segment, err := index.NodeSegment(node); err == nil {
					index.LabelledSegments(segment)
				}
			}
		})
	}
	group.Wait()
}

// TestListFollowsChanges compares a counter's list, asked for now and then, with sorting what is there.
func TestListFollowsChanges(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 4))
		all := numbered(1 + random.IntN(40))
		var counts counter
		var handedOut, copied [][]Segment
		for range 400 {
			segment := all[random.IntN(len(all))]
			if counts.nodes[segment] > 0 && random.IntN(2) == 0 {
				counts.add(segment, -1)
			} else {
				counts.add(segment, +1)
			}
			if len(counts.changed) > len(all) {
				t.Fatalf("seed %d: %d changes of %d segments wait to be asked about", seed, len(counts.changed), len(all))
			}
			if random.IntN(4) > 0 {
				continue
			}
			got := counts.sorted()
			if diff := cmp.Diff(names(slices.SortedFunc(maps.Keys(counts.nodes), Segment.Compare)), names(got)); diff != "" {
				t.Fatalf("seed %d: %s", seed, diff)
			}
			if len(got) != cap(got) {
				t.Fatalf("seed %d: %d segments with room for %d: an append would change what others hold", seed, len(got), cap(got))
			}
			handedOut, copied = append(handedOut, got), append(copied, slices.Clone(got))
		}
		for i := range handedOut {
			if !slices.Equal(handedOut[i], copied[i]) {
				t.Fatalf("seed %d: list %d changed after it was handed out", seed, i)
			}
		}
	}
}
