package csidriver

import (
	"maps"
	"slices"
	"strings"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/pool"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// newVolume turns a request into what it asks for, or says what is wrong with it. It decides from the request and the
// configuration alone.
func newVolume(r *csipb.CreateVolumeRequest, c config.Config) (state.NewVolume, error) {
	want := state.NewVolume{
		Name: r.GetName(), Parameters: r.GetParameters(), MutableParameters: r.GetMutableParameters(),
	}
	if err := checkName(r.GetName()); err != nil {
		return want, err
	}
	var err error
	if want.Capabilities, err = capabilities(r.GetVolumeCapabilities(), c); err != nil {
		return want, err
	}
	if want.Range, err = capacityRange(r.GetCapacityRange(), false); err != nil {
		return want, err
	}
	if err := checkParameters(r.GetParameters(), "pvc/name", "pvc/namespace", "pv/name"); err != nil {
		return want, err
	}
	if err := checkMutable(r.GetMutableParameters(), c); err != nil {
		return want, err
	}
	if want.Source, err = source(r.GetVolumeContentSource(), c); err != nil {
		return want, err
	}
	want.OnlyFirst = c.OnlyFirst
	want.Requisite, want.Preferred, err = requirement(r.GetAccessibilityRequirements(), c)
	return want, err
}

// maxName is the size the CSI specification gives to strings (section "Size Limits").
const maxName = 128

func checkName(name string) error {
	if name == "" {
		return invalid("name is missing")
	}
	if len(name) > maxName {
		return invalid("name has %d bytes, the limit is %d", len(name), maxName)
	}
	if strings.ContainsFunc(name, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r >= 0x7f && r <= 0x9f
	}) {
		return invalid("name %q has control characters", name)
	}
	return nil
}

func capabilities(list []*csipb.VolumeCapability, c config.Config) ([]state.Capability, error) {
	if len(list) == 0 {
		return nil, invalid("volume_capabilities is missing")
	}
	result := make([]state.Capability, len(list))
	for i, vc := range list {
		one, err := capability(vc, c)
		if err != nil {
			return nil, err
		}
		result[i] = one
	}
	return result, nil
}

func capability(vc *csipb.VolumeCapability, c config.Config) (state.Capability, error) {
	if vc == nil {
		return state.Capability{}, invalid("volume_capability is missing")
	}
	mode := vc.GetAccessMode().GetMode()
	if mode == csipb.VolumeCapability_AccessMode_UNKNOWN {
		return state.Capability{}, invalid("volume_capability: access_mode is missing")
	}
	result := state.Capability{Mode: mode.String()}
	switch t := vc.GetAccessType().(type) {
	case *csipb.VolumeCapability_Block:
		result.Block = true
	case *csipb.VolumeCapability_Mount:
		result.FSType = t.Mount.GetFsType()
	default:
		return state.Capability{}, invalid("volume_capability: neither block nor mount")
	}
	if !c.AccessModes[result.Mode] {
		return state.Capability{}, invalid("volume_capability: access mode %s is not supported", result.Mode)
	}
	return result, nil
}

// capacityRange checks a range. An absent one is open at both ends, unless it is required.
func capacityRange(r *csipb.CapacityRange, required bool) (state.Range, error) {
	if r == nil && !required {
		return state.Range{}, nil
	}
	if r.GetRequiredBytes() == 0 && r.GetLimitBytes() == 0 {
		return state.Range{}, invalid("capacity_range: neither required_bytes nor limit_bytes is set")
	}
	if r.GetRequiredBytes() < 0 || r.GetLimitBytes() < 0 {
		return state.Range{}, status.Error(codes.OutOfRange, "capacity_range: must not be negative")
	}
	if r.GetLimitBytes() > 0 && r.GetLimitBytes() < r.GetRequiredBytes() {
		return state.Range{}, status.Errorf(codes.OutOfRange, "capacity_range: limit_bytes %d is less than required_bytes %d", r.GetLimitBytes(), r.GetRequiredBytes())
	}
	return state.Range{Required: r.GetRequiredBytes(), Limit: r.GetLimitBytes()}, nil
}

// reserved is the prefix of parameters that Kubernetes' sidecars interpret. They must take them out of what a driver
// sees, except those that exist to tell the driver something; one that slips through is a sidecar's bug.
const reserved = "csi.storage.k8s.io/"

