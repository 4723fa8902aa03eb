package capacity

import (
	"testing"
	"time"
)

func TestHowLongAQuestionMayTake(t *testing.T) {
	for name, tt := range map[string]struct {
		threads int
		call    time.Duration
		want    time.Duration
	}{
		"the usual":                             {4, 15 * time.Second, 10*time.Minute + 75*time.Second},
		"a driver that is given much time":      {1, time.Hour, 2*time.Hour + 10*time.Minute},
		"nobody knows how long a call may take": {4, 0, 0},
	} {
		if got := askLimit(tt.threads, tt.call); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}
