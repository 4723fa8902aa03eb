package capacity

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/topology"
)

func zone(name string) topology.Segment { return topology.NewSegment(map[string]string{"zone": name}) }

var somewhere = Pool{"{}", zone("a")}

// history lets things happen to a ledger, one moment after the other.
type history struct {
	ledger
	now time.Time
	at  moment
}

func newHistory() *history { return &history{now: time.Unix(1000, 0)} }

func (h *history) next() moment {
	h.at++
	return h.at
}

func (h *history) starts(claim types.UID, gibibytes int64) {
	h.next()
	h.reserve(claim, []Pool{somewhere}, gibibytes*gi)
}
func (h *history) made(claim types.UID)      { h.end(claim, true, h.next()) }
func (h *history) failed(claim types.UID)    { h.end(claim, false, h.next()) }
func (h *history) reports(said csi.Capacity) { h.report(somewhere, h.next(), said) }
func (h *history) full(gibibytes int64, s csi.Capacity) {
	h.exhausted(somewhere, gibibytes*gi, s, h.next(), h.now)
}

func (h *history) want(t *testing.T, step string, said, want csi.Capacity) {
	t.Helper()
	if got, _ := h.room(somewhere, said, h.now); got != want {
		t.Errorf("%s: room %+v, want %+v", step, got, want)
	}
}

func TestAReservationLastsUntilTheReportAfterTheCall(t *testing.T) {
	h := newHistory()
	h.want(t, "nothing happens", free(10), free(10))
	h.starts("one", 3)
	h.starts("one", 3) // the same request again, its outcome being unknown
	h.want(t, "a call is under way", free(10), free(7))
	h.reports(free(10))
	h.want(t, "a report during the call may not show it", free(10), free(7))
	asked := h.next()
	h.made("one")
	h.report(somewhere, asked, free(10))
	h.want(t, "the report was asked for before the call came back", free(10), free(7))
	h.reports(free(7))
	h.want(t, "the driver knows better", free(7), free(7))
	if h.reserved != 0 || len(h.accounts) != 0 || len(h.open) != 0 {
		t.Errorf("left are %+v", h.ledger)
	}
}

func TestAReservationForNothingEndsAtOnce(t *testing.T) {
	h := newHistory()
	h.starts("one", 3)
	h.starts("two", 4)
	h.failed("one")
	h.failed("one")
	h.want(t, "one of two failed", free(10), free(6))
	h.starts("huge", 100)
	h.want(t, "more than there is", free(10), free(0))
}

func TestAnExpectedVolumeHoldsRoomBackAndKeepsNobodyOut(t *testing.T) {
	h := newHistory()
	elsewhere := Pool{"{}", zone("b")}
	fits := func(step string, gibibytes int64, want bool) {
		t.Helper()
		if got := h.fits(somewhere, free(10), gibibytes*gi, h.now); got != want {
			t.Errorf("%s: %d GiB fit: %v, want %v", step, gibibytes, got, want)
		}
	}
	h.expect("one", []Pool{somewhere}, 3*gi)
	h.expect("one", []Pool{somewhere}, 3*gi)
	h.want(t, "a node was selected", free(10), free(7))
	fits("who asks first is served first", 10, true)
	fits("more than there is does not fit", 11, false)
	if calls := h.calls(somewhere); calls != 0 {
		t.Errorf("%d calls before anybody has called", calls)
	}
	h.expect("one", []Pool{elsewhere}, 3*gi)
	h.want(t, "the scheduler thought better of it", free(10), free(10))
	h.starts("one", 3)
	h.want(t, "the volume is made here after all", free(10), free(7))
	if value, _ := h.room(elsewhere, free(10), h.now); value != free(10) {
		t.Errorf("elsewhere is held back what is not expected any more: %+v", value)
	}
	fits("beside the one that is made", 7, true)
	fits("no room beside the one that is made", 8, false)
	h.expect("one", []Pool{elsewhere}, 5*gi)
	h.want(t, "a call that is under way stays where it is", free(10), free(7))
	h.full(4, free(10))
	fits("a mark counts", 4, false)
	h.failed("one")
	h.expect("two", []Pool{somewhere}, 2*gi)
	h.failed("two")
	h.freed(somewhere)
	h.want(t, "nothing is expected, nothing under way", free(10), free(10))
	if h.reserved != 0 || len(h.open) != 0 {
		t.Errorf("left are %+v", h.ledger)
	}
}

