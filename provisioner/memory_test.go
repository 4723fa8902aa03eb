package provisioner

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestUpkeepIsSpreadOverTime(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPace(20 * time.Millisecond)
	p.now = func() time.Time { return now }
	if got := p.wait("0"); got != 0 {
		t.Errorf("the first one waits %s", got)
	}
	for i := 1; i < 10_000; i++ {
		if got, want := p.wait(types.UID(fmt.Sprint(i))), time.Duration(i)*20*time.Millisecond; got != want {
			t.Fatalf("volume %d waits %s, want %s", i, got, want)
		}
	}
	now = now.Add(time.Second)
	if got := p.wait("50"); got != 0 {
		t.Errorf("its time has come, and it waits %s", got)
	}
	if got := p.wait("51"); got != 20*time.Millisecond {
		t.Errorf("it keeps its slot: got %s", got)
	}
	p.forget("52")
	if len(p.due) != 9_997 {
		t.Errorf("%d volumes are remembered", len(p.due))
	}
	now = now.Add(time.Hour)
	if got := p.wait("later"); got != 0 {
		t.Errorf("after a quiet time it waits %s", got)
	}
}

func TestAFullSegmentIsLeftAloneForAWhile(t *testing.T) {
	now := time.Unix(0, 0)
	f := newFullSegments()
	f.now = func() time.Time { return now }
	wait := func(class string, zoneName string, bytes int64) time.Duration {
		return f.wait(class, zone(zoneName), bytes)
	}
	f.note("fast", zone("a"), 10)
	tests := map[string]struct {
		class, zone string
		bytes       int64
		want        time.Duration
	}{
		"the same request": {"fast", "a", 10, fullFirst},
		"a larger one":     {"fast", "a", 11, fullFirst},
		"a smaller one":    {"fast", "a", 9, 0},
		"another segment":  {"fast", "b", 10, 0},
		"of another class": {"slow", "a", 10, 0},
	}
	for name, tt := range tests {
		if got := wait(tt.class, tt.zone, tt.bytes); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
	for range 20 {
		f.note("fast", zone("a"), 20)
	}
	if got := wait("fast", "a", 10); got != fullFirst {
		t.Errorf("after many claims at once: got %s, want %s", got, fullFirst)
	}
	for range 20 {
		now = now.Add(wait("fast", "a", 20))
		f.note("fast", zone("a"), 20)
	}
	if got := wait("fast", "a", 10); got != fullLongest {
		t.Errorf("after many times: got %s, want %s", got, fullLongest)
	}
	now = now.Add(fullLongest)
	if got := wait("fast", "a", 10); got != 0 {
		t.Errorf("when the time is over: got %s", got)
	}
	now = now.Add(2 * fullForgotten)
	f.note("fast", zone("a"), 30)
	if got := wait("fast", "a", 30); got != fullFirst {
		t.Errorf("what is long ago does not count: got %s, want %s", got, fullFirst)
	}
	f.clear("fast", zone("a"))
	if got := wait("fast", "a", 30); got != 0 {
		t.Errorf("there was room: got %s", got)
	}
	for i := range fullLimit + 10 {
		f.note("fast", zone(fmt.Sprint(i)), 1)
	}
	if len(f.said) > fullLimit {
		t.Errorf("%d segments are remembered", len(f.said))
	}
}
