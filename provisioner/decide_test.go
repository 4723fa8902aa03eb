package provisioner

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/topology"
)

// sketch is an action in a line: its type, and what it says about why.
func sketch(action Action) string {
	switch a := action.(type) {
	case Leave:
		return "leave: " + a.Why
	case LeaveToPopulator:
		return "leave to populator: " + a.Message
	case LeaveToBinder:
		return "leave to binder: " + a.Volume + " for " + a.For.String()
	case LookUp:
		return "look up " + a.Reference.String()
	case Refuse:
		return "refuse: " + a.Message
	case AwaitTurn:
		return "await turn for " + a.For.String()
	case AskRoom:
		return "ask for room"
	case TakeClaim:
		return "take"
	case PassOn:
		return "pass on: " + a.Why
	case LookForDriver:
		return "look for driver on " + a.Node
	case Postpone:
		return "postpone for " + a.For.String()
	case GiveBack:
		return "give back: " + a.Message
	case TurnDown:
		return "turn down: " + a.Message
	case Create:
		return "create " + a.Attempt.Request.GetName()
	case Store:
		return "store " + a.Attempt.Volume.GetVolumeId()
	case CleanUp:
		return "clean up " + a.Attempt.Volume.GetVolumeId() + ": " + a.Why
	case Settle:
		return "settle " + a.Attempt.Volume.GetVolumeId()
	}
	return "nothing"
}

func claimIs(changes ...func(*corev1.PersistentVolumeClaim)) func(*Input) {
	return func(in *Input) { in.Claim = makeClaim(changes...) }
}

func classIs(changes ...func(*storagev1.StorageClass)) func(*Input) {
	return func(in *Input) { in.Class = makeClass(changes...) }
}

func attemptIs(changes ...func(*Attempt)) func(*Input) {
	return func(in *Input) { in.Attempt = makeAttempt(changes...) }
}

func storedIs(changes ...func(*corev1.PersistentVolume)) func(*Input) {
	return func(in *Input) { in.Stored = makeVolume(changes...) }
}

func maybeWritten(a *Attempt) { a.maybeWritten = true }

func noClaim(in *Input) { in.Claim = nil }

