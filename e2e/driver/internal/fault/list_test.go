package fault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/berth-csi/berth/e2e/driver/internal/fault"
)

var methods = []string{"CreateVolume", "DeleteVolume", "Probe"}

func list(t *testing.T, faults ...fault.Fault) *fault.List {
	t.Helper()
	l := fault.NewList(methods, 1)
	if err := l.Replace(faults); err != nil {
		t.Fatal(err)
	}
	return l
}

// actions plans a call several times and joins the actions, "-" for none.
func actions(l *fault.List, times int, call fault.Call) string {
	var got []string
	for range times {
		action := string(l.Plan(call).Action)
		if action == "" {
			action = "-"
		}
		got = append(got, action)
	}
	return strings.Join(got, " ")
}

func TestSelection(t *testing.T) {
	create := fault.Call{Method: "CreateVolume", Subjects: []string{"pvc-1", "snap-7"}}
	for name, c := range map[string]struct {
		faults []fault.Fault
		call   fault.Call
		want   string
	}{
		"none":                        {nil, create, "- -"},
		"every call":                  {[]fault.Fault{{Method: "CreateVolume", Action: "error"}}, create, "error error"},
		"another method":              {[]fault.Fault{{Method: "DeleteVolume", Action: "error"}}, create, "- -"},
		"all methods":                 {[]fault.Fault{{Method: "*", Action: "hang"}}, create, "hang"},
		"a limited number of times":   {[]fault.Fault{{Method: "*", Action: "lost", Times: 2}}, create, "lost lost - -"},
		"after some calls":            {[]fault.Fault{{Method: "*", Action: "lost", After: 2, Times: 1}}, create, "- - lost -"},
		"match on the name":           {[]fault.Fault{{Method: "*", Action: "drop", Match: "^pvc-1$"}}, create, "drop"},
		"match on the source":         {[]fault.Fault{{Method: "*", Action: "drop", Match: "snap"}}, create, "drop"},
		"match on something else":     {[]fault.Fault{{Method: "*", Action: "drop", Match: "^pvc-2"}}, create, "-"},
		"match on a call of no name":  {[]fault.Fault{{Method: "*", Action: "drop", Match: "."}}, fault.Call{Method: "Probe"}, "-"},
		"the first action wins":       {[]fault.Fault{{Method: "*", Action: "lost", Times: 1}, {Method: "*", Action: "error"}}, create, "lost error"},
		"a later one is not used up":  {[]fault.Fault{{Method: "*", Action: "lost", Times: 1}, {Method: "*", Action: "error", Times: 1}}, create, "lost error -"},
		"an action of another method": {[]fault.Fault{{Method: "*", Action: "not-ready"}}, create, "-"},
		"an action of this method":    {[]fault.Fault{{Method: "*", Action: "not-ready"}}, fault.Call{Method: "Probe"}, "not-ready"},
	} {
		t.Run(name, func(t *testing.T) {
			n := len(strings.Fields(c.want))
			if got := actions(list(t, c.faults...), n, c.call); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestLatenciesAddUp(t *testing.T) {
	l := list(t,
		fault.Fault{Method: "*", Latency: "10ms"},
		fault.Fault{Method: "CreateVolume", Latency: "20ms", Action: "error", Code: "NotFound", Message: "gone"},
		fault.Fault{Method: "CreateVolume", Latency: "40ms", Action: "lost"},
		fault.Fault{Method: "*", Latency: "80ms"})
	got := l.Plan(fault.Call{Method: "CreateVolume"})
	want := fault.Plan{Wait: 110 * time.Millisecond, Action: fault.Error, Code: codes.NotFound, Message: "gone"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	var used []int64
	for _, u := range l.Usage() {
		used = append(used, u.Used)
	}
	if diff := cmp.Diff([]int64{1, 1, 0, 1}, used); diff != "" {
		t.Errorf("used (-want +got):\n%s", diff)
	}
}

func TestJitterStaysInItsBounds(t *testing.T) {
	l := list(t, fault.Fault{Method: "*", Latency: "10ms", Jitter: "5ms"})
	for range 1000 {
		if w := l.Plan(fault.Call{Method: "Probe"}).Wait; w < 10*time.Millisecond || w >= 15*time.Millisecond {
			t.Fatalf("waits %s", w)
		}
	}
}

func TestProbabilityRepeatsWithTheSeed(t *testing.T) {
	f := fault.Fault{Method: "*", Action: "error", Probability: 0.3}
	first := actions(list(t, f), 1000, fault.Call{Method: "Probe"})
	if second := actions(list(t, f), 1000, fault.Call{Method: "Probe"}); first != second {
		t.Error("the same seed gives other faults")
	}
	if n := strings.Count(first, "error"); n < 250 || n > 350 {
		t.Errorf("%d of 1000 calls with a probability of 0.3", n)
	}
}

func TestRejects(t *testing.T) {
	for want, text := range map[string]string{
		"method:":              `{"method":"Create","action":"error"}`,
		"action: \"explode\"":  `{"method":"*","action":"explode"}`,
		"is for CreateVolume":  `{"method":"DeleteVolume","action":"nil-volume"}`,
		"is for Probe":         `{"method":"CreateVolume","action":"not-ready"}`,
		"needs an action":      `{"method":"*"}`,
		"probability:":         `{"method":"*","action":"error","probability":1.5}`,
		"times and after:":     `{"method":"*","action":"error","times":-1}`,
		"latency:":             `{"method":"*","latency":"50"}`,
		"jitter:":              `{"method":"*","jitter":"-1s"}`,
		"code: \"OK\"":         `{"method":"*","action":"error","code":"OK"}`,
		"match:":               `{"method":"*","action":"error","match":"("}`,
		"unknown field":        `{"method":"*","acton":"error"}`,
		"after the JSON value": `{"method":"*","action":"error"}{}`,
		"fault 1: method":      `[{"method":"*","action":"error"},{"action":"error"}]`,
		"fault: EOF":           ``,
	} {
		faults, err := fault.Decode([]byte(text))
		l := fault.NewList(methods, 1)
		if err == nil {
			err = l.Add(faults)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
		if len(l.Usage()) > 0 {
			t.Errorf("%s: was added in part", text)
		}
	}
}

func TestCodesInAllSpellings(t *testing.T) {
	for text, want := range map[string]codes.Code{
		"": codes.Unavailable, "DeadlineExceeded": codes.DeadlineExceeded, "DEADLINE_EXCEEDED": codes.DeadlineExceeded, "4": codes.DeadlineExceeded,
		"Canceled": codes.Canceled, "CANCELLED": codes.Canceled, "Unauthenticated": codes.Unauthenticated, "16": codes.Unauthenticated,
	} {
		if got, err := fault.ParseCode(text); err != nil || got != want {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
}
