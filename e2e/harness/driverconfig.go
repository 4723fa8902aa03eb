package harness

// DefaultDriverName is what the driver is called when its configuration does not say.
const DefaultDriverName = "pool.csi.berth.dev"

// DriverConfig is the configuration file of the driver.
type DriverConfig struct {
	DriverName   string             `json:"driverName,omitempty"`
	Node         DriverNode         `json:"node,omitzero"`
	Pools        []DriverPool       `json:"pools,omitempty"`
	Generate     []DriverPools      `json:"generate,omitempty"`
	Topology     *bool              `json:"topology,omitempty"`
	Capabilities DriverCapabilities `json:"capabilities,omitzero"`
	// OnlyFirst has it try only the first preferred segment.
	OnlyFirst bool `json:"onlyFirst,omitempty"`
	// Data is directory, sparse or none: what stands behind a volume.
	Data string `json:"data,omitempty"`
}

// DriverNode is what NodeGetInfo says.
type DriverNode struct {
	Segments   map[string]string `json:"segments,omitempty"`
	MaxVolumes int               `json:"maxVolumes,omitempty"`
}

// DriverPool holds the volumes of one segment. Sizes are quantities.
type DriverPool struct {
	Segments      map[string]string `json:"segments,omitempty"`
	Size          string            `json:"size"`
	MaxVolumeSize string            `json:"maxVolumeSize,omitempty"`
}

// DriverPools are many pools of one size, with segments Key=Prefix0000 and so on.
type DriverPools struct {
	Key    string `json:"key"`
	Prefix string `json:"prefix"`
	Count  int    `json:"count"`
	Size   string `json:"size"`
}

// DriverCapabilities are the ones the driver does not have.
type DriverCapabilities struct {
	// Without names capabilities as the CSI specification does.
	Without           []string `json:"without,omitempty"`
	ControllerService *bool    `json:"controllerService,omitempty"`
}

// ZoneKey is the topology key of a driver, as the harness lays out zones.
func ZoneKey(driverName string) string { return "topology." + driverName + "/zone" }

// ZonesConfig is a driver with a pool of 1Ti in every zone and nothing behind its volumes. It says that its own node is
// in the first zone.
func ZonesConfig(driverName string, zones ...string) DriverConfig {
	config := DriverConfig{DriverName: driverName, Data: "none"}
	for _, zone := range zones {
		segments := map[string]string{ZoneKey(driverName): zone}
		if config.Node.Segments == nil {
			config.Node.Segments = segments
		}
		config.Pools = append(config.Pools, DriverPool{Segments: segments, Size: "1Ti"})
	}
	return config
}

// Fault makes the driver misbehave; the driver's README says what each field and each action does.
type Fault struct {
	Method      string  `json:"method"`
	Match       string  `json:"match,omitempty"`
	Probability float64 `json:"probability,omitempty"`
	Times       int     `json:"times,omitempty"`
	After       int     `json:"after,omitempty"`
	Latency     string  `json:"latency,omitempty"`
	Jitter      string  `json:"jitter,omitempty"`
	Action      string  `json:"action,omitempty"`
	Code        string  `json:"code,omitempty"`
	Message     string  `json:"message,omitempty"`
}

// FaultUsage is a fault with how often it was used. A call counts from its beginning.
type FaultUsage struct {
	Fault
	Used int `json:"used"`
}