func TestTheLargestVolumeShrinksWithTheRoom(t *testing.T) {
	h := newHistory()
	h.starts("one", 3)
	h.want(t, "a limit below what is left stays", freeUpTo(10, 5), freeUpTo(7, 5))
	h.want(t, "a limit above what is left goes down", freeUpTo(10, 9), freeUpTo(7, 7))
	h.want(t, "a limit above all there is counts in another way", freeUpTo(10, 50), freeUpTo(7, 50))
}

func TestAMark(t *testing.T) {
	below := func(gibibytes, limit int64) csi.Capacity {
		return csi.Capacity{Available: gibibytes * gi, Largest: limit*gi - 1, Limited: true}
	}
	t.Run("limits what is published, whatever is reported", func(t *testing.T) {
		h := newHistory()
		h.full(4, free(10))
		h.want(t, "at once", free(10), below(10, 4))
		h.full(6, free(10))
		h.want(t, "a larger size tells nothing new", free(10), below(10, 4))
		h.full(2, free(10))
		h.want(t, "a smaller one does", free(10), below(10, 2))
		h.want(t, "what is known to be less stays", freeUpTo(10, 1), freeUpTo(10, 1))
	})
	t.Run("ends when a report shows more than the ones before", func(t *testing.T) {
		h := newHistory()
		asked := h.next()
		h.full(4, free(10))
		h.report(somewhere, asked, free(11))
		h.want(t, "a report that was asked for before does not count", free(11), below(11, 4))
		h.reports(free(3))
		h.want(t, "the driver is as full as it says", free(3), free(3))
		h.reports(free(5))
		h.want(t, "room came", free(5), free(5))
	})
	t.Run("stays when the driver goes on reporting what is not there", func(t *testing.T) {
		h := newHistory()
		h.full(4, free(10))
		h.reports(free(10))
		h.reports(free(10))
		h.want(t, "for a while", free(10), below(10, 4))
		h.now = h.now.Add(markFirst)
		h.want(t, "and not for ever", free(10), free(10))
		h.full(4, free(10))
		h.now = h.now.Add(markFirst)
		h.want(t, "longer the second time", free(10), below(10, 4))
		h.now = h.now.Add(markFirst)
		h.want(t, "and not for ever either", free(10), free(10))
		h.full(9, free(10))
		h.want(t, "what was too small then need not be now", free(10), below(10, 9))
	})
	t.Run("ends with a volume of that size, or a deletion", func(t *testing.T) {
		h := newHistory()
		h.starts("smaller", 3)
		h.full(4, free(10))
		h.made("smaller")
		h.reports(free(10))
		h.want(t, "a smaller volume proves nothing", free(10), below(10, 4))
		h.starts("as large", 4)
		h.made("as large")
		h.reports(free(10))
		h.want(t, "this one does", free(10), free(10))
		h.full(4, free(10))
		h.freed(somewhere)
		h.want(t, "a deletion makes room", free(10), free(10))
	})
	t.Run("of no bytes at all leaves nothing", func(t *testing.T) {
		h := newHistory()
		h.full(0, free(10))
		h.want(t, "at once", free(10), csi.Capacity{Available: 10 * gi, Limited: true})
	})
}

