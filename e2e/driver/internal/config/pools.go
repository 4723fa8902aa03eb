package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

// quantity is a size as written. It is parsed with the field's name at hand, which resource.Quantity's own decoding
// does not have.
type quantity string

// UnmarshalJSON accepts "10Gi" and plain numbers.
func (q *quantity) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		*q = quantity(text)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(raw, &number); err != nil {
		return fmt.Errorf("%s is not a size", raw)
	}
	*q = quantity(number)
	return nil
}

// bytes parses the size that field holds. An empty one is an error unless the field is optional.
func (q quantity) bytes(field string, optional bool) (int64, error) {
	if q == "" && optional {
		return 0, nil
	}
	if q == "" {
		return 0, fmt.Errorf("%s: is missing", field)
	}
	n, err := ParseSize(string(q))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", field, err)
	}
	return n, nil
}

// ParseSize parses a size as Kubernetes writes them, "100Gi" or "1e9".
func ParseSize(text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size (such as 100Gi)", text)
	}
	if q.Sign() < 0 || q.CmpInt64(math.MaxInt64) > 0 {
		return 0, fmt.Errorf("%q is negative or too large", text)
	}
	return q.Value(), nil
}

type poolSection struct {
	Segments      map[string]string `json:"segments"`
	Size          quantity          `json:"size"`
	MaxVolumeSize quantity          `json:"maxVolumeSize"`
}

type generateSection struct {
	Key           string   `json:"key"`
	Prefix        string   `json:"prefix"`
	Count         int      `json:"count"`
	Size          quantity `json:"size"`
	MaxVolumeSize quantity `json:"maxVolumeSize"`
}

// maxPools bounds generate.count against a slip of the finger, far above any use.
const maxPools = 1_000_000

// segmentKey and segmentValue are the forms the CSI specification prescribes for Topology.segments.
var (
	segmentKey   = regexp.MustCompile(`^([a-z0-9A-Z]([-a-z0-9A-Z.]{0,61}[a-z0-9A-Z])?/)?[a-z0-9A-Z]([-_.a-z0-9A-Z]{0,61}[a-z0-9A-Z])?$`)
	segmentValue = regexp.MustCompile(`^[a-z0-9A-Z]([-_.a-z0-9A-Z]{0,61}[a-z0-9A-Z])?$`)
)

// pools lists the written and the generated pools.
func (f file) pools(topology bool) ([]pool.Spec, error) {
	var specs []pool.Spec
	seen := map[pool.Key]string{}
	add := func(field string, spec pool.Spec) error {
		key := pool.KeyOf(spec.Segments)
		if other, twice := seen[key]; twice {
			return fmt.Errorf("%s: has the same segments as %s: %s", field, other, key)
		}
		seen[key] = field
		specs = append(specs, spec)
		return nil
	}
	for i, p := range f.Pools {
		field := fmt.Sprintf("pools[%d]", i)
		spec, err := p.spec(field, topology)
		if err != nil {
			return nil, err
		}
		if err := add(field, spec); err != nil {
			return nil, err
		}
	}
	for i, g := range f.Generate {
		field := fmt.Sprintf("generate[%d]", i)
		if !topology {
			return nil, fmt.Errorf("%s: topology is false, so there is only one pool", field)
		}
		generated, err := g.specs(field)
		if err != nil {
			return nil, err
		}
		for _, spec := range generated {
			if err := add(field, spec); err != nil {
				return nil, err
			}
		}
	}
	if len(specs) == 0 {
		return nil, fmt.Errorf("pools: there must be at least one, here or in generate")
	}
	if !topology && len(specs) > 1 {
		return nil, fmt.Errorf("pools: topology is false, so there must be exactly one, not %d", len(specs))
	}
	return specs, nil
}

// CheckSegments says what is wrong with topology segments, if anything is.
func CheckSegments(field string, segments map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(segments)) {
		if !segmentKey.MatchString(k) {
			return fmt.Errorf("%s: %q is not a topology key", field, k)
		}
		if !segmentValue.MatchString(segments[k]) {
			return fmt.Errorf("%s[%s]: %q is not a topology value", field, k, segments[k])
		}
	}
	return nil
}

func (p poolSection) spec(field string, topology bool) (pool.Spec, error) {
	if topology && len(p.Segments) == 0 {
		return pool.Spec{}, fmt.Errorf("%s.segments: is missing", field)
	}
	if !topology && len(p.Segments) > 0 {
		return pool.Spec{}, fmt.Errorf("%s.segments: must be left out when topology is false", field)
	}
	if err := CheckSegments(field+".segments", p.Segments); err != nil {
		return pool.Spec{}, err
	}
	size, err := p.Size.bytes(field+".size", false)
	if err != nil {
		return pool.Spec{}, err
	}
	limit, err := p.MaxVolumeSize.bytes(field+".maxVolumeSize", true)
	if err != nil {
		return pool.Spec{}, err
	}
	return pool.Spec{Segments: p.Segments, Size: size, MaxVolumeSize: limit}, nil
}

func (g generateSection) specs(field string) ([]pool.Spec, error) {
	if g.Count < 1 || g.Count > maxPools {
		return nil, fmt.Errorf("%s.count: must be between 1 and %d", field, maxPools)
	}
	one := poolSection{Size: g.Size, MaxVolumeSize: g.MaxVolumeSize}
	specs := make([]pool.Spec, 0, g.Count)
	for i := range g.Count {
		one.Segments = map[string]string{g.Key: fmt.Sprintf("%s%04d", g.Prefix, i)}
		spec, err := one.spec(field, true)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	return specs, nil
}
