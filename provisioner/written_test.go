package provisioner

import (
	"testing"
	"time"
)

// An object in the way was taken away, ours was written, and only then does the cache show the deletion of the former.
func TestEventsAboutAnotherObjectOfTheNameSayNothingOfOurs(t *testing.T) {
	now := time.Now()
	w := &written{names: map[string]writtenVolume{}, now: func() time.Time { return now }}
	w.add("pvc-1", "ours")
	w.seen("pvc-1", "theirs")
	if claim, ok := w.by("pvc-1"); !ok || claim != "ours" {
		t.Errorf("forgot the volume that was written for our claim: %q, %v", claim, ok)
	}
	w.seen("pvc-1", "ours")
	if claim, ok := w.by("pvc-1"); ok {
		t.Errorf("still remembers a volume that the cache shows, for %q", claim)
	}
	w.add("pvc-1", "ours")
	now = now.Add(cacheLag + time.Second)
	if _, ok := w.by("pvc-1"); ok {
		t.Error("remembers a volume for ever that no cache shows")
	}
}
