// Package config reads poold's configuration file and checks it completely before anything starts. Every error names
// the field it is about. The result, Config, is plain and resolved: defaults applied, sizes in bytes, generated pools
// listed, capabilities as CSI enums. Nothing else in the driver reads the file.
package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

// Data says what stands behind a volume.
type Data string

const (
	Directory Data = "directory"
	Sparse    Data = "sparse"
	None      Data = "none"
)

// Config is the resolved configuration.
type Config struct {
	DriverName string
	// NodeSegments and MaxVolumes are what NodeGetInfo says about this node.
	NodeSegments map[string]string
	MaxVolumes   int64
	// OtherNodes are node ids beside this node's own to which volumes can be published; AnyNode accepts all.
	OtherNodes map[string]bool
	AnyNode    bool
	Pools      []pool.Spec
	Topology   bool // pools have segments; whether that is advertised is a capability
	// Capabilities is everything the driver advertises and serves.
	Capabilities Capabilities
	// AccessModes the driver accepts, by their CSI names.
	AccessModes map[string]bool
	// MutableParameters are the accepted keys; nil accepts any.
	MutableParameters map[string]bool
	// OnlyFirst: a volume is made in the first preferred segment or not at all.
	OnlyFirst bool
	Data      Data
}

// file is the configuration as written.
type file struct {
	DriverName string `json:"driverName"`
	Node       struct {
		Segments   map[string]string `json:"segments"`
		MaxVolumes int64             `json:"maxVolumes"`
		Others     []string          `json:"others"`
	} `json:"node"`
	Pools        []poolSection     `json:"pools"`
	Generate     []generateSection `json:"generate"`
	Topology     *bool             `json:"topology"`
	Capabilities struct {
		Without           []string `json:"without"`
		ControllerService *bool    `json:"controllerService"`
	} `json:"capabilities"`
	AccessModes       []string `json:"accessModes"`
	MutableParameters []string `json:"mutableParameters"`
	OnlyFirst         bool     `json:"onlyFirst"`
	Data              Data     `json:"data"`
}

// Load reads and resolves a configuration file.
func Load(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(raw)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Parse resolves the text of a configuration file.
func Parse(raw []byte) (Config, error) {
	var f file
	if err := yaml.UnmarshalStrict(raw, &f); err != nil {
		// The YAML library speaks of JSON, which it goes through; people wrote YAML.
		text := strings.ReplaceAll(err.Error(), "error unmarshaling JSON: while decoding JSON: json: ", "")
		return Config{}, fmt.Errorf("%s", strings.Join(strings.Fields(text), " "))
	}
	return f.resolve()
}

// driverName is the form the CSI specification prescribes for GetPluginInfoResponse.name.
var driverName = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9.]{0,61}[a-zA-Z0-9])?$`)

func (f file) resolve() (Config, error) {
	c := Config{
		DriverName:   f.DriverName,
		NodeSegments: f.Node.Segments,
		MaxVolumes:   f.Node.MaxVolumes,
		Topology:     f.Topology == nil || *f.Topology,
		OnlyFirst:    f.OnlyFirst,
		Data:         f.Data,
	}
	if c.DriverName == "" {
		c.DriverName = "pool.csi.berth.dev"
	}
	if !driverName.MatchString(c.DriverName) {
		return Config{}, fmt.Errorf("driverName: %q is not a domain name of at most 63 characters", c.DriverName)
	}
	if c.MaxVolumes < 0 {
		return Config{}, fmt.Errorf("node.maxVolumes: must not be negative")
	}
	switch c.Data {
	case "":
		c.Data = Directory
	case Directory, Sparse, None:
	default:
		return Config{}, fmt.Errorf("data: %q is not one of directory, sparse, none", c.Data)
	}
	for i, id := range f.Node.Others {
		switch id {
		case "":
			return Config{}, fmt.Errorf("node.others[%d]: is empty", i)
		case "*":
			c.AnyNode = true
		}
	}
	c.OtherNodes = set(f.Node.Others)
	for i, key := range f.MutableParameters {
		if key == "" {
			return Config{}, fmt.Errorf("mutableParameters[%d]: is empty", i)
		}
	}
	if f.MutableParameters != nil {
		c.MutableParameters = set(f.MutableParameters)
	}
	var err error
	if c.Capabilities, err = capabilities(f.Capabilities.Without); err != nil {
		return Config{}, err
	}
	if on := f.Capabilities.ControllerService; on != nil && !*on {
		delete(c.Capabilities, ControllerService)
	}
	if !c.Topology {
		delete(c.Capabilities, AccessibilityConstraints)
	}
	if c.AccessModes, err = accessModes(f.AccessModes, c.Capabilities); err != nil {
		return Config{}, err
	}
	if c.Pools, err = f.pools(c.Topology); err != nil {
		return Config{}, err
	}
	if !c.Topology && len(c.NodeSegments) > 0 {
		return Config{}, fmt.Errorf("node.segments: must be left out when topology is false")
	}
	if c.Topology && len(c.NodeSegments) == 0 {
		c.NodeSegments = c.Pools[0].Segments
	}
	return c, nil
}

func set(list []string) map[string]bool {
	s := make(map[string]bool, len(list))
	for _, v := range list {
		s[v] = true
	}
	return s
}
