package capacity

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

var (
	now     = time.Unix(1_000_000, 0)
	fast    = Key{Class: "fast", Segment: zone("a")}
	us      = metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "berth", UID: "us", Controller: new(true)}
	peer    = metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "peer", UID: "peer", Controller: new(true)}
	someone = metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "someone", UID: "someone"}
)

// published is an object about fast in zone a, an hour old.
func published(name string, value csi.Capacity, edits ...func(*storagev1.CSIStorageCapacity)) *storagev1.CSIStorageCapacity {
	object := Facts{Key: fast, Driver: "d", Manager: ManagedBy, Value: value}.object()
	object.Name, object.CreationTimestamp = name, metav1.NewTime(now.Add(-time.Hour))
	for _, edit := range edits {
		edit(object)
	}
	return object
}

func ownedBy(owners ...metav1.OwnerReference) func(*storagev1.CSIStorageCapacity) {
	return func(object *storagev1.CSIStorageCapacity) { object.OwnerReferences = owners }
}

func aged(d time.Duration) func(*storagev1.CSIStorageCapacity) {
	return func(object *storagev1.CSIStorageCapacity) { object.CreationTimestamp = metav1.NewTime(now.Add(-d)) }
}

// sketch is an action in words.
func sketch(action Action) string {
	value := func(o *storagev1.CSIStorageCapacity) string {
		words := fmt.Sprintf("%s=%d", o.Name, valueOf(o).Available/gi)
		if o.MaximumVolumeSize != nil {
			words += fmt.Sprintf("/%d", o.MaximumVolumeSize.Value()/gi)
		}
		for _, owner := range o.OwnerReferences {
			words += " " + owner.Name
		}
		return words
	}
	switch action := action.(type) {
	case Leave:
		return "leave " + action.For.String()
	case Create:
		return "create " + value(action.Object)
	case Update:
		return action.Reason + " " + value(action.Object)
	case Delete:
		var names []string
		for _, object := range action.Objects {
			names = append(names, object.Name)
		}
		return "delete " + strings.Join(names, " ")
	}
	return "nothing"
}

func TestDecide(t *testing.T) {
	objects := func(all ...*storagev1.CSIStorageCapacity) func(*Facts) { return func(f *Facts) { f.Objects = all } }
	owner := func(f *Facts) { f.Owner = &us }
	undesired := func(f *Facts) { f.Desired, f.Known = false, false }
	unknown := func(f *Facts) { f.Known = false }
	lost := func(ago time.Duration) func(*Facts) { return func(f *Facts) { f.Lost = now.Add(-ago) } }
	worth := func(value csi.Capacity) func(*Facts) { return func(f *Facts) { f.Value = value } }
	lower := func(ago time.Duration) func(*Facts) { return func(f *Facts) { f.Lower = now.Add(-ago) } }
	name := fast.name("d", ManagedBy)
	for sentence, c := range map[string]struct {
		facts []func(*Facts)
		want  string
	}{
		"without an object one is made":                        {nil, "create " + name + "=10"},
		"with its owner":                                       {[]func(*Facts){owner}, "create " + name + "=10 berth"},
		"not before the driver was asked":                      {[]func(*Facts){unknown}, "leave 0s"},
		"what is right is left":                                {[]func(*Facts){objects(published("x", free(10)))}, "leave 0s"},
		"also if the established provisioner owns it for long": {[]func(*Facts){objects(published("x", free(10), ownedBy(peer)))}, "leave 0s"},
		"what holds for a while is looked at then": {
			[]func(*Facts){objects(published("x", free(10))), func(f *Facts) { f.Until = now.Add(time.Minute) }}, "leave 1m0s"},
		"more is told at once":                     {[]func(*Facts){objects(published("x", free(9)))}, "increased x=10"},
		"a largest volume that is told first":      {[]func(*Facts){objects(published("x", free(10))), worth(freeUpTo(10, 3)), lower(time.Hour)}, "decreased x=10/3"},
		"a largest volume that is told no more":    {[]func(*Facts){objects(published("x", freeUpTo(10, 3)))}, "increased x=10"},
		"less waits for more of it":                {[]func(*Facts){objects(published("x", free(11))), lower(50 * time.Millisecond)}, "leave 200ms"},
		"but not long":                             {[]func(*Facts){objects(published("x", free(11))), lower(soon)}, "decreased x=10"},
		"a little less waits longer":               {[]func(*Facts){objects(published("x", csi.Capacity{Available: 10*gi + 1})), lower(soon)}, "leave 4.75s"},
		"that there is no room does not wait":      {[]func(*Facts){objects(published("x", free(11))), func(f *Facts) { f.Exhausted = true }}, "exhausted x=10"},
		"an object that tells nothing is repaired": {[]func(*Facts){objects(published("x", free(11), func(o *storagev1.CSIStorageCapacity) { o.Capacity = nil })), lower(0)}, "increased x=10"},
		"an unknown value is left as it is":        {[]func(*Facts){objects(published("x", free(3))), unknown}, "leave 0s"},
		"but not its owner":                        {[]func(*Facts){objects(published("x", free(3))), unknown, owner}, "repaired x=3 berth"},
		"ours takes the place of another controller, others stay": {
			[]func(*Facts){objects(published("x", free(10), ownedBy(peer, someone))), owner}, "repaired x=10 someone berth"},
		"ours is not there twice":                        {[]func(*Facts){objects(published("x", free(10), ownedBy(someone, us))), owner}, "leave 0s"},
		"an owner and a decrease are one write, at once": {[]func(*Facts){objects(published("x", free(11))), owner, lower(0)}, "decreased x=10 berth"},
		"of two the older stays": {
			[]func(*Facts){objects(published("young", free(10), aged(time.Minute)), published("old", free(3)))}, "delete young"},
		"of two of an age the first by name stays": {[]func(*Facts){objects(published("b", free(10)), published("a", free(10)))}, "delete b"},
		"one too many goes before anything is known": {
			[]func(*Facts){objects(published("b", free(10)), published("a", free(10)), published("c", free(1))), unknown}, "delete b c"},
		"what nobody wants goes":             {[]func(*Facts){objects(published("x", free(10))), undesired}, "delete x"},
		"what is not there cannot go":        {[]func(*Facts){undesired}, "leave 0s"},
		"a segment that went is waited for":  {[]func(*Facts){objects(published("x", free(10))), undesired, lost(10 * time.Second)}, "leave 20s"},
		"a segment that went long ago is no": {[]func(*Facts){objects(published("x", free(10))), undesired, lost(grace)}, "delete x"},
	} {
		t.Run(sentence, func(t *testing.T) {
			f := Facts{Key: fast, Now: now, Driver: "d", Manager: ManagedBy, Desired: true, Known: true, Value: free(10)}
			for _, edit := range c.facts {
				edit(&f)
			}
			var before []*storagev1.CSIStorageCapacity
			for _, object := range f.Objects {
				before = append(before, object.DeepCopy())
			}
			if got := sketch(Decide(f)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if diff := cmp.Diff(before, f.Objects); diff != "" {
				t.Errorf("the cache's objects changed:\n%s", diff)
			}
		})
	}
}

func TestANewObjectIsAsTheEstablishedProvisionerMakesIt(t *testing.T) {
	got := Facts{Key: fast, Driver: "d", Manager: ManagedBy, Value: freeUpTo(2, 1), Owner: &us}.object()
	want := &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{
			Name:            got.Name,
			Labels:          map[string]string{"csi.storage.k8s.io/drivername": "d", "csi.storage.k8s.io/managed-by": "external-provisioner"},
			OwnerReferences: []metav1.OwnerReference{us},
		},
		NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{"zone": "a"}},
		StorageClassName: "fast",
		Capacity:         got.Capacity, MaximumVolumeSize: got.MaximumVolumeSize,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
	if got.Capacity.String() != "2Gi" || got.MaximumVolumeSize.String() != "1Gi" || !strings.HasPrefix(got.Name, "csisc-") {
		t.Errorf("got %s with %s, at most %s", got.Name, got.Capacity, got.MaximumVolumeSize)
	}
	everywhere := Facts{Key: Key{Class: "fast"}, Driver: "d", Manager: ManagedBy}.object()
	if everywhere.NodeTopology == nil || len(everywhere.NodeTopology.MatchLabels) != 0 {
		t.Errorf("an object for all nodes selects %v", everywhere.NodeTopology)
	}
}

