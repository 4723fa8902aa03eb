package capacity

import (
	"math"
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/csi"
)

const gi = 1 << 30

func free(gibibytes int64) csi.Capacity { return csi.Capacity{Available: gibibytes * gi} }

func freeUpTo(gibibytes, largest int64) csi.Capacity {
	return csi.Capacity{Available: gibibytes * gi, Largest: largest * gi, Limited: true}
}

func TestPatience(t *testing.T) {
	for name, c := range map[string]struct {
		published, value csi.Capacity
		next             int64 // in gibibytes
		want             time.Duration
	}{
		"more room is told at once":                           {free(5), free(6), 0, 0},
		"a larger volume is told at once":                     {freeUpTo(9, 1), freeUpTo(9, 2), 0, 0},
		"a larger volume is told at once, although room went": {freeUpTo(9, 1), freeUpTo(8, 2), 0, 0},
		"more room is told at once, also to scores":           {freeUpTo(8, 2), freeUpTo(9, 1), 0, 0},
		"no limit any more is more":                           {freeUpTo(9, 5), free(9), 0, 0},
		"what may matter is told soon":                        {free(10), free(9), 0, soon},
		"the last of it is told soon":                         {free(1), free(0), 0, soon},
		"a smaller largest volume is told soon":               {freeUpTo(100, 10), freeUpTo(100, 9), 0, soon},
		"a limit where there was none is told soon":           {free(100), freeUpTo(100, 9), 0, soon},
		"a little of plenty is told later":                    {free(100), free(99), 0, later},
		"that another volume does not fit is told at once":    {free(2), free(1), 2, 0},
		"that is told once":                                   {freeUpTo(2, 1), free(1), 2, soon},
		"another volume still fits":                           {free(3), free(2), 2, soon},
		"all of the largest number of bytes is told soon":     {csi.Capacity{Available: math.MaxInt64}, free(0), 0, soon},
	} {
		t.Run(name, func(t *testing.T) {
			if got := patience(c.published, c.value, c.next*gi); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestWhatIsToldIsWhatIsRead(t *testing.T) {
	for _, value := range []csi.Capacity{free(0), free(7), freeUpTo(7, 3), freeUpTo(7, 0), {Available: math.MaxInt64}} {
		object := &storagev1.CSIStorageCapacity{}
		if says(object, value) {
			t.Errorf("an object that says nothing says %+v", value)
		}
		if tell(object, value); valueOf(object) != value || !says(object, value) {
			t.Errorf("told %+v, read %+v", value, valueOf(object))
		}
	}
}
