package csidriver

import (
	"context"
	"path"
	"slices"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/berth-csi/berth/e2e/driver/internal/calls"
	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/fault"
)

// outcome is how a call ends.
type outcome struct {
	answer any   // what the handler made, as far as it ran
	err    error // what the caller gets instead of the answer
	plan   fault.Plan
	drop   bool // close the connection instead of telling the caller anything
}

// intercept is around every call: it carries it out and logs it. The log has the call before the caller has the answer
// (in memory; on file when the fault is one after which a test looks there at once).
func (d *Driver) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	started := time.Now()
	method := path.Base(info.FullMethod)
	o := d.carryOut(ctx, method, req, info.FullMethod, handler)
	entry := calls.Call{
		Method: method, Code: status.Code(o.err), Started: started, Ended: time.Now(), Fault: o.plan.Label(),
	}
	entry.Request, _ = req.(proto.Message)
	entry.Response, _ = o.answer.(proto.Message)
	if o.err != nil {
		entry.Error = status.Convert(o.err).Message()
	}
	d.Calls.Add(entry)
	if o.plan.Action == fault.Lost || o.drop {
		if err := d.Calls.Flush(); err != nil {
			d.Log.Error("call log", "error", err)
		}
	}
	if o.drop {
		closeConn(ctx)
	}
	if o.err != nil {
		return nil, o.err
	}
	return o.answer, nil
}

// carryOut claims what the call is about, for as long as it lasts: a call that a fault delays is in flight, and a second
// one for the same volume is answered as it would be by a driver that is slow for its own reasons.
func (d *Driver) carryOut(ctx context.Context, method string, req any, full string, handler grpc.UnaryHandler) outcome {
	if !d.serves(method, full) {
		return outcome{err: status.Errorf(codes.Unimplemented, "%s is not among this driver's capabilities", method)}
	}
	c := d.claimOf(req)
	if c.own == c.shared { // made from itself; the handler will say what is wrong with that
		c.shared = ""
	}
	if !d.inflight.acquire(c) {
		return outcome{err: status.Error(codes.Aborted, "an operation is pending for this volume or snapshot")}
	}
	defer d.inflight.release(c)

	o := outcome{plan: d.Faults.Plan(fault.Call{Method: method, Subjects: subjects(req)})}
	if o.plan.Action != fault.Late {
		if err := d.wait(ctx, o.plan.Wait); err != nil {
			o.err = err
			return o
		}
	}
	switch o.plan.Action {
	case fault.Error:
		o.err = status.Error(o.plan.Code, o.plan.Message)
		return o
	case fault.Hang:
		o.err = d.hang(ctx)
		return o
	case fault.DropBefore:
		o.err, o.drop = status.Error(codes.Unavailable, o.plan.Message), true
		return o
	case fault.OnlyLatency, fault.Late, fault.Lost, fault.Drop, fault.Smaller, fault.NoSource, fault.EmptyVolumeID, fault.NilVolume, fault.NotReady:
		// something for when it is done
	}
	if o.answer, o.err = handler(ctx, req); o.err != nil {
		o.answer = nil // a typed nil of the handler
	}
	switch o.plan.Action {
	case fault.Late:
		if err := d.wait(ctx, o.plan.Wait); err != nil {
			o.err = err // the caller never heard what was done
		}
	case fault.Lost:
		o.err = status.Error(o.plan.Code, o.plan.Message)
	case fault.Drop:
		o.err, o.drop = status.Error(codes.Unavailable, o.plan.Message), true
	default:
		if o.err == nil {
			o.answer = spoil(o.plan.Action, req, o.answer)
		}
	}
	return o
}

// wait lets a latency pass. It ends early, with an error, when the caller gives up.
func (d *Driver) wait(ctx context.Context, latency time.Duration) error {
	if latency > 0 {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return nil
}

// hang waits for the caller to give up, or for the driver to stop.
func (d *Driver) hang(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-d.stopping:
		return status.Error(codes.Unavailable, "the driver is stopping")
	}
}

