package capacity

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/topology"
)

// chance makes a history of a seed.
type chance struct {
	*world
	random *rand.Rand
	nodes  map[string]string // node -> zone
	wanted map[string]*storagev1.StorageClass
}

var zoneNames = []string{"a", "b", "c"}

func (c *chance) zone() string { return zoneNames[c.random.IntN(len(zoneNames))] }
func (c *chance) name() string { return []string{"fast", "slow", "cheap", "now"}[c.random.IntN(4)] }
func (c *chance) pool() Pool {
	return Pool{[]string{"{}", `{"tier":"gold"}`}[c.random.IntN(2)], zone(c.zone())}
}

// something happens: to the cluster, to the driver, or to our objects.
func (c *chance) something() {
	switch c.random.IntN(14) {
	case 0, 1:
		node, where := fmt.Sprint("n", c.random.IntN(5)), []string{"a", "b", "c", ""}[c.random.IntN(4)]
		c.nodes[node] = where
		c.node(node, where)
	case 2, 3:
		class := storageClass(c.name())
		if c.random.IntN(2) == 0 {
			class.Parameters = map[string]string{"tier": "gold"}
		}
		if c.random.IntN(3) == 0 {
			class.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
				{Key: "zone", Values: []string{c.zone(), c.zone()}}}}}
		}
		if c.random.IntN(4) == 0 {
			class.VolumeBindingMode = new(storagev1.VolumeBindingImmediate)
		}
		if c.random.IntN(6) == 0 {
			class.Provisioner = "another"
		}
		c.wanted[class.Name] = class
		c.class(class)
	case 4:
		name := c.name()
		delete(c.wanted, name)
		c.dropClass(name)
	case 5:
		c.driver.says(c.pool(), free(int64(c.random.IntN(20))))
	case 6:
		c.driver.says(c.pool(), freeUpTo(int64(c.random.IntN(20)), int64(c.random.IntN(9))))
	case 7:
		c.driver.failing(c.pool(), c.random.IntN(2) == 0)
	case 8, 9, 10:
		c.server.quietly(func() { c.meddle() })
	case 11:
		c.server.breakWatches()
	case 12:
		claim := types.UID(fmt.Sprint(c.random.IntN(4)))
		switch c.random.IntN(4) {
		case 0:
			c.controller.Expect(claim, c.name(), zone(c.zone()), int64(c.random.IntN(5))*gi)
		case 1:
			c.controller.ReserveIfFits(claim, c.name(), zone(c.zone()), int64(c.random.IntN(5))*gi)
		case 2:
			c.controller.Tell(c.t.Context(), c.name(), zone(c.zone()))
		}
		c.controller.Reserve(claim, c.name(), zone(c.zone()), int64(c.random.IntN(5))*gi)
		if c.random.IntN(2) == 0 {
			c.controller.Exhausted(c.t.Context(), c.name(), zone(c.zone()), int64(1+c.random.IntN(5))*gi)
		}
	case 13:
		claim := types.UID(fmt.Sprint(c.random.IntN(4)))
		if c.random.IntN(2) == 0 {
			c.controller.Created(claim, []topology.Segment{zone(c.zone())})
		}
		c.controller.Released(claim)
		c.controller.Deleted([]topology.Segment{zone(c.zone())})
	}
}

// meddle is what somebody else does with the objects.
func (c *chance) meddle() {
	ctx := c.t.Context()
	all := c.server.all()
	if len(all) == 0 || c.random.IntN(3) == 0 {
		class, where := c.name(), zone(c.zone())
		object := Facts{Key: Key{Class: class, Segment: where}, Driver: "d", Manager: ManagedBy, Value: free(int64(c.random.IntN(20)))}.object()
		object.Name, object.GenerateName = "", "csisc-"
		if c.random.IntN(8) == 0 {
			object.NodeTopology = nil
		}
		_, _ = c.server.Create(ctx, object, metav1.CreateOptions{})
		return
	}
	object := all[c.random.IntN(len(all))]
	switch c.random.IntN(4) {
	case 0:
		_ = c.server.Delete(ctx, object.Name, metav1.DeleteOptions{})
	case 1:
		object.Capacity = new(resource.MustParse("3"))
		_, _ = c.server.Update(ctx, object, metav1.UpdateOptions{})
	case 2:
		object.Capacity, object.MaximumVolumeSize = nil, new(resource.MustParse("1Gi"))
		_, _ = c.server.Update(ctx, object, metav1.UpdateOptions{})
	case 3:
		if object.Name != keyOf(object).name("d", ManagedBy) {
			return // without labels nobody could tell that it ever was ours
		}
		object.Labels = nil
		_, _ = c.server.Update(ctx, object, metav1.UpdateOptions{})
	}
}