func TestKeys(t *testing.T) {
	seen := map[string]Key{}
	for _, key := range []Key{
		{Class: "a"}, {Class: "b"}, {Class: "a", Segment: zone("a")}, {Class: "a", Segment: zone("b")},
		{Class: "a", Segment: topology.NewSegment(map[string]string{"zone": "a", "rack": "1"})}, {Class: "a1/a", Segment: zone("a")},
	} {
		if other, twice := seen[key.name("d", ManagedBy)]; twice {
			t.Errorf("%v and %v are called the same", key, other)
		}
		seen[key.name("d", ManagedBy)] = key
		if key.name("d", ManagedBy) == key.name("e", ManagedBy) {
			t.Errorf("two drivers call %v the same", key)
		}
		object := Facts{Key: key, Driver: "d", Manager: ManagedBy}.object()
		if keyOf(object) != key {
			t.Errorf("the object of %v is about %v", key, keyOf(object))
		}
	}
	for sentence, where := range map[string]*metav1.LabelSelector{
		"nowhere":         nil,
		"not one segment": {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "zone", Operator: metav1.LabelSelectorOpExists}}},
	} {
		object := published("x", free(1))
		object.NodeTopology = where
		if got := keyOf(object); got != (Key{Stray: "x"}) {
			t.Errorf("%s: got %v", sentence, got)
		}
	}
}

func TestAsk(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for sentence, c := range map[string]struct {
		question Question
		now      bool
		wait     time.Duration
	}{
		"nobody wants to know":                               {Question{First: true}, false, 0},
		"the first report is asked for at once":              {Question{Wanted: true, First: true, Since: now, Urgent: true, Calls: 3}, true, 0},
		"its turn has come":                                  {Question{Wanted: true, Since: now}, true, 0},
		"what happens waits for more to happen":              {Question{Wanted: true, Urgent: true, Since: ago(100 * time.Millisecond)}, false, 150 * time.Millisecond},
		"but not long":                                       {Question{Wanted: true, Urgent: true, Since: ago(coalesce)}, true, 0},
		"calls under way are waited for":                     {Question{Wanted: true, Urgent: true, Since: ago(coalesce), Calls: 1}, false, quiet - coalesce},
		"also when its turn has come":                        {Question{Wanted: true, Since: now, Calls: 1}, false, quiet},
		"but not for ever, as there may be always some":      {Question{Wanted: true, Urgent: true, Since: ago(quiet), Calls: 1}, true, 0},
		"a report that is new enough is not asked for again": {Question{Urgent: true, Since: ago(time.Hour), Calls: 1}, false, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			c.question.Now = now
			if got, wait := c.question.Ask(); got != c.now || wait != c.wait {
				t.Errorf("got %v, %s; want %v, %s", got, wait, c.now, c.wait)
			}
		})
	}
}
