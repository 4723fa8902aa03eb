package simtest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Driver is a CSI driver with its storage behind it, that outlives whoever calls it. It keeps to the specification: creation is idempotent by name,
// deletion by handle, and an operation on a volume that has one pending is refused with ABORTED ("Error Scheme").
type Driver struct {
	// ByRequest: another request of the same name makes another volume, as in drivers whose backends in different zones do not know of each other.
	// Otherwise it is refused with ALREADY_EXISTS.
	ByRequest bool
	// HandleIsName: a volume that is made again after its deletion has the handle it had before.
	HandleIsName bool

	mu      sync.Mutex
	made    int
	volumes []*Volume // that exist, the oldest first
	pending map[string]bool
}

// Volume is a volume that exists.
type Volume struct {
	Handle, Name string
	Number       int    // of all that were ever made
	Request      string // that it was made from, in a form to compare
	Answer       *csipb.Volume
}

// Identity is a request in a form to compare: everything in it but the secrets.
func Identity(request *csipb.CreateVolumeRequest) string {
	if len(request.GetSecrets()) > 0 {
		request, _ = proto.Clone(request).(*csipb.CreateVolumeRequest)
		request.Secrets = nil
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return err.Error()
	}
	return string(encoded)
}

func (d *Driver) key(name, identity string) string {
	if d.ByRequest {
		return name + "\x00" + identity
	}
	return name
}

// Volumes are those that exist, the oldest first.
func (d *Driver) Volumes() []*Volume {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.volumes)
}

// Operation is one that was begun and is pending until it is done or dropped, which happens once.
type Operation struct {
	driver *Driver
	key    string
	// creates is the name of the volume to be made, and identity the request; empty for a deletion.
	creates, identity string
	do                func(spoil func(*csipb.Volume)) (*csipb.Volume, error)
}

// Found reports whether it is to make a volume that is there already. Then there is one answer to it: the volume (CSI spec, "CreateVolume").
func (o *Operation) Found() bool {
	o.driver.mu.Lock()
	defer o.driver.mu.Unlock()
	return o.creates != "" && slices.ContainsFunc(o.driver.volumes, func(v *Volume) bool { return v.Name == o.creates && v.Request == o.identity })
}

// Do does it. spoil changes a volume that is made by it; it may be nil.
func (o *Operation) Do(spoil func(*csipb.Volume)) (*csipb.Volume, error) {
	o.driver.mu.Lock()
	defer o.driver.mu.Unlock()
	delete(o.driver.pending, o.key)
	return o.do(spoil)
}

// Drop ends it without an effect.
func (o *Operation) Drop() {
	o.driver.mu.Lock()
	defer o.driver.mu.Unlock()
	delete(o.driver.pending, o.key)
}

// BeginCreate begins to make a volume, or to find it. The error is an answer.
func (d *Driver) BeginCreate(request *csipb.CreateVolumeRequest) (*Operation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	identity := Identity(request)
	for _, volume := range d.volumes {
		if volume.Name == request.GetName() && d.pending[volume.Handle] {
			return nil, aborted(volume.Handle)
		}
	}
	operation, err := d.begin(d.key(request.GetName(), identity), func(spoil func(*csipb.Volume)) (*csipb.Volume, error) {
		return d.create(request, identity, spoil)
	})
	if err == nil {
		operation.creates, operation.identity = request.GetName(), identity
	}
	return operation, err
}

// BeginDelete begins to delete the volume that has the handle now. The error is an answer. A volume that does not exist is deleted (CSI spec,
// "DeleteVolume").
func (d *Driver) BeginDelete(handle string) (*Operation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.volumes, func(v *Volume) bool { return v.Handle == handle })
	if i < 0 {
		return d.begin(handle, func(func(*csipb.Volume)) (*csipb.Volume, error) { return nil, nil })
	}
	volume := d.volumes[i]
	if d.pending[d.key(volume.Name, volume.Request)] {
		return nil, aborted(volume.Name)
	}
	return d.begin(handle, func(func(*csipb.Volume)) (*csipb.Volume, error) {
		d.volumes = slices.DeleteFunc(d.volumes, func(v *Volume) bool { return v == volume })
		return nil, nil
	})
}

func (d *Driver) begin(key string, do func(func(*csipb.Volume)) (*csipb.Volume, error)) (*Operation, error) {
	if d.pending[key] {
		name, _, _ := strings.Cut(key, "\x00")
		return nil, aborted(name)
	}
	if d.pending == nil {
		d.pending = map[string]bool{}
	}
	d.pending[key] = true
	return &Operation{driver: d, key: key, do: do}, nil
}

func (d *Driver) create(request *csipb.CreateVolumeRequest, identity string, spoil func(*csipb.Volume)) (*csipb.Volume, error) {
	name := request.GetName()
	for _, volume := range d.volumes {
		switch {
		case volume.Name != name || d.ByRequest && volume.Request != identity:
		case volume.Request != identity:
			return nil, status.Errorf(codes.AlreadyExists, "volume %s exists and was made from another request", name)
		default:
			return volume.Answer, nil
		}
	}
	d.made++
	volume := &Volume{Handle: fmt.Sprintf("vol-%d", d.made), Name: name, Number: d.made, Request: identity}
	if d.HandleIsName {
		volume.Handle = "vol-" + name
	}
	if d.HandleIsName && d.ByRequest {
		volume.Handle += fmt.Sprintf("-%x", sha256.Sum256([]byte(identity)))[:5]
	}
	volume.Answer = &csipb.Volume{VolumeId: volume.Handle, CapacityBytes: request.GetCapacityRange().GetRequiredBytes(), ContentSource: request.GetVolumeContentSource()}
	if preferred := request.GetAccessibilityRequirements().GetPreferred(); len(preferred) > 0 {
		volume.Answer.AccessibleTopology = preferred[:1]
	}
	if spoil != nil {
		spoil(volume.Answer)
	}
	d.volumes = append(d.volumes, volume)
	return volume.Answer, nil
}

func aborted(what string) error {
	return status.Errorf(codes.Aborted, "an operation for %s is pending", what)
}
