package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/topology"
)

// Paths of the webhooks, for the URLs in webhook configurations.
const (
	PathMutateClaim     = "/mutate-persistentvolumeclaim"
	PathValidateClaim   = "/validate-persistentvolumeclaim"
	PathValidateContent = "/validate-volumesnapshotcontent"
)

// Config describes the webhooks.
type Config struct {
	Driver string // CSI name
	InTree string // in-tree driver that it took over; empty: none
	// Topology tells whether the driver has topology, so that hints make sense. It is asked at each review, because admission may begin before
	// the driver has answered; nil: it has not.
	Topology func() bool
	// CrossNamespace is the feature gate CrossNamespaceVolumeDataSource.
	CrossNamespace bool
	// PreventModeConversion refuses restores in another volume mode than the snapshot's; the provisioner has to have the same rule.
	PreventModeConversion bool
	// RequireSourceMode refuses restores of snapshots of which nobody knows the volume mode.
	RequireSourceMode bool
	// TrustedSnapshotUsers are the users and groups who may set an unset source volume mode of a snapshot's content.
	TrustedSnapshotUsers []string

	Lookups Lookups
	Metrics prometheus.Registerer // nil: none
	Logger  klog.Logger           // the zero Logger is silent
	Limits  Limits
}

// Limits bound what the webhooks take on. Zero fields have the default in the comment.
type Limits struct {
	Body       int64         // bytes of a review; 3 MiB, which is the most that the API server lets an object have
	InFlight   int           // reviews under way; 256. More are turned away, which failurePolicy decides about.
	LiveBudget time.Duration // for reading the API server during a review; 1 s
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Body:       cmp.Or(l.Body, 3<<20),
		InFlight:   cmp.Or(l.InFlight, 256),
		LiveBudget: cmp.Or(l.LiveBudget, time.Second),
	}
}

func (c Config) topology() bool { return c.Topology != nil && c.Topology() }

// Validate reports what cannot work. A key that is no annotation's would have the API server refuse every claim that we write it to.
func (c Config) Validate() error {
	if c.Driver == "" {
		return errors.New("the driver has no name")
	}
	if problems := content.IsLabelKey(strings.ToLower(topology.HintKey(c.Driver))); len(problems) > 0 {
		return fmt.Errorf("driver name %q cannot be the prefix of an annotation's key: %s", c.Driver, strings.Join(problems, "; "))
	}
	if c.Limits.Body < 0 || c.Limits.InFlight < 0 || c.Limits.LiveBudget < 0 {
		return errors.New("a limit is negative")
	}
	return c.Lookups.validate()
}
