//go:build node

package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFiguresOfAStream(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	cases := map[string]struct {
		created, bound map[string]time.Time
		want           figures
	}{
		"nothing has happened": {},
		"claims that are not bound make no gap": {
			created: map[string]time.Time{"a": at(0), "b": at(1)},
			bound:   map[string]time.Time{"a": at(2)},
			want:    figures{Claims: 2, Unbound: []string{"b"}, Slowest: 2 * time.Second},
		},
		"the gap is between claims bound one after the other, whichever were created first": {
			created: map[string]time.Time{"a": at(0), "b": at(1), "c": at(2)},
			bound:   map[string]time.Time{"a": at(9), "b": at(3), "c": at(4)},
			want:    figures{Claims: 3, Gap: 5 * time.Second, Slowest: 9 * time.Second},
		},
		"whoever else is bound does not count": {
			created: map[string]time.Time{"a": at(0)},
			bound:   map[string]time.Time{"a": at(1), "other": at(60)},
			want:    figures{Claims: 1, Slowest: time.Second},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, summary(c.created, c.bound, nil, nil)); diff != "" {
				t.Errorf("figures (-want +got):\n%s", diff)
			}
		})
	}
}
