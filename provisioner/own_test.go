package provisioner

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

// ourNode is in zone a.
func ourNode() Node {
	return Node{Name: "node-a", Segment: zone("a"), Immediate: true, BaseDelay: 20 * time.Second, MaxDelay: time.Minute}
}

// onOurNode makes an input of distributed mode, of a claim that may be taken now if there is room.
func onOurNode(in *Input) {
	in.Settings.Node, in.Settings.Driver.Capacity = ourNode(), true
	in.Place = Place{}
}

func turnIs(turn Turn) func(*Input) { return func(in *Input) { in.Turn = turn } }

func roomFor(available int64) Turn { return Turn{Room: &csi.Capacity{Available: available}} }

func requesting(quantity string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(quantity)}
	}
}

func allowing(zones ...string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		class.AllowedTopologies = []corev1.TopologySelectorTerm{{
			MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: "zone", Values: zones}},
		}}
	}
}

func TestWhoseAClaimIsInDistributedMode(t *testing.T) {
	const gi = 1 << 30
	selected := func(node string) func(*Input) { return claimIs(onNode(node)) }
	passive := func(in *Input) { in.Settings.Node.Immediate = false }
	place := func(in *Input) {
		in.Place = Place{Selected: zone("a"), Candidates: []topology.Segment{zone("a")}}
	}
	tests := map[string]struct {
		changes []func(*Input)
		want    string // prefix of the sketch
	}{
		"this node is selected":                         {[]func(*Input){selected("node-a"), place}, "create " + testVolume},
		"this node is selected, by the scheduler":       {[]func(*Input){selected("node-a"), place, classIs(waitForFirstConsumer)}, "create " + testVolume},
		"another node is selected":                      {[]func(*Input){selected("node-b"), func(in *Input) { in.Unattended = time.Minute }}, "await turn for 1m0s"},
		"another node has been selected for long":       {[]func(*Input){selected("node-b")}, "look for driver on node-b"},
		"another node made the volume":                  {[]func(*Input){selected("node-b"), storedIs()}, `leave: it is for the driver's instance on node "node-b"`},
		"another node, for a claim of another driver":   {[]func(*Input){claimIs(onNode("node-b"), annotated("volume.kubernetes.io/storage-provisioner", "other"))}, "leave: it is not assigned"},
		"none, and the scheduler will select one":       {[]func(*Input){classIs(waitForFirstConsumer)}, "leave: it waits for the scheduler"},
		"none, and it is not this node's turn":          {[]func(*Input){turnIs(Turn{Left: time.Second})}, "await turn for 1s"},
		"none, and the driver was full a moment ago":    {[]func(*Input){turnIs(Turn{Left: time.Second, Full: time.Minute})}, "await turn for 1m0s"},
		"none, and nobody has asked for the room":       {nil, "ask for room"},
		"none, and there is room":                       {[]func(*Input){turnIs(roomFor(gi))}, "take"},
		"none, and there is not enough room":            {[]func(*Input){turnIs(roomFor(gi - 1))}, "pass on: 1Gi are asked for and there is room for 1073741823"},
		"none, and no volume of that size can be":       {[]func(*Input){turnIs(Turn{Room: &csi.Capacity{Available: 9 * gi, Largest: gi / 2, Limited: true}})}, "pass on: 1Gi are asked for and there is room for 9Gi, in volumes of 512Mi at most"},
		"none, and such volumes can be":                 {[]func(*Input){turnIs(Turn{Room: &csi.Capacity{Available: 9 * gi, Largest: gi, Limited: true}})}, "take"},
		"none, and the driver tells of no room":         {[]func(*Input){func(in *Input) { in.Settings.Driver.Capacity = false }}, "take"},
		"none, and nothing is asked for":                {[]func(*Input){claimIs(requesting("0"))}, "take"},
		"none, and nodes are not to take claims":        {[]func(*Input){passive, turnIs(roomFor(gi))}, "leave: no node is selected"},
		"none, and the class allows this node":          {[]func(*Input){classIs(allowing("a", "b")), turnIs(roomFor(gi))}, "take"},
		"none, and the class allows others":             {[]func(*Input){classIs(allowing("b")), turnIs(roomFor(gi))}, "leave: its class does not allow this node's segment"},
		"none, and the class allows nothing":            {[]func(*Input){classIs(allowing()), turnIs(roomFor(gi))}, "leave: its class does not allow"},
		"none, and there is no class":                   {[]func(*Input){func(in *Input) { in.Class = nil }}, "leave: its storage class does not exist"},
		"none, and it is cloned from another node's":    {[]func(*Input){turnIs(Turn{SourceElsewhere: true, Room: &csi.Capacity{Available: gi}})}, "leave: what it is to be made from is on another node"},
		"none, and a populator fills it":                {[]func(*Input){claimIs(fromPopulator), turnIs(roomFor(gi))}, "leave: a volume populator"},
		"none, and a volume that exists may do":         {[]func(*Input){func(in *Input) { in.Static = StaticVolume{Name: "shelf"} }, turnIs(roomFor(gi))}, "leave to binder: shelf"},
		"none, and the claim is wrong in itself":        {[]func(*Input){claimIs(func(c *corev1.PersistentVolumeClaim) { c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{"Odd"} }), turnIs(roomFor(gi))}, "take"},
		"this node, and the claim is wrong in itself":   {[]func(*Input){claimIs(onNode("node-a"), func(c *corev1.PersistentVolumeClaim) { c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{"Odd"} }), place}, "refuse: "},
		"this node, whose segment the class forbids":    {[]func(*Input){selected("node-a"), place, classIs(allowing("b"))}, "refuse: no place for the volume: selected node's segment"},
		"a clone of another node's volume on this node": {[]func(*Input){claimIs(onNode("node-a"), fromClaim), place, cloneOf("b")}, `refuse: the claim is to be cloned from volume "source-pv", which is on another node`},
		"a clone of a volume of this node":              {[]func(*Input){claimIs(onNode("node-a"), fromClaim), place, cloneOf("a")}, "create " + testVolume},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := sketch(Decide(makeInput(append([]func(*Input){onOurNode}, tt.changes...)...)))
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// cloneOf is a look at a source whose volume is in a zone.
func cloneOf(where string) func(*Input) {
	return func(in *Input) {
		in.Settings.Driver.Clones = true
		in.Source = claimFacts()
		in.Source.SourceVolume.Spec.NodeAffinity = topology.NodeAffinity([]topology.Segment{zone(where)})
	}
}

func TestARequestOfOneNodeNamesItsSegmentAlone(t *testing.T) {
	in := makeInput(onOurNode, claimIs(onNode("node-a")), classIs(waitForFirstConsumer, allowing("a", "b")))
	in.Place = Place{Selected: zone("a"), Candidates: []topology.Segment{zone("a")}}
	create, ok := Decide(in).(Create)
	if !ok {
		t.Fatalf("got %s", sketch(Decide(in)))
	}
	need := create.Attempt.Request.GetAccessibilityRequirements()
	if len(need.GetRequisite()) != 1 || need.GetRequisite()[0].GetSegments()["zone"] != "a" || len(need.GetPreferred()) != 1 {
		t.Errorf("the request names %v", need)
	}
}

// An attempt whose claim has become another node's is found out to its end, and what it made is taken back.
func TestAnAttemptThatAnotherNodeOvertakes(t *testing.T) {
	in := func(where string) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) {
			pv.Spec.NodeAffinity = topology.NodeAffinity([]topology.Segment{zone(where)})
		}
	}
	restored := func(a *Attempt) { a.restored = true }
	kept := func(a *Attempt) { a.Template.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain }
	tests := map[string]struct {
		changes []func(*Input)
		want    string
	}{
		"its outcome is unknown":                     {[]func(*Input){attemptIs(), claimIs(onNode("node-b"))}, "create"},
		"its outcome is unknown, and theirs is kept": {[]func(*Input){attemptIs(restored), claimIs(onNode("node-b")), storedIs(in("b"))}, "create"},
		"ours is kept already":                       {[]func(*Input){attemptIs(restored), claimIs(onNode("node-a")), storedIs(in("a"))}, "settle"},
		"it made a volume":                           {[]func(*Input){attemptIs(created), claimIs(onNode("node-b"))}, `clean up handle-1: node "node-b" was selected meanwhile`},
		"theirs of the same handle is kept":          {[]func(*Input){attemptIs(created), claimIs(onNode("node-b")), storedIs(in("b"))}, "clean up handle-1: the claim was given a volume on another node"},
		"theirs is kept, and ours was to stay":       {[]func(*Input){attemptIs(created, restored, kept), claimIs(onNode("node-b")), storedIs(in("b"))}, "clean up handle-1"},
		"no node is selected any more":               {[]func(*Input){attemptIs(created), claimIs()}, "store handle-1"},
		"this node is selected again":                {[]func(*Input){attemptIs(created), claimIs(onNode("node-a"))}, "store handle-1"},
		"a write of ours may have been done":         {[]func(*Input){attemptIs(created, maybeWritten), claimIs(onNode("node-b"))}, "store handle-1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketch(Decide(makeInput(append([]func(*Input){onOurNode}, tt.changes...)...))); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestANodeLooksAfterItsOwnVolumes(t *testing.T) {
	affine := func(zones ...string) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) {
			var segments []topology.Segment
			for _, name := range zones {
				segments = append(segments, zone(name))
			}
			pv.Spec.NodeAffinity = topology.NodeAffinity(segments)
		}
	}
	identity := func(value string) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) {
			pv.Spec.CSI.VolumeAttributes = map[string]string{AttributeIdentity: value}
		}
	}
	unfinished := func(pv *corev1.PersistentVolume) { pv.Status.Phase, pv.Finalizers = corev1.VolumeBound, nil }
	tests := map[string]struct {
		changes []func(*corev1.PersistentVolume)
		want    VolumeAction
	}{
		"it is here":                                  {[]func(*corev1.PersistentVolume){affine("a")}, DeleteVolume{Handle: "handle-1"}},
		"it is here and elsewhere":                    {[]func(*corev1.PersistentVolume){affine("a", "b")}, DeleteVolume{Handle: "handle-1"}},
		"it is elsewhere":                             {[]func(*corev1.PersistentVolume){affine("b")}, LeaveVolume{"it is on another node, whose instance looks after it"}},
		"it is elsewhere and lacks the finalizer":     {[]func(*corev1.PersistentVolume){affine("b"), unfinished}, LeaveVolume{"it is on another node, whose instance looks after it"}},
		"it is here and lacks the finalizer":          {[]func(*corev1.PersistentVolume){affine("a"), unfinished}, AddFinalizer{}},
		"it does not say where it is":                 {nil, LeaveVolume{"it does not say which node it is on (spec.nodeAffinity), so no node's instance deletes it"}},
		"it only says that this node made it":         {[]func(*corev1.PersistentVolume){identity("1700-42-" + testDriver + "-node-a")}, DeleteVolume{Handle: "handle-1"}},
		"it only says that another node made it":      {[]func(*corev1.PersistentVolume){identity("1700-42-" + testDriver + "-node-b")}, LeaveVolume{"it is on another node, whose instance looks after it"}},
		"it only says that one for all nodes made it": {[]func(*corev1.PersistentVolume){identity("1700-42-" + testDriver)}, LeaveVolume{"it is on another node, whose instance looks after it"}},
		"a node's name ends like this one's":          {[]func(*corev1.PersistentVolume){identity("1700-42-" + testDriver + "-other-node-a")}, LeaveVolume{"it is on another node, whose instance looks after it"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := VolumeInput{Settings: testSettings(), Volume: makeVolume(tt.changes...)}
			in.Settings.Node = ourNode()
			if got := DecideVolume(in); got != tt.want {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestTurns(t *testing.T) {
	tests := map[string]struct {
		round  int
		chance float64
		want   time.Duration
	}{
		"at first, with no luck":             {0, 0, 20 * time.Second},
		"at first, with luck":                {0, .75, 5 * time.Second},
		"at first, with all the luck":        {0, 1, 0},
		"the second time":                    {1, .5, 30 * time.Second},
		"never longer than the longest":      {2, 0, time.Minute},
		"after very many rounds":             {40, 0, time.Minute},
		"a number of rounds that overflows":  {31, 0, time.Minute},
		"luck counts of the base delay only": {5, 1, 40 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := turnDelay(ourNode(), tt.round, tt.chance); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if got := turnDelay(Node{BaseDelay: math.MaxInt64 / 2, MaxDelay: math.MaxInt64}, 3, 0); got <= 0 {
		t.Errorf("a huge delay has become %s", got)
	}
}

func TestRoomIsPromisedOnce(t *testing.T) {
	turns := newTurns(ourNode())
	if others := turns.promise("first", "fast", 5); others != 0 {
		t.Errorf("before the first claim %d are promised", others)
	}
	if others := turns.promise("second", "fast", 7); others != 5 {
		t.Errorf("beside the first claim %d are promised, want 5", others)
	}
	if others := turns.promise("second", "fast", 7); others != 5 {
		t.Errorf("a claim counts itself: %d", others)
	}
	if others := turns.promise("third", "slow", 1); others != 0 {
		t.Errorf("classes share: %d", others)
	}
	turns.release("first")
	turns.next("second")
	if others := turns.promise("fourth", "fast", 1); others != 0 {
		t.Errorf("what was given up is still promised: %d", others)
	}
}

func TestTheDriverIsNotAskedForEachClaim(t *testing.T) {
	turns := newTurns(ourNode())
	now := time.Unix(1_700_000_000, 0)
	turns.now = func() time.Time { return now }
	told := csi.Capacity{Available: 5}
	turns.note("fast", told, now)
	if room, ok := turns.known("fast"); !ok || room != told {
		t.Errorf("known is %v, %v", room, ok)
	}
	if _, ok := turns.known("slow"); ok {
		t.Error("another class has its room")
	}
	turns.promise("claim", "fast", 1)
	if _, ok := turns.known("fast"); !ok {
		t.Error("a promise, which is subtracted, makes it unknown")
	}
	turns.release("claim")
	if _, ok := turns.known("fast"); ok {
		t.Error("what was said before a volume was made is believed")
	}
	turns.note("fast", told, now)
	if _, ok := turns.known("fast"); ok {
		t.Error("what was asked before a volume was made is believed")
	}
	now = now.Add(time.Millisecond)
	turns.note("fast", told, now)
	now = now.Add(roomLasts)
	if _, ok := turns.known("fast"); ok {
		t.Error("what was said is believed for ever")
	}
	turns.promise("claim", "fast", 7)
	turns.promise("claim", "slow", 3)
	turns.forget("claim")
	if len(turns.promised) != 0 || len(turns.byClaim) != 0 {
		t.Errorf("what is left of a claim that is gone is %v, %v", turns.promised, turns.byClaim)
	}
}

func TestANodesTurnComesAndGoes(t *testing.T) {
	turns := newTurns(ourNode())
	now := time.Unix(1_700_000_000, 0)
	turns.now, turns.chance = func() time.Time { return now }, func() float64 { return .5 }
	if left := turns.left("claim"); left != 10*time.Second {
		t.Errorf("the first turn comes after %s, want 10s", left)
	}
	now = now.Add(4 * time.Second)
	if left := turns.left("claim"); left != 6*time.Second {
		t.Errorf("asking again has moved it to %s, want 6s", left)
	}
	now = now.Add(time.Hour)
	if left := turns.left("claim"); left != 0 {
		t.Errorf("long after it %s are left", left)
	}
	if again := turns.next("claim"); again != 30*time.Second || turns.left("claim") != again {
		t.Errorf("the next turn comes after %s, or %s; want 30s", again, turns.left("claim"))
	}
	turns.forget("claim")
	if left := turns.left("claim"); left != 10*time.Second {
		t.Errorf("a forgotten claim's turn comes after %s, want 10s", left)
	}
}

// However many nodes there are, some node looks after a claim within minutes, and never do all look often.
func TestFewNodesLookAfterAClaimAtFirst(t *testing.T) {
	share := func(nodes, look int) float64 {
		count := 0
		for i := range nodes {
			if looks("9f2c1a34-0000-4000-8000-0123456789ab", fmt.Sprintf("node-%d", i), look) {
				count++
			}
		}
		return float64(count) / float64(nodes)
	}
	for look, want := range []float64{1. / 64, 1. / 16, 1. / 4, 1, 1. / 16, 1. / 16} {
		if got := share(20_000, look); math.Abs(got-want) > want/5 {
			t.Errorf("at look %d %.4f of the nodes take part, want about %.4f", look, got, want)
		}
	}
	strays := newStrays(ourNode())
	now := time.Unix(1_700_000_000, 0)
	strays.now = func() time.Time { return now }
	began, at := now, []time.Duration{}
	for range 200 {
		left := strays.left("claim", "node-b")
		if left == 0 {
			at = append(at, now.Sub(began))
			strays.looked("claim")
		}
		now = now.Add(max(left, time.Millisecond))
		if now.Sub(began) > 24*time.Hour {
			break
		}
	}
	if len(at) == 0 || at[0] > 4*time.Minute+time.Second {
		t.Errorf("this node looks after %v, want it within 4 minutes", at)
	}
	if len(at) > 12 {
		t.Errorf("this node looks %d times a day: %v", len(at), at)
	}
	if left := strays.left("claim", "node-c"); left > 4*time.Minute {
		t.Errorf("when another node is selected the waiting goes on: %s", left)
	}
}

func TestANodeThatHasTheDriverIsReadOnceInAWhile(t *testing.T) {
	strays := newStrays(ourNode())
	now := time.Unix(1_700_000_000, 0)
	strays.now = func() time.Time { return now }
	strays.saw("node-b")
	if !strays.known("node-b") || strays.known("node-c") {
		t.Error("what was seen is not what is known")
	}
	now = now.Add(31 * time.Minute)
	if strays.known("node-b") {
		t.Error("what was seen half an hour ago is believed for ever")
	}
	strays.left(types.UID("claim"), "node-b")
	strays.forget("claim")
	if len(strays.byClaim) != 0 {
		t.Error("a claim that is bound is remembered")
	}
}