// required are the capabilities without which a method does not exist.
var required = map[string]csipb.ControllerServiceCapability_RPC_Type{
	"CreateVolume":              csipb.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
	"DeleteVolume":              csipb.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
	"ControllerPublishVolume":   csipb.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
	"ControllerUnpublishVolume": csipb.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
	"ListVolumes":               csipb.ControllerServiceCapability_RPC_LIST_VOLUMES,
	"GetCapacity":               csipb.ControllerServiceCapability_RPC_GET_CAPACITY,
	"CreateSnapshot":            csipb.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
	"DeleteSnapshot":            csipb.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
	"ListSnapshots":             csipb.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
	"GetSnapshot":               csipb.ControllerServiceCapability_RPC_GET_SNAPSHOT,
	"ControllerExpandVolume":    csipb.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	"ControllerGetVolume":       csipb.ControllerServiceCapability_RPC_GET_VOLUME,
	"ControllerModifyVolume":    csipb.ControllerServiceCapability_RPC_MODIFY_VOLUME,
}

// requiredOnNode is the same for the node service, whose other methods are always there.
var requiredOnNode = map[string]csipb.NodeServiceCapability_RPC_Type{
	"NodeStageVolume":    csipb.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
	"NodeUnstageVolume":  csipb.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
	"NodeGetVolumeStats": csipb.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	"NodeExpandVolume":   csipb.NodeServiceCapability_RPC_EXPAND_VOLUME,
}

func (d *Driver) serves(method, full string) bool {
	if capability, limited := requiredOnNode[method]; limited {
		return slices.Contains(d.nodeRPCs(), capability)
	}
	if path.Dir(full) == "/"+csipb.Controller_ServiceDesc.ServiceName && !d.has(config.ControllerService) {
		return false
	}
	capability, limited := required[method]
	return !limited || d.hasRPC(capability)
}

// subjects are the texts a fault's match is tried on.
func subjects(req any) []string {
	var list []string
	add := func(text string) {
		if text != "" {
			list = append(list, text)
		}
	}
	if r, ok := req.(interface{ GetName() string }); ok {
		add(r.GetName())
	}
	if r, ok := req.(interface{ GetVolumeId() string }); ok {
		add(r.GetVolumeId())
	}
	if r, ok := req.(interface{ GetSnapshotId() string }); ok {
		add(r.GetSnapshotId())
	}
	if r, ok := req.(interface{ GetSourceVolumeId() string }); ok {
		add(r.GetSourceVolumeId())
	}
	if r, ok := req.(*csipb.CreateVolumeRequest); ok {
		add(r.GetVolumeContentSource().GetVolume().GetVolumeId())
		add(r.GetVolumeContentSource().GetSnapshot().GetSnapshotId())
	}
	return list
}

// spoil makes of a good answer the bad one a fault wants. The volume itself is as it should be. The fault package sees to
// it that these actions only come with the calls they are for.
func spoil(action fault.Action, req, answer any) any {
	created, _ := answer.(*csipb.CreateVolumeResponse)
	probed, _ := answer.(*csipb.ProbeResponse)
	switch action {
	case fault.Smaller:
		asked := req.(*csipb.CreateVolumeRequest).GetCapacityRange().GetRequiredBytes()
		if asked == 0 {
			asked = created.GetVolume().GetCapacityBytes()
		}
		created.Volume.CapacityBytes = asked / 2
	case fault.NoSource:
		created.Volume.ContentSource = nil
	case fault.EmptyVolumeID:
		created.Volume.VolumeId = ""
	case fault.NilVolume:
		created.Volume = nil
	case fault.NotReady:
		probed.Ready.Value = false
	case fault.OnlyLatency, fault.Error, fault.Late, fault.Hang, fault.Lost, fault.Drop, fault.DropBefore:
		// nothing about the answer
	}
	return answer
}