// TestReservationsAddUp lets random claims come and go, and compares the sums with a recount.
func TestReservationsAddUp(t *testing.T) {
	pools := []Pool{somewhere, {"{}", zone("b")}, {`{"tier":"gold"}`, zone("a")}}
	for seed := range uint64(200) {
		random, h := rand.New(rand.NewPCG(seed, 1)), newHistory()
		claim := func() types.UID { return types.UID(fmt.Sprint(random.IntN(8))) }
		for step := range 300 {
			h.now = h.now.Add(time.Duration(random.IntN(20)) * time.Second)
			pool := pools[random.IntN(len(pools))]
			switch random.IntN(8) {
			case 7:
				h.expect(claim(), []Pool{pool}, int64(random.IntN(5)))
			case 0, 1:
				h.reserve(claim(), []Pool{pool}, int64(random.IntN(5)))
			case 2:
				h.end(claim(), true, h.next())
			case 3:
				h.end(claim(), false, h.next())
			case 4:
				h.report(pool, h.next(), free(int64(random.IntN(9))))
			case 5:
				h.exhausted(pool, int64(random.IntN(9)), free(int64(random.IntN(9))), h.next(), h.now)
			case 6:
				if random.IntN(10) == 0 {
					h.forget(pool)
				}
			}
			total := int64(0)
			for pool, a := range h.accounts {
				sum, expected, calls := int64(0), int64(0), 0
				for _, one := range a.entries {
					sum += one.bytes
					switch {
					case one.expected:
						expected += one.bytes
					case one.ended == 0:
						calls++
					}
				}
				if sum != a.reserved || sum < 0 || expected != a.expected || calls != a.calls {
					t.Fatalf("seed %d, step %d: %v has %+v", seed, step, pool, a)
				}
				total += sum
				said := free(3)
				if value, _ := h.room(pool, said, h.now); value.Available < 0 || value.Available > said.Available || value.Largest < 0 {
					t.Fatalf("seed %d, step %d: room %+v", seed, step, value)
				}
			}
			if total != h.reserved {
				t.Fatalf("seed %d, step %d: %d reserved, counted %d", seed, step, h.reserved, total)
			}
		}
		for claim := range 8 {
			h.end(types.UID(fmt.Sprint(claim)), claim%2 == 0, h.next())
		}
		for _, pool := range pools {
			h.report(pool, h.next(), free(1))
		}
		if h.reserved != 0 || len(h.open) != 0 {
			t.Fatalf("seed %d: %d bytes are left reserved, %d calls open", seed, h.reserved, len(h.open))
		}
	}
}

// TestDoubleCountingIsBounded plays drivers that subtract a volume when its call begins, and when it ends, and asks them at random. Never is more
// published than there will be once all calls have ended, and less only by what is under way, or was when the last report was asked for.
func TestDoubleCountingIsBounded(t *testing.T) {
	for _, early := range []bool{true, false} {
		for seed := range uint64(200) {
			random, h := rand.New(rand.NewPCG(seed, 7)), newHistory()
			room := int64(1000) // that no volume has
			said := csi.Capacity{Available: room}
			underWay, during := map[types.UID]int64{}, int64(0) // and what was under way when the last report was asked for
			sum := func() (all int64) {
				for _, bytes := range underWay {
					all += bytes
				}
				return all
			}
			for step := range 200 {
				switch random.IntN(3) {
				case 0:
					claim, bytes := types.UID(fmt.Sprint(step)), int64(1+random.IntN(4))
					underWay[claim] = bytes
					h.reserve(claim, []Pool{somewhere}, bytes)
				case 1:
					for claim, bytes := range underWay {
						room -= bytes
						delete(underWay, claim)
						h.end(claim, true, h.next())
						break
					}
				case 2:
					said.Available, during = room, sum()
					if early {
						said.Available -= during
					}
					h.report(somewhere, h.next(), said)
				}
				value, _ := h.room(somewhere, said, h.now)
				least := room - sum()
				if value.Available > least {
					t.Fatalf("early %v, seed %d, step %d: %d published, and there will be %d", early, seed, step, value.Available, least)
				}
				if !early && value.Available != least {
					t.Fatalf("seed %d, step %d: %d published, want %d: this driver never counts twice", seed, step, value.Available, least)
				}
				if value.Available < least-during {
					t.Fatalf("seed %d, step %d: %d published, and there will be %d: more is missing than was under way when the driver was asked (%d)",
						seed, step, value.Available, least, during)
				}
			}
		}
	}
}
