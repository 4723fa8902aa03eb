// Package fault decides how a call is made to fail. Faults are scripted while the driver runs, as a list that each call
// goes through in order; the result, a Plan, says how long to wait and what to do. Carrying it out is up to the caller:
// nothing here waits, answers or closes anything.
package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Action is what a fault does beside waiting.
type Action string

const (
	OnlyLatency   Action = ""                // go on after the latency
	Error         Action = "error"           // answer with a code, nothing done
	Late          Action = "late"            // done at once, the latency comes before the answer
	Hang          Action = "hang"            // do nothing until the caller gives up
	Lost          Action = "lost"            // done, then a code instead of the answer
	Drop          Action = "drop"            // done, then the connection is closed
	DropBefore    Action = "drop-before"     // the connection is closed, nothing done
	Smaller       Action = "smaller"         // done, the answer says less capacity than asked
	NoSource      Action = "no-source"       // done, the answer has no content source
	EmptyVolumeID Action = "empty-volume-id" // done, the answer has no volume id
	NilVolume     Action = "nil-volume"      // done, the answer has no volume
	NotReady      Action = "not-ready"       // Probe says false
)

// everywhere are the actions that suit any method; onlyFor are the methods of the others.
var (
	everywhere = []Action{OnlyLatency, Error, Late, Hang, Lost, Drop, DropBefore}
	onlyFor    = map[Action]string{Smaller: "CreateVolume", NoSource: "CreateVolume", EmptyVolumeID: "CreateVolume", NilVolume: "CreateVolume", NotReady: "Probe"}
)

// Actions lists all actions but the empty one, for help texts.
func Actions() []string {
	var names []string
	for _, a := range everywhere {
		if a != OnlyLatency {
			names = append(names, string(a))
		}
	}
	return append(names, string(Smaller), string(NoSource), string(EmptyVolumeID), string(NilVolume), string(NotReady))
}

// Fault is one entry of the list, as people write it in JSON.
type Fault struct {
	Method      string  `json:"method"`
	Match       string  `json:"match,omitempty"`
	Probability float64 `json:"probability,omitempty"` // 0 means always, as 1 does
	Times       int64   `json:"times,omitempty"`       // 0 means for ever
	After       int64   `json:"after,omitempty"`
	Latency     string  `json:"latency,omitempty"`
	Jitter      string  `json:"jitter,omitempty"`
	Action      Action  `json:"action"`
	Code        string  `json:"code,omitempty"` // for error and lost; Unavailable if left out
	Message     string  `json:"message,omitempty"`
}

// Usage is a fault with what became of it.
type Usage struct {
	Fault
	Seen int64 `json:"seen"` // calls that method and match fitted
	Used int64 `json:"used"` // calls it was applied to
}

// compiled is a fault ready to be applied.
type compiled struct {
	Usage
	match   *regexp.Regexp // nil matches all
	latency time.Duration
	jitter  time.Duration
	code    codes.Code
}

// compile checks a fault. Every error names the field.
func compile(f Fault, methods []string) (*compiled, error) {
	c := &compiled{Usage: Usage{Fault: f}}
	if f.Method != "*" && !slices.Contains(methods, f.Method) {
		return nil, fmt.Errorf("method: %q is not a CSI method such as CreateVolume, nor *", f.Method)
	}
	if only, limited := onlyFor[f.Action]; limited && f.Method != "*" && f.Method != only {
		return nil, fmt.Errorf("action: %q is for %s, not for %s", f.Action, only, f.Method)
	} else if !limited && !slices.Contains(everywhere, f.Action) {
		return nil, fmt.Errorf("action: %q is none of %s", f.Action, strings.Join(Actions(), ", "))
	}
	if f.Probability < 0 || f.Probability > 1 {
		return nil, fmt.Errorf("probability: %v is not between 0 and 1", f.Probability)
	}
	if f.Times < 0 || f.After < 0 {
		return nil, fmt.Errorf("times and after: must not be negative")
	}
	var err error
	if f.Match != "" {
		if c.match, err = regexp.Compile(f.Match); err != nil {
			return nil, fmt.Errorf("match: %w", err)
		}
	}
	if c.latency, err = duration("latency", f.Latency); err != nil {
		return nil, err
	}
	if c.jitter, err = duration("jitter", f.Jitter); err != nil {
		return nil, err
	}
	if c.code, err = ParseCode(f.Code); err != nil {
		return nil, fmt.Errorf("code: %w", err)
	}
	if f.Action == OnlyLatency && c.latency == 0 && c.jitter == 0 {
		return nil, fmt.Errorf("action: a fault needs an action or a latency")
	}
	return c, nil
}

func duration(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s: %q is not a duration such as 50ms", field, text)
	}
	return d, nil
}

// ParseCode reads a gRPC code other than OK: its Go name (DeadlineExceeded), the specification's (DEADLINE_EXCEEDED) or
// its number. Left out it is Unavailable.
func ParseCode(text string) (codes.Code, error) {
	if text == "" {
		return codes.Unavailable, nil
	}
	name := strings.ReplaceAll(strings.ToLower(text), "_", "")
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		// Go spells Canceled with one l, the specification CANCELLED with two.
		if goName := strings.ToLower(c.String()); name == goName || text == strconv.Itoa(int(c)) || (c == codes.Canceled && name == "cancelled") {
			return c, nil
		}
	}
	return codes.OK, fmt.Errorf("%q is not a gRPC error code such as Unavailable", text)
}

// Decode reads one fault, or a list of them, and rejects fields it does not know: a misspelt fault that never strikes
// makes a test pass for the wrong reason.
func Decode(raw []byte) ([]Fault, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	list := make([]Fault, 1)
	var into any = &list[0]
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
		into = &list
	}
	if err := dec.Decode(into); err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("fault: there is something after the JSON value")
	}
	return list, nil
}
