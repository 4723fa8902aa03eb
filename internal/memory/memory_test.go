package memory

import (
	"context"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

func TestHowMuchGarbageThereMayBe(t *testing.T) {
	for name, tt := range map[string]struct {
		alive uint64
		want  int
	}{
		"an empty heap is Go's affair":                     {0, 100},
		"a small one, too":                                 {10 << 20, 100},
		"one as large as the room":                         {24 << 20, 100},
		"beside a larger one there is as much and no more": {48 << 20, 50},
		"a large one":                                      {60 << 20, 40},
		"a huge one is not collected all the time":         {1 << 30, 25},
	} {
		t.Run(name, func(t *testing.T) {
			if got := percent(tt.alive); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// kept is what the test's own heap is.
var kept []byte

func TestALargeHeapGetsLessRoom(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	kept = make([]byte, 200<<20)
	defer func() { kept = nil }()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), firstLook+time.Second)
		defer stop()
		Keep(ctx)
	})
	if got := debug.SetGCPercent(100); got > 30 {
		t.Errorf("with 200 MiB alive the percentage is %d", got)
	}
}

func TestWhoHasSetGOGCIsLeftAlone(t *testing.T) {
	t.Setenv("GOGC", "200")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	Keep(t.Context()) // returns at once
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("the percentage is %d", got)
	}
}