// want is what should be published in the end.
func (c *chance) want() map[string]string {
	want := map[string]string{}
	there := map[string]bool{}
	for _, zone := range c.nodes {
		there[zone] = zone != ""
	}
	for name, class := range c.wanted {
		if class.Provisioner != "d" || *class.VolumeBindingMode == storagev1.VolumeBindingImmediate {
			continue
		}
		for _, where := range zoneNames {
			if there[where] && topology.Allows(topology.Allowed(class.AllowedTopologies), zone(where)) {
				said := c.driver.of(Pool{parametersKey(class.Parameters), zone(where)})
				what := fmt.Sprint(said.Available / gi)
				if said.Limited {
					what += fmt.Sprintf("/%d", said.Largest/gi)
				}
				want[name+" in "+where] = what
			}
		}
	}
	return want
}

// TestFromWhateverStateWhatIsPublishedBecomesRight lets anything happen, on an API server and a driver that fail, and then nothing more.
func TestFromWhateverStateWhatIsPublishedBecomesRight(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			c := &chance{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 3)), nodes: map[string]string{}, wanted: map[string]*storagev1.StorageClass{}}
			for range c.random.IntN(40) {
				c.something()
			}
			accidents := rand.New(rand.NewPCG(seed, 4)) // the server's own, under its lock
			c.server.setFault(func(string) (before, after error) {
				switch accidents.IntN(8) {
				case 0:
					return errors.New("the server cannot be reached"), nil
				case 1:
					return nil, errors.New("the connection broke")
				}
				return nil, nil
			})
			c.start()
			defer c.stop()
			for range 60 {
				c.after(time.Duration(c.random.IntN(3000)) * time.Millisecond)
				c.something()
			}
			c.server.setFault(nil)
			for _, pool := range []string{"{}", `{"tier":"gold"}`} {
				for _, where := range zoneNames {
					c.driver.failing(Pool{pool, zone(where)}, false)
				}
			}
			for claim := range 4 {
				c.controller.Released(types.UID(fmt.Sprint(claim)))
			}
			c.after(markLongest + 2*time.Minute)
			got := c.published()
			maps.DeleteFunc(got, func(key, what string) bool { // whose marks somebody took off when it had become useless: nobody can tell
				return c.want()[key] == "" && strings.HasSuffix(what, " unmarked")
			})
			if diff := cmp.Diff(c.want(), got); diff != "" {
				t.Fatalf("seed %d: published (-want +got):\n%s", seed, diff)
			}
			goal, current, obsolete := c.controller.book.counts()
			if want := len(c.want()); goal != want || current != want || obsolete != 0 {
				t.Errorf("seed %d: counted %d, %d and %d, want %d, all of them there", seed, goal, current, obsolete, want)
			}
			if _, reserved := c.controller.book.stalest(); reserved != 0 {
				t.Errorf("seed %d: %d bytes are left reserved", seed, reserved)
			}
			if c.driver.twice {
				t.Errorf("seed %d: the driver was asked while it was answering the same question", seed)
			}

			writes, before := c.server.counted(), c.driver.calls()
			c.after(100 * time.Second)
			if again := c.server.counted(); again != writes {
				t.Errorf("seed %d: %d writes although nothing happens", seed, again-writes)
			}
			for pool, asked := range c.driver.calls() {
				if more := asked - before[pool]; more != 0 && (more < 8 || more > 12) {
					t.Errorf("seed %d: in ten intervals the driver was asked %d times about %v", seed, more, pool)
				}
			}
			c.wantNoGarbage(seed)
		})
	}
}

// wantNoGarbage checks that the book has nothing about what is not there.
func (c *chance) wantNoGarbage(seed uint64) {
	c.t.Helper()
	b := c.controller.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.desired) != len(c.want()) || len(b.objects) != len(b.desired) || b.ages.Len() != len(b.pools) || len(b.pools) > len(b.desired) ||
		len(b.written)+len(b.lower)+len(b.shouting)+len(b.ledger.open) != 0 || len(c.controller.waiters.byKey) != 0 {
		c.t.Errorf("seed %d: %d desired, %d with objects, %d pools, %d ages; unseen %v, lower %v, exhausted %v, open %v", seed,
			len(b.desired), len(b.objects), len(b.pools), b.ages.Len(), b.written, b.lower, b.shouting, b.ledger.open)
	}
	for segment := range b.lost {
		if len(b.objects) == 0 && b.places[segment] {
			c.t.Errorf("seed %d: %v is lost and there", seed, segment)
		}
	}
	for pool := range b.ledger.accounts {
		if b.pools[pool] == nil {
			c.t.Errorf("seed %d: an account is left of %v", seed, pool)
		}
	}
}