func checkParameters(parameters map[string]string, allowed ...string) error {
	for _, k := range slices.Sorted(maps.Keys(parameters)) {
		if rest, ok := strings.CutPrefix(k, reserved); ok && !slices.Contains(allowed, rest) {
			return invalid("parameters: %s is reserved and not for the driver", k)
		}
	}
	return nil
}

func checkMutable(parameters map[string]string, c config.Config) error {
	if len(parameters) == 0 {
		return nil
	}
	if !c.Capabilities.Has(config.ControllerRPC(csipb.ControllerServiceCapability_RPC_MODIFY_VOLUME)) {
		return invalid("mutable_parameters: this driver does not have MODIFY_VOLUME")
	}
	for _, k := range slices.Sorted(maps.Keys(parameters)) {
		if strings.HasPrefix(k, reserved) {
			return invalid("mutable_parameters: %s is reserved and not for the driver", k)
		}
		if c.MutableParameters != nil && !c.MutableParameters[k] {
			return invalid("mutable_parameters: %q is not supported", k)
		}
	}
	return nil
}

func source(s *csipb.VolumeContentSource, c config.Config) (state.Source, error) {
	has := func(t csipb.ControllerServiceCapability_RPC_Type) bool {
		return c.Capabilities.Has(config.ControllerRPC(t))
	}
	switch t := s.GetType().(type) {
	case nil:
		if s != nil {
			return state.Source{}, invalid("volume_content_source: neither snapshot nor volume")
		}
		return state.Source{}, nil
	case *csipb.VolumeContentSource_Volume:
		if !has(csipb.ControllerServiceCapability_RPC_CLONE_VOLUME) {
			return state.Source{}, invalid("volume_content_source: this driver does not have CLONE_VOLUME")
		}
		if t.Volume.GetVolumeId() == "" {
			return state.Source{}, invalid("volume_content_source: volume_id is missing")
		}
		return state.Source{VolumeID: t.Volume.GetVolumeId()}, nil
	case *csipb.VolumeContentSource_Snapshot:
		if !has(csipb.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT) {
			return state.Source{}, invalid("volume_content_source: this driver does not have CREATE_DELETE_SNAPSHOT")
		}
		if t.Snapshot.GetSnapshotId() == "" {
			return state.Source{}, invalid("volume_content_source: snapshot_id is missing")
		}
		return state.Source{SnapshotID: t.Snapshot.GetSnapshotId()}, nil
	default:
		return state.Source{}, invalid("volume_content_source: of an unknown type")
	}
}

// requirement checks the accessibility requirements as the specification words them (TopologyRequirement).
func requirement(r *csipb.TopologyRequirement, c config.Config) (requisite, preferred []map[string]string, err error) {
	if r == nil {
		return nil, nil, nil
	}
	if !c.Capabilities.Has(config.AccessibilityConstraints) {
		return nil, nil, invalid("accessibility_requirements: this driver does not have VOLUME_ACCESSIBILITY_CONSTRAINTS")
	}
	if len(r.GetRequisite()) == 0 && len(r.GetPreferred()) == 0 {
		return nil, nil, invalid("accessibility_requirements: neither requisite nor preferred is set")
	}
	if requisite, err = terms("requisite", r.GetRequisite()); err != nil {
		return nil, nil, err
	}
	if preferred, err = terms("preferred", r.GetPreferred()); err != nil {
		return nil, nil, err
	}
	if len(requisite) > 0 && len(preferred) > 0 {
		known := make(map[pool.Key]bool, len(requisite))
		for _, term := range requisite {
			known[pool.KeyOf(term)] = true
		}
		for i, term := range preferred {
			if !known[pool.KeyOf(term)] {
				return nil, nil, invalid("accessibility_requirements: preferred[%d] is not among the requisite: %s", i, pool.KeyOf(term))
			}
		}
	}
	return requisite, preferred, nil
}

func terms(field string, list []*csipb.Topology) ([]map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	result := make([]map[string]string, len(list))
	for i, t := range list {
		if len(t.GetSegments()) == 0 {
			return nil, invalid("accessibility_requirements: %s[%d] has no segments", field, i)
		}
		result[i] = t.GetSegments()
	}
	return result, nil
}