func TestDecide(t *testing.T) {
	create := "create " + testVolume
	tests := map[string]struct {
		in   Input
		want string // prefix of the sketch
	}{
		"a claim that is ours":          {makeInput(), create},
		"no claim":                      {makeInput(noClaim), "leave: the claim is gone"},
		"a claim with a volume":         {makeInput(claimIs(boundTo("x"))), "leave: it has a volume"},
		"a claim without an annotation": {makeInput(claimIs(without("volume.kubernetes.io/storage-provisioner"))), "leave: it is not assigned"},
		"a claim of another driver":     {makeInput(claimIs(annotated("volume.kubernetes.io/storage-provisioner", "other"))), "leave: it is not assigned"},
		"the older annotation alone": {makeInput(claimIs(without("volume.kubernetes.io/storage-provisioner"),
			annotated("volume.beta.kubernetes.io/storage-provisioner", testDriver))), create},
		"the newer annotation wins over the older": {makeInput(claimIs(annotated("volume.kubernetes.io/storage-provisioner", "other"),
			annotated("volume.beta.kubernetes.io/storage-provisioner", testDriver))), "leave: it is not assigned"},
		"a claim that is being deleted":   {makeInput(claimIs(deleting)), "leave: it is being deleted"},
		"a class of another driver":       {makeInput(classIs(func(c *storagev1.StorageClass) { c.Provisioner = "other" })), "leave: its class belongs to another driver"},
		"no class":                        {makeInput(func(in *Input) { in.Class = nil }), `refuse: storage class "fast" does not exist`},
		"delayed binding, no node yet":    {makeInput(classIs(waitForFirstConsumer)), "leave: it waits for the scheduler"},
		"a class without a binding mode":  {makeInput(classIs(func(c *storagev1.StorageClass) { c.VolumeBindingMode = nil })), create},
		"delayed binding, node selected":  {makeInput(classIs(waitForFirstConsumer), claimIs(onNode("n")), func(in *Input) { in.Place.Selected = zone("a") }), create},
		"the selected node is gone":       {makeInput(classIs(waitForFirstConsumer), claimIs(onNode("n")), selectedErr(fmt.Errorf("node n: %w", topology.ErrNodeGone))), "give back: selected node cannot be used"},
		"the selected node lacks a label": {makeInput(classIs(waitForFirstConsumer), claimIs(onNode("n")), selectedErr(errors.New("no label"))), "refuse: selected node cannot be used: no label"},
		"there was no room a moment ago":  {makeInput(classIs(waitForFirstConsumer), claimIs(onNode("n")), func(in *Input) { in.Place.Selected, in.Place.Full = zone("a"), time.Second }), "postpone for 1s"},
		"no room is left": {makeInput(classIs(waitForFirstConsumer), claimIs(onNode("n")), func(in *Input) { in.Place.Selected, in.Place.NoRoom = zone("a"), true }),
			`turn down: what room the driver reported for node "n" is taken`},
		"no room is left, nor was a moment ago": {makeInput(classIs(waitForFirstConsumer), claimIs(onNode("n")), func(in *Input) {
			in.Place.Selected, in.Place.NoRoom, in.Place.Full = zone("a"), true, time.Second
		}), "turn down"},
		"without topology nodes don't matter": {makeInput(claimIs(onNode("n")), selectedErr(topology.ErrNodeGone), func(in *Input) { in.Settings.Driver.Topology = false }), create},
		"no place":                            {makeInput(func(in *Input) { in.Place = Place{} }), "refuse: no place for the volume"},
		"a selector":                          {makeInput(claimIs(func(c *corev1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} })), "refuse: the claim has a selector"},
		"an empty attributes class is none":   {makeInput(claimIs(func(c *corev1.PersistentVolumeClaim) { s := ""; c.Spec.VolumeAttributesClassName = &s })), create},
		"a parameter nobody knows":            {makeInput(classIs(parameters("csi.storage.k8s.io/fstyp", "ext4"))), `refuse: storage class "fast": parameter "csi.storage.k8s.io/fstyp" is reserved`},
		"the volume is stored already":        {makeInput(func(in *Input) { in.Stored = makeVolume() }), "leave: its volume is stored already"},
		"the name is taken": {makeInput(func(in *Input) {
			in.Stored = makeVolume(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "another" })
		}), "refuse: PersistentVolume \"" + testVolume + "\" exists and is not for this claim"},
		"the name is taken by a volume for nobody": {makeInput(func(in *Input) {
			in.Stored = makeVolume(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil })
		}), "refuse: PersistentVolume"},

		"a volume exists for it":                     {makeInput(staticIs("shelf", 0)), "leave to binder: shelf for 30s"},
		"a volume exists, seen a while ago":          {makeInput(staticIs("shelf", 29*time.Second)), "leave to binder: shelf for 1s"},
		"a volume exists, and is not taken":          {makeInput(staticIs("shelf", 30*time.Second)), create},
		"a volume exists, and is not taken for long": {makeInput(staticIs("shelf", time.Hour)), create},
		"a volume exists, and there is no place":     {makeInput(staticIs("shelf", 0), func(in *Input) { in.Place = Place{} }), "leave to binder: shelf"},
		"a volume exists, and a populator's kind":    {makeInput(staticIs("shelf", 0), claimIs(fromPopulator)), "leave to populator"},
		"a volume exists, and so does an attempt":    {makeInput(staticIs("shelf", 0), attemptIs()), create},
		"a volume exists, and one of ours is stored": {makeInput(staticIs("shelf", 0), func(in *Input) { in.Stored = makeVolume() }), "leave: its volume is stored already"},

		"open: the outcome is unknown":                    {makeInput(attemptIs()), create},
		"open: unknown, and the claim is gone":            {makeInput(attemptIs(), noClaim), create},
		"open: unknown, and the claim is bound elsewhere": {makeInput(attemptIs(), claimIs(boundTo("x"))), create},
		"open: unknown, and the class is gone":            {makeInput(attemptIs(), func(in *Input) { in.Class = nil }), create},
		"open: unknown, and its object shows up":          {makeInput(attemptIs(), storedIs()), "settle "},
		"open: unknown, and another's object shows up":    {makeInput(attemptIs(), storedIs(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "another" })), create},
		"open: created": {makeInput(attemptIs(created)), "store handle-1"},
		"open: created, the claim already names it":              {makeInput(attemptIs(created), claimIs(boundTo(testVolume))), "clean up handle-1: the claim was bound to volume"},
		"open: created, the claim names it and is being deleted": {makeInput(attemptIs(created), claimIs(boundTo(testVolume), deleting)), "clean up handle-1: the claim is being deleted"},
		"open: created, its object shows up":                     {makeInput(attemptIs(created), storedIs()), "settle handle-1"},
		"open: created, its object shows up, the claim is gone":  {makeInput(attemptIs(created), storedIs(), noClaim), "settle handle-1"},
		"open: created, the object is another claim's": {makeInput(attemptIs(created), noClaim, storedIs(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "another" })),
			"clean up handle-1: the claim was deleted"},
		"open: maybe written, the claim is gone":                 {makeInput(attemptIs(created, maybeWritten), noClaim), "store handle-1"},
		"open: maybe written, the claim is being deleted":        {makeInput(attemptIs(created, maybeWritten), claimIs(deleting)), "store handle-1"},
		"open: created, the claim is gone":                       {makeInput(attemptIs(created), noClaim), "clean up handle-1: the claim was deleted"},
		"open: created, the claim is being deleted":              {makeInput(attemptIs(created), claimIs(deleting)), "clean up handle-1: the claim is being deleted"},
		"open: created, the claim is bound elsewhere":            {makeInput(attemptIs(created), claimIs(boundTo("x"))), `clean up handle-1: the claim was bound to volume "x"`},
		"open: created and unwanted":                             {makeInput(attemptIs(created, func(a *Attempt) { a.Unwanted = "too small" })), "clean up handle-1: too small"},
		"open: created, the claim went to another driver's hand": {makeInput(attemptIs(created), claimIs(annotated("volume.kubernetes.io/storage-provisioner", "other"))), "store handle-1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketch(Decide(tt.in)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func staticIs(name string, left time.Duration) func(*Input) {
	return func(in *Input) { in.Static = StaticVolume{name, left} }
}

