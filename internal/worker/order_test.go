package worker

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOrder(t *testing.T) {
	tests := map[string]struct{ pushed, want string }{
		"first come, first served":               {"a1 a2 a3", "a1 a2 a3"},
		"groups take turns":                      {"a1 a2 a3 b1 c1 c2", "a1 b1 c1 a2 c2 a3"},
		"new ones before retries":                {"a1! a2 b1! b2", "a2 b2 a1! b1!"},
		"retries take turns, too":                {"a1! a2! b1!", "a1! b1! a2!"},
		"a stream of new ones lets some through": {"a0! a1 a2 a3 a4 a5 a6 a7 a8 a9", "a1 a2 a3 a4 a5 a6 a7 a0! a8 a9"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := &order[string]{
				group: func(key string) string { return key[:1] },
				retry: func(key string) bool { return strings.HasSuffix(key, "!") }, now: time.Now,
			}
			for key := range strings.FieldsSeq(tt.pushed) {
				o.Push(key)
			}
			var got []string
			for o.Len() > 0 {
				got = append(got, o.Pop())
			}
			if want := strings.Fields(tt.want); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestALongQueueOfOneNamespaceDoesNotHoldUpAnother(t *testing.T) {
	o := &order[string]{group: func(key string) string { return key[:1] }, retry: func(string) bool { return false }, now: time.Now}
	for range 1000 {
		o.Push("a")
	}
	o.Push("b")
	for i := range 2 {
		if key := o.Pop(); key == "b" {
			return
		} else if i == 1 {
			t.Errorf("the other namespace's key still waits after %d turns", i+1)
		}
	}
}
