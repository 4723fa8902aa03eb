package certs

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
)

// Periods are the durations of the self-managed mode. Those of one cluster's replicas should agree, but need not.
type Periods struct {
	Authority time.Duration // life of an authority
	Overlap   time.Duration // how long before its end the next one is prepared
	Leaf      time.Duration // life of a replica's certificate, which is renewed after two thirds of it
	// Propagation is the time within which every API server and every replica has seen what was written. It also covers how far
	// the clocks of two leaders are apart.
	Propagation time.Duration
	Skew        time.Duration // certificates are dated back by it, and trusted longer by it, for clocks that differ
}

// DefaultPeriods are an authority for a year, four months of overlap, and certificates for a day.
func DefaultPeriods() Periods {
	const day = 24 * time.Hour
	return Periods{Authority: 365 * day, Overlap: 120 * day, Leaf: day, Propagation: 5 * time.Minute, Skew: 10 * time.Minute}
}

// Validate checks that a rotation has the time it needs.
func (p Periods) Validate() error {
	var problems []error
	if p.Propagation < time.Second {
		problems = append(problems, fmt.Errorf("propagation time must be at least a second, not %s", p.Propagation))
	}
	if p.Skew < 0 {
		problems = append(problems, fmt.Errorf("clock skew must not be negative, not %s", p.Skew))
	}
	// The last third of a certificate's life is for what may go wrong: a lost authority is replaced within it, unnoticed.
	if least := 6 * p.Propagation; p.Leaf < least {
		problems = append(problems, fmt.Errorf(
			"certificate lifetime (%s) must be at least six times the propagation time (%s)", p.Leaf, least))
	}
	if least := p.Leaf + 2*p.Propagation; p.Overlap < least {
		problems = append(problems, fmt.Errorf(
			"overlap (%s) must be at least a certificate's lifetime and twice the propagation time (%s)", p.Overlap, least))
	}
	if least := p.Overlap + 2*(p.Leaf+p.Propagation+p.Skew); p.Authority < least {
		problems = append(problems, fmt.Errorf(
			"authority lifetime (%s) must be at least the overlap and twice certificate lifetime, propagation time and clock skew (%s)",
			p.Authority, least))
	}
	return errors.Join(problems...)
}

// retirement is how long an authority stays trusted after it was told to sign no more: its last certificate may be signed a
// propagation time later.
func (p Periods) retirement() time.Duration { return p.Propagation + p.Leaf + p.Skew }

// recheck is how often everything is looked at without an event. Timers do not count the time that a machine sleeps; this bounds how late
// it is noticed.
func (p Periods) recheck() time.Duration { return min(time.Minute, p.Leaf/10) }

// SelfManagedConfig describes the self-managed mode.
type SelfManagedConfig struct {
	Client       kubernetes.Interface
	Namespace    string // of the Secret
	SecretName   string
	SecretLabels map[string]string // of the Secret, if it is made here
	Names        []string          // DNS names and IP addresses that the server is called by
	Mutating     []string          // webhook configurations to keep: all webhooks in them are this server's
	Validating   []string
	FieldManager string // what the names of our field managers begin with
	// Condition tells the expression of a matchCondition that is kept in a webhook; empty: the webhook has none of ours. It is asked
	// on the leader, whenever Refresh was called or the configuration changed. nil: conditions are not touched.
	Condition     func(configuration, webhook string) string
	ConditionName string // of that matchCondition; nobody else may use it
	Periods       Periods
	Now           func() time.Time // nil: this machine's clock; a ServerClock is better
	Registry      prometheus.Registerer
}

// conditions is what of it is about webhook configurations.
func (c *SelfManagedConfig) conditions() ConditionsConfig {
	return ConditionsConfig{
		Client: c.Client, Mutating: c.Mutating, Validating: c.Validating, FieldManager: c.FieldManager,
		Condition: c.Condition, ConditionName: c.ConditionName, Registry: c.Registry,
	}
}

// Validate checks the configuration.
func (c *SelfManagedConfig) Validate() error {
	problems := []error{c.Periods.Validate()}
	if c.Namespace == "" || c.SecretName == "" {
		problems = append(problems, errors.New("the authorities' Secret needs a namespace and a name"))
	}
	if c.FieldManager == "" {
		problems = append(problems, errors.New("a field manager is required"))
	}
	if c.Condition != nil && c.ConditionName == "" {
		problems = append(problems, errors.New("the match condition needs a name"))
	}
	if len(c.Names) == 0 {
		problems = append(problems, errors.New("a certificate needs at least one name"))
	}
	for _, name := range c.Names {
		if net.ParseIP(name) == nil && len(validation.IsDNS1123Subdomain(name)) > 0 {
			problems = append(problems, fmt.Errorf("%q is neither a DNS name nor an IP address", name))
		}
	}
	return errors.Join(problems...)
}
