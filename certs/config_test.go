package certs

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestPeriodsAreChecked(t *testing.T) {
	tests := map[string]struct {
		change func(*Periods)
		want   []string
	}{
		"the default":        {func(*Periods) {}, nil},
		"those of the tests": {func(p *Periods) { *p = shortPeriods() }, nil},
		"as short as can be": {func(p *Periods) {
			*p = Periods{24 * time.Second, 8 * time.Second, 6 * time.Second, time.Second, time.Second}
		}, nil},
		"no propagation time":      {func(p *Periods) { p.Propagation = 0 }, []string{"propagation time must be at least a second, not 0s"}},
		"a negative skew":          {func(p *Periods) { p.Skew = -1 }, []string{"clock skew must not be negative, not -1ns"}},
		"certificates for minutes": {func(p *Periods) { p.Leaf = 29 * time.Minute }, []string{"certificate lifetime (29m0s) must be at least six times the propagation time (30m0s)"}},
		"hardly any overlap": {func(p *Periods) { p.Overlap = day }, []string{
			"overlap (24h0m0s) must be at least a certificate's lifetime and twice the propagation time (24h10m0s)"}},
		"nothing but overlap": {func(p *Periods) { p.Authority = p.Overlap }, []string{
			"authority lifetime (2880h0m0s) must be at least the overlap and twice certificate lifetime, propagation time and clock skew (2928h30m0s)"}},
		"nothing": {func(p *Periods) { *p = Periods{} }, []string{"propagation time must be at least a second, not 0s"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			periods := DefaultPeriods()
			tt.change(&periods)
			if diff := cmp.Diff(tt.want, lines(periods.Validate())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestSelfManagedConfigIsChecked(t *testing.T) {
	_, err := NewSelfManaged(SelfManagedConfig{
		Periods: DefaultPeriods(), Names: []string{"berth.ns.svc", "::1", "not a name"}, Registry: prometheus.NewRegistry(),
		Condition: func(string, string) string { return "" },
	})
	if diff := cmp.Diff([]string{
		"self-managed certificates: the authorities' Secret needs a namespace and a name",
		"a field manager is required",
		"the match condition needs a name",
		`"not a name" is neither a DNS name nor an IP address`,
	}, lines(err)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"the authorities' Secret needs a namespace and a name",
		"a field manager is required",
		"a certificate needs at least one name",
	}, lines((&SelfManagedConfig{Periods: DefaultPeriods()}).Validate())); diff != "" {
		t.Error(diff)
	}
}
