package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// The methods the tests ask about.
const (
	CreateVolume = "CreateVolume"
	DeleteVolume = "DeleteVolume"
)

// Call is a line of the driver's call log: a call that has ended.
type Call struct {
	Seq int `json:"seq"`
	// Time at which the call ended, and PID of the driver that answered.
	Time   time.Time `json:"time"`
	PID    int       `json:"pid"`
	Method string    `json:"method"`
	// Request and Response are protobuf in JSON, with the field names of the specification; 64 bit integers are strings.
	Request  json.RawMessage `json:"request"`
	Response json.RawMessage `json:"response"`
	// Code is the name of the gRPC code the driver meant to answer, whether or not the caller was there to hear it.
	Code    string  `json:"code"`
	Error   string  `json:"error"`
	Seconds float64 `json:"seconds"`
	// Fault that was applied, empty for none.
	Fault string `json:"fault"`
}

func (c Call) String() string {
	text := fmt.Sprintf("%s(%s) %s", c.Method, c.Subject(), c.Code)
	if c.Fault != "" {
		text += " fault=" + c.Fault
	}
	return text
}

// Segments of a topology.
type Segments struct {
	Segments map[string]string `json:"segments"`
}

// CreateVolumeRequest is the request of a CreateVolume call, without the fields no test asks about.
type CreateVolumeRequest struct {
	Name                      string               `json:"name"`
	CapacityRange             CapacityRange        `json:"capacity_range"`
	VolumeCapabilities        []VolumeCapability   `json:"volume_capabilities"`
	Parameters                map[string]string    `json:"parameters"`
	MutableParameters         map[string]string    `json:"mutable_parameters"`
	VolumeContentSource       *ContentSource       `json:"volume_content_source"`
	AccessibilityRequirements *TopologyRequirement `json:"accessibility_requirements"`
	// Secrets have their keys; the driver keeps the values to itself.
	Secrets map[string]string `json:"secrets"`
}

// CapacityRange of a CreateVolumeRequest.
type CapacityRange struct {
	RequiredBytes int64 `json:"required_bytes,string"`
	LimitBytes    int64 `json:"limit_bytes,string"`
}

// VolumeCapability is either Mount or Block.
type VolumeCapability struct {
	Mount      *MountCapability `json:"mount"`
	Block      *struct{}        `json:"block"`
	AccessMode AccessMode       `json:"access_mode"`
}

// MountCapability is a volume with a file system.
type MountCapability struct {
	FSType     string   `json:"fs_type"`
	MountFlags []string `json:"mount_flags"`
}

// AccessMode by its name in the specification.
type AccessMode struct {
	Mode string `json:"mode"`
}

// ContentSource is either Snapshot or Volume.
type ContentSource struct {
	Snapshot *SourceSnapshot `json:"snapshot"`
	Volume   *SourceVolume   `json:"volume"`
}

// SourceSnapshot is a snapshot to restore, by its handle.
type SourceSnapshot struct {
	SnapshotID string `json:"snapshot_id"`
}

// SourceVolume is a volume to clone, by its handle.
type SourceVolume struct {
	VolumeID string `json:"volume_id"`
}

// TopologyRequirement of a CreateVolumeRequest.
type TopologyRequirement struct {
	Requisite []Segments `json:"requisite"`
	Preferred []Segments `json:"preferred"`
}

// CreateVolumeResponse is the answer to a CreateVolume call, whether or not it reached the caller.
type CreateVolumeResponse struct {
	Volume struct {
		VolumeID           string            `json:"volume_id"`
		CapacityBytes      int64             `json:"capacity_bytes,string"`
		VolumeContext      map[string]string `json:"volume_context"`
		AccessibleTopology []Segments        `json:"accessible_topology"`
	} `json:"volume"`
}

// CreatedVolume reads the answer to a CreateVolume call.
func (c Call) CreatedVolume() (*CreateVolumeResponse, error) {
	var response CreateVolumeResponse
	if err := json.Unmarshal(c.Response, &response); err != nil {
		return nil, fmt.Errorf("read answer %d of the call log: %w", c.Seq, err)
	}
	return &response, nil
}

// CreateVolume reads the request of a CreateVolume call.
func (c Call) CreateVolume() (*CreateVolumeRequest, error) {
	var request CreateVolumeRequest
	if err := json.Unmarshal(c.Request, &request); err != nil {
		return nil, fmt.Errorf("read request %d of the call log: %w", c.Seq, err)
	}
	return &request, nil
}

// DeleteVolumeRequest is the request of a DeleteVolume call.
type DeleteVolumeRequest struct {
	VolumeID string            `json:"volume_id"`
	Secrets  map[string]string `json:"secrets"`
}

// DeleteVolume reads the request of a DeleteVolume call.
func (c Call) DeleteVolume() (*DeleteVolumeRequest, error) {
	var request DeleteVolumeRequest
	if err := json.Unmarshal(c.Request, &request); err != nil {
		return nil, fmt.Errorf("read request %d of the call log: %w", c.Seq, err)
	}
	return &request, nil
}

// Began is when the call reached the driver.
func (c Call) Began() time.Time { return c.Time.Add(-time.Duration(c.Seconds * float64(time.Second))) }

// Subject is what the call is about: the name of a CreateVolume, the volume ID of any other.
func (c Call) Subject() string {
	var request struct {
		Name     string `json:"name"`
		VolumeID string `json:"volume_id"`
	}
	_ = json.Unmarshal(c.Request, &request)
	if request.Name != "" {
		return request.Name
	}
	return request.VolumeID
}

// SameRequest says whether two calls asked for exactly the same.
func (c Call) SameRequest(other Call) bool {
	mine, err := canonical(c.Request)
	if err != nil {
		return false
	}
	theirs, err := canonical(other.Request)
	return err == nil && bytes.Equal(mine, theirs)
}

// canonical evens out what protobuf's JSON leaves open on purpose: white space.
func canonical(raw json.RawMessage) ([]byte, error) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// Calls returns the calls of a method that have ended, in the order in which they ended; an empty method is all. It waits
// for the log to catch up with what the running driver has counted. A driver that was killed may have taken its last
// lines with it.
func (d *Driver) Calls(ctx context.Context, method string) ([]Call, error) {
	ended := 0
	if d.Running() {
		counts, err := d.CallCounts(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range counts {
			ended += n
		}
	}
	var all []Call
	pid := d.PID()
	err := wait.PollUntilContextTimeout(ctx, poll, WaitTimeout, true, func(context.Context) (bool, error) {
		var err error
		if all, err = d.readCalls(); err != nil {
			return false, err
		}
		written := 0
		for _, call := range all {
			if call.PID == pid {
				written++
			}
		}
		return written >= ended, nil
	})
	if err != nil {
		return nil, fmt.Errorf("calls of the driver: %w", err)
	}
	return slices.DeleteFunc(all, func(call Call) bool { return method != "" && call.Method != method }), nil
}

func (d *Driver) readCalls() ([]Call, error) {
	data, err := os.ReadFile(d.CallLog)
	if err != nil {
		return nil, fmt.Errorf("read call log: %w", err)
	}
	var calls []Call
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // being written
		}
		var call Call
		if err := json.Unmarshal(line, &call); err != nil {
			// The driver was killed while it wrote.
			continue
		}
		calls = append(calls, call)
	}
	return calls, nil
}

// CallsFor returns the calls of a method about one subject.
func (d *Driver) CallsFor(ctx context.Context, method, subject string) ([]Call, error) {
	calls, err := d.Calls(ctx, method)
	return slices.DeleteFunc(calls, func(call Call) bool { return call.Subject() != subject }), err
}