func selectedErr(err error) func(*Input) {
	return func(in *Input) { in.Place = Place{SelectedErr: err} }
}

func TestAnOpenAttemptIsRepeatedUnchanged(t *testing.T) {
	first, ok := Decide(makeInput()).(Create)
	if !ok {
		t.Fatal("no attempt")
	}
	sealed := makeAttempt(func(a *Attempt) { a.Request = first.Attempt.Request })
	again, ok := Decide(makeInput(
		func(in *Input) { in.Attempt = sealed },
		func(in *Input) { in.Place.Candidates = []topology.Segment{zone("z")} }, // all nodes were replaced
		classIs(parameters("tier", "gold")),                                     // and the class made anew
	)).(Create)
	if !ok || again.Attempt != sealed {
		t.Fatal("not the open attempt")
	}
	if diff := cmp.Diff(first.Attempt.Request, again.Attempt.Request, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestDecideLeavesItsInputAlone(t *testing.T) {
	in := makeInput(classIs(parameters("csi.storage.k8s.io/fstype", "xfs", "tier", "gold")), func(in *Input) { in.Settings.ExtraMetadata = true })
	claim, class := in.Claim.DeepCopy(), in.Class.DeepCopy()
	Decide(in)
	if diff := cmp.Diff(claim, in.Claim); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(class, in.Class); diff != "" {
		t.Error(diff)
	}
}
