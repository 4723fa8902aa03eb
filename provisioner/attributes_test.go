package provisioner

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestDecideOnVolumeAttributesClasses(t *testing.T) {
	is := func(class *storagev1.VolumeAttributesClass) func(*Input) {
		return func(in *Input) { in.AttributesClass = class }
	}
	gold := claimIs(withAttributes("gold"))
	tests := map[string]struct {
		in   Input
		want string // prefix of the sketch
	}{
		"a class of the driver": {makeInput(withEverything, gold, is(makeAttributesClass("gold", testDriver))), "create " + testVolume},
		"no class named":        {makeInput(withEverything), "create " + testVolume},
		"an empty name":         {makeInput(withEverything, claimIs(withAttributes(""))), "create " + testVolume},
		"the class does not exist": {makeInput(withEverything, gold),
			`refuse: volume attributes class "gold" does not exist: `},
		"another driver's class": {makeInput(withEverything, gold, is(makeAttributesClass("gold", "other"))),
			`refuse: volume attributes class "gold" is of driver other, not of driver.example: `},
		"a driver that cannot": {makeInput(withEverything, gold, is(makeAttributesClass("gold", testDriver)), func(in *Input) { in.Settings.Driver.Modify = false }),
			"refuse: the claim has volume attributes class \"gold\", but driver driver.example has no mutable parameters (capability MODIFY_VOLUME): "},
		"the gate is off": {makeInput(withEverything, gold, func(in *Input) { in.Settings.AttributesClasses, in.Settings.Driver.Modify = false, false }), "create " + testVolume},
		"it is known before there is a place": {makeInput(withEverything, gold, func(in *Input) { in.Place = Place{} }),
			`refuse: volume attributes class "gold" does not exist: `},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketch(Decide(tt.in)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestAVolumeHasItsAttributes(t *testing.T) {
	for name, tt := range map[string]struct {
		in     Input
		params map[string]string
		class  *string
	}{
		"with a class":    {makeInput(withEverything, claimIs(withAttributes("gold")), func(in *Input) { in.AttributesClass = makeAttributesClass("gold", testDriver) }), pairs("iops", "500"), new("gold")},
		"without a class": {makeInput(withEverything), nil, nil},
		"the gate is off": {makeInput(claimIs(withAttributes("gold"))), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			created, ok := Decide(tt.in).(Create)
			if !ok {
				t.Fatal("no attempt")
			}
			if diff := cmp.Diff(tt.params, created.Attempt.Request.GetMutableParameters()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.class, created.Attempt.Template.Spec.VolumeAttributesClassName); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadingVolumeAttributesClasses(t *testing.T) {
	class := makeAttributesClass("gold", testDriver)
	reads := func(w *world) (reads int) {
		for _, action := range w.core.Actions() {
			if action.Matches("get", "volumeattributesclasses") {
				reads++
			}
		}
		return reads
	}
	stored := func(w *world) {
		if err := w.c.volumes.GetIndexer().Add(makeVolume()); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		claim   *corev1.PersistentVolumeClaim
		objects []runtime.Object
		prepare func(*world)
		reads   int
		asked   bool
		retries bool
	}{
		"it is there":     {makeClaim(withAttributes("gold")), []runtime.Object{class}, nil, 1, true, false},
		"it is not there": {makeClaim(withAttributes("gold")), nil, nil, 1, false, true},
		"it cannot be read": {makeClaim(withAttributes("gold")), []runtime.Object{class}, func(w *world) {
			fails(&w.core.Fake, "get", "volumeattributesclasses", errors.New("connection refused"))
		}, 1, false, true},
		"none is named":                       {makeClaim(), nil, nil, 0, true, false},
		"the claim has a volume":              {makeClaim(withAttributes("gold"), boundTo("x")), nil, nil, 0, false, false},
		"the claim is another driver's":       {makeClaim(withAttributes("gold"), annotated("volume.kubernetes.io/storage-provisioner", "other")), nil, nil, 0, false, false},
		"its volume is stored":                {makeClaim(withAttributes("gold")), nil, stored, 0, false, false},
		"the gate is off":                     {makeClaim(withAttributes("gold")), nil, func(w *world) { w.c.settings.AttributesClasses = false }, 0, true, false},
		"an attempt is open: it has them all": {makeClaim(withAttributes("gold")), nil, func(w *world) { w.c.attempts.put(testUID, makeAttempt()) }, 0, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := makeWorld(t, tt.objects...)
			w.cached(tt.claim)
			if tt.prepare != nil {
				tt.prepare(w)
			}
			result := w.c.workClaim(t.Context(), keyOf(tt.claim))
			if creates, _ := w.driver.calls(); (creates == 1) != tt.asked || result.Retries() != tt.retries || reads(w) != tt.reads {
				t.Errorf("asked %d times, retries %v, read %d times", creates, result.Retries(), reads(w))
			}
		})
	}
}

func TestAClaimThatWaitsForItsAttributesClassIsProvisionedWhenItComes(t *testing.T) {
	inBubble(t, []runtime.Object{makeClaim(withAttributes("gold"))}, nil, func(w *world) {
		pass(20 * time.Minute) // as far as the backoff goes
		w.add(makeAttributesClass("gold", testDriver))
		pass(time.Second)
		if creates, _ := w.driver.calls(); creates != 1 {
			t.Fatalf("%d creations", creates)
		}
		if diff := cmp.Diff(pairs("iops", "500"), w.driver.created[0].GetMutableParameters()); diff != "" {
			t.Error(diff)
		}
	})
}
