package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Call is what a fault can be selected by.
type Call struct {
	Method string
	// Subjects are the call's name, its volume, snapshot and source ids; a fault's match has to find one of them.
	Subjects []string
}

// Plan is what is to happen to a call. The zero value is nothing.
type Plan struct {
	Wait    time.Duration
	Action  Action
	Code    codes.Code // for Error and Lost
	Message string
}

// Label names the plan in the call log: its action, or "latency", or "" for no fault.
func (p Plan) Label() string {
	if p.Action == OnlyLatency && p.Wait > 0 {
		return "latency"
	}
	return string(p.Action)
}

// List is the current faults. It is safe for concurrent use.
type List struct {
	methods []string

	mu     sync.Mutex
	faults []*compiled
	random *rand.Rand
}

// NewList makes an empty list for these methods. The same seed and the same calls in the same order give the same faults.
func NewList(methods []string, seed uint64) *List {
	return &List{methods: methods, random: rand.New(rand.NewPCG(seed, 0))}
}

// Replace puts these faults in the place of the current ones, all or none.
func (l *List) Replace(faults []Fault) error { return l.set(faults, true) }

// Add appends faults, all or none.
func (l *List) Add(faults []Fault) error { return l.set(faults, false) }

func (l *List) set(faults []Fault, replace bool) error {
	var ready []*compiled
	for i, f := range faults {
		c, err := compile(f, l.methods)
		if err != nil && len(faults) > 1 {
			return fmt.Errorf("fault %d: %w", i, err)
		}
		if err != nil {
			return fmt.Errorf("fault: %w", err)
		}
		ready = append(ready, c)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if replace {
		l.faults = nil
	}
	l.faults = append(l.faults, ready...)
	return nil
}

// Usage lists the faults and how often each was used.
func (l *List) Usage() []Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Usage, len(l.faults))
	for i, f := range l.faults {
		list[i] = f.Usage
	}
	return list
}

// Plan decides about a call and counts what it uses. Faults are tried in order: latencies add up, and once a fault with
// an action strikes the later ones with an action are not tried (nor counted) for this call.
func (l *List) Plan(call Call) Plan {
	l.mu.Lock()
	defer l.mu.Unlock()
	var p Plan
	for _, f := range l.faults {
		if (p.Action != OnlyLatency && f.Action != OnlyLatency) || !f.fits(call) {
			continue
		}
		f.Seen++
		if !f.due(l.random) {
			continue
		}
		f.Used++
		p.Wait += f.latency
		if f.jitter > 0 {
			p.Wait += time.Duration(l.random.Int64N(int64(f.jitter)))
		}
		if f.Action != OnlyLatency {
			p.Action, p.Code, p.Message = f.Action, f.code, f.Message
		}
	}
	if p.Message == "" && p.Action != OnlyLatency {
		p.Message = "scripted fault: " + string(p.Action)
	}
	return p
}

func (c *compiled) fits(call Call) bool {
	if c.Method != "*" && c.Method != call.Method {
		return false
	}
	if only, limited := onlyFor[c.Action]; limited && only != call.Method {
		return false
	}
	return c.match == nil || slices.ContainsFunc(call.Subjects, c.match.MatchString)
}

// due says whether the call that was just counted as seen is one to strike.
func (c *compiled) due(random *rand.Rand) bool {
	if c.Seen <= c.After || (c.Times > 0 && c.Used >= c.Times) {
		return false
	}
	return c.Probability == 0 || random.Float64() < c.Probability
}
