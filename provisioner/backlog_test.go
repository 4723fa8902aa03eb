package provisioner

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestOwesPhase(t *testing.T) {
	bound := makeClaim(boundTo(testVolume))
	tests := map[string]struct {
		pv    *corev1.PersistentVolume
		claim *corev1.PersistentVolumeClaim
		want  bool
	}{
		"a volume that waits for its claim":            {makeStored(), makeClaim(), false},
		"a claim that has it":                          {makeStored(inPhase(corev1.VolumeBound)), bound, false},
		"a claim that has it, which it does not say":   {makeStored(), bound, true},
		"a claim that is gone":                         {makeStored(inPhase(corev1.VolumeBound)), nil, true},
		"a claim that is gone, and is said to be":      {makeStored(inPhase(corev1.VolumeReleased)), nil, false},
		"a claim that is gone, and could not be freed": {makeStored(inPhase(corev1.VolumeFailed)), nil, false},
		"another claim of the name":                    {makeStored(inPhase(corev1.VolumeBound)), makeClaim(called("data")), true},
		"nobody's":                                     {makeStored(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil }), nil, true},
		"nobody's, and is said to be": {makeStored(inPhase(corev1.VolumeAvailable), func(pv *corev1.PersistentVolume) {
			pv.Spec.ClaimRef = nil
		}), nil, false},
		"for a name": {makeStored(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "" }), makeClaim(), true},
		"surplus":    {makeStored(), makeClaim(boundTo("static")), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := owesPhase(tt.pv, tt.claim); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestABinderIsBehindWhileItWorks(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBacklog()
	b.now = func() time.Time { return now }
	want := func(what string, behind bool) {
		t.Helper()
		if b.behind() != behind {
			t.Errorf("%s: behind is %v", what, !behind)
		}
	}
	want("nothing is owed", false)
	for _, volume := range []string{"a", "b", "c"} {
		b.note(volume, true)
	}
	want("three are owed", true)
	now = now.Add(binderStalled - time.Second)
	want("it has not begun yet", true)
	b.note("a", false)
	now = now.Add(binderStalled - time.Second)
	want("it has done one", true)
	b.note("d", true)
	now = now.Add(time.Second)
	want("it does nothing, however much is added", false)
	b.note("b", false)
	want("it works again", true)
	b.note("c", false)
	b.note("d", false)
	b.note("never-owed", false)
	want("it has done all", false)
}

func TestHeadStartGrowsWithTheCluster(t *testing.T) {
	if small, large := headStart(10), headStart(100_000); small < 100*time.Millisecond || small > 150*time.Millisecond || large < time.Second || large > 5*time.Second {
		t.Errorf("got %s and %s", small, large)
	}
}

func TestExpressIsOffWhileItIsForbiddenOrTheBinderIsBehind(t *testing.T) {
	now := time.Unix(1000, 0)
	e := newExpress(true)
	e.now = func() time.Time { return now }
	want := func(what, off string, again time.Duration) {
		t.Helper()
		if e.off() != off || e.on() != (off == "") || e.again() != again {
			t.Errorf("%s: off is %q, again after %s", what, e.off(), e.again())
		}
	}
	want("at first", "", permissionInterval)
	if !e.judge("no role") || e.judge("no role") {
		t.Error("a refusal is news once")
	}
	want("refused twice", LeftForbidden, 2*refusalInterval)
	for range 100 {
		e.judge("no role")
	}
	want("refused for long", LeftForbidden, permissionInterval)
	if !e.judge("") || e.judge("") {
		t.Error("a permission is news once")
	}
	want("granted", "", permissionInterval)
	if !e.pause() || e.pause() {
		t.Error("a pause is news once")
	}
	want("a claim was called lost", LeftLost, permissionInterval)
	now = now.Add(lostPause)
	want("later", "", permissionInterval)
	if newExpress(false).on() {
		t.Error("it is on although the flag says off")
	}
}
