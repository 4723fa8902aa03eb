package command_test

import (
	"os"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
)

type change = func(*csipb.CreateVolumeRequest)

func requisite(terms ...*csipb.Topology) change {
	return func(r *csipb.CreateVolumeRequest) {
		r.AccessibilityRequirements = &csipb.TopologyRequirement{Requisite: terms}
	}
}

func sized(n int64) change {
	return func(r *csipb.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = n }
}

func from(id string) change {
	return func(r *csipb.CreateVolumeRequest) {
		r.VolumeContentSource = &csipb.VolumeContentSource{Type: &csipb.VolumeContentSource_Volume{Volume: &csipb.VolumeContentSource_VolumeSource{VolumeId: id}}}
	}
}

func fromSnapshot(id string) change {
	return func(r *csipb.CreateVolumeRequest) {
		r.VolumeContentSource = &csipb.VolumeContentSource{Type: &csipb.VolumeContentSource_Snapshot{Snapshot: &csipb.VolumeContentSource_SnapshotSource{SnapshotId: id}}}
	}
}

func parameter(key, value string) change {
	return func(r *csipb.CreateVolumeRequest) { r.Parameters = map[string]string{key: value} }
}

func mutable(key, value string) change {
	return func(r *csipb.CreateVolumeRequest) { r.MutableParameters = map[string]string{key: value} }
}

func mode(m csipb.VolumeCapability_AccessMode_Mode) change {
	return func(r *csipb.CreateVolumeRequest) { r.VolumeCapabilities[0].AccessMode.Mode = m }
}

func TestCreateVolumeCodes(t *testing.T) {
	d := serve(t, newPlace(t, threeZones+"mutableParameters: [iops]\n"))
	d.create("exists")
	for name, c := range map[string]struct {
		change change
		code   codes.Code
		says   string
	}{
		"no name":               {func(r *csipb.CreateVolumeRequest) { r.Name = "" }, codes.InvalidArgument, "name is missing"},
		"a long name":           {func(r *csipb.CreateVolumeRequest) { r.Name = strings.Repeat("x", 129) }, codes.InvalidArgument, "129 bytes"},
		"a name with a bell":    {func(r *csipb.CreateVolumeRequest) { r.Name = "ding\a" }, codes.InvalidArgument, "control characters"},
		"no capabilities":       {func(r *csipb.CreateVolumeRequest) { r.VolumeCapabilities = nil }, codes.InvalidArgument, "volume_capabilities is missing"},
		"no access type":        {func(r *csipb.CreateVolumeRequest) { r.VolumeCapabilities[0].AccessType = nil }, codes.InvalidArgument, "neither block nor mount"},
		"no access mode":        {func(r *csipb.CreateVolumeRequest) { r.VolumeCapabilities[0].AccessMode = nil }, codes.InvalidArgument, "access_mode is missing"},
		"a multi-node mode":     {mode(csipb.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER), codes.InvalidArgument, "is not supported"},
		"single writer":         {mode(csipb.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER), codes.OK, ""},
		"several writers":       {mode(csipb.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER), codes.OK, ""},
		"an empty range":        {sized(0), codes.InvalidArgument, "capacity_range"},
		"a negative range":      {sized(-1), codes.OutOfRange, "negative"},
		"a limit below":         {func(r *csipb.CreateVolumeRequest) { r.CapacityRange.LimitBytes = 1 }, codes.OutOfRange, "limit_bytes"},
		"a reserved parameter":  {parameter("csi.storage.k8s.io/fstype", "xfs"), codes.InvalidArgument, "reserved"},
		"an allowed one":        {parameter("csi.storage.k8s.io/pvc/name", "data"), codes.OK, ""},
		"any other parameter":   {parameter("whatever", "it is"), codes.OK, ""},
		"mutable parameters":    {mutable("iops", "1"), codes.OK, ""},
		"unknown ones":          {mutable("color", "red"), codes.InvalidArgument, `"color" is not supported`},
		"a missing source":      {from("vol-x"), codes.NotFound, "vol-x"},
		"a missing snapshot":    {fromSnapshot("snap-x"), codes.NotFound, "snap-x"},
		"an empty source":       {func(r *csipb.CreateVolumeRequest) { r.VolumeContentSource = &csipb.VolumeContentSource{} }, codes.InvalidArgument, "neither snapshot nor volume"},
		"an empty requirement":  {requisite(), codes.InvalidArgument, "neither requisite nor preferred"},
		"a term of no segments": {requisite(&csipb.Topology{}), codes.InvalidArgument, "requisite[0] has no segments"},
		"preferred outside": {func(r *csipb.CreateVolumeRequest) {
			requisite(seg("zone-a"))(r)
			r.AccessibilityRequirements.Preferred = []*csipb.Topology{seg("zone-b")}
		}, codes.InvalidArgument, "preferred[0]"},
		"an unknown zone":      {requisite(seg("zone-x")), codes.ResourceExhausted, "no pool"},
		"too large for a zone": {func(r *csipb.CreateVolumeRequest) { requisite(seg("zone-a"))(r); sized(101 * gi)(r) }, codes.ResourceExhausted, "no pool of the requisite"},
		"beyond the maximum":   {func(r *csipb.CreateVolumeRequest) { requisite(seg("zone-c"))(r); sized(51 * gi)(r) }, codes.OutOfRange, "maximum volume size"},
		"existing, more":       {func(r *csipb.CreateVolumeRequest) { r.Name = "exists"; sized(2 * gi)(r) }, codes.AlreadyExists, "another capacity"},
		"existing, the same":   {func(r *csipb.CreateVolumeRequest) { r.Name = "exists" }, codes.OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := volumeRequest(strings.ReplaceAll(name, " ", "-"), c.change)
			_, err := d.ctl.CreateVolume(t.Context(), r)
			if status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.says) {
				t.Errorf("got %v, want %s with %q", err, c.code, c.says)
			}
		})
	}
}

func TestAVolumeIsWhatWasAskedFor(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	v := d.create("pvc-1", requisite(seg("zone-c"), seg("zone-b")))
	want := &csipb.Volume{
		VolumeId: v.GetVolumeId(), CapacityBytes: gi,
		VolumeContext: map[string]string{"pool": zone + "=zone-b"}, AccessibleTopology: []*csipb.Topology{seg("zone-b")},
	}
	if diff := cmp.Diff(want, v, protocmp.Transform()); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
	if strings.Contains(v.GetVolumeId(), "pvc-1") || v.GetVolumeId() == "" {
		t.Errorf("id %q", v.GetVolumeId())
	}
	if again := d.create("pvc-1", requisite(seg("zone-c"), seg("zone-b"))); again.GetVolumeId() != v.GetVolumeId() {
		t.Errorf("the second call made another volume: %s", again)
	}
	if _, err := os.Stat(d.path("state/volumes/" + v.GetVolumeId())); err != nil {
		t.Errorf("nothing stands behind it: %v", err)
	}
}

func TestClonesAndSnapshots(t *testing.T) {
	d := serve(t, newPlace(t, threeZones))
	v := d.create("origin", requisite(seg("zone-a")))
	if err := os.WriteFile(d.path("state/volumes/"+v.GetVolumeId()+"/file"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	snap, err := d.ctl.CreateSnapshot(t.Context(), &csipb.CreateSnapshotRequest{Name: "snap", SourceVolumeId: v.GetVolumeId()})
	if err != nil {
		t.Fatal(err)
	}
	clone := d.create("clone", from(v.GetVolumeId()), requisite(seg("zone-b")))
	if clone.GetContentSource().GetVolume().GetVolumeId() != v.GetVolumeId() {
		t.Errorf("the source is not told: %v", clone)
	}
	if _, err := d.ctl.DeleteVolume(t.Context(), &csipb.DeleteVolumeRequest{VolumeId: v.GetVolumeId()}); err != nil {
		t.Fatal(err)
	}
	restored := d.create("restored", fromSnapshot(snap.GetSnapshot().GetSnapshotId()), sized(2*gi))
	if restored.GetContentSource().GetSnapshot().GetSnapshotId() != snap.GetSnapshot().GetSnapshotId() {
		t.Errorf("the source is not told: %v", restored)
	}
	for _, id := range []string{clone.GetVolumeId(), restored.GetVolumeId()} {
		if got, err := os.ReadFile(d.path("state/volumes/" + id + "/file")); string(got) != "hello" {
			t.Errorf("%s has %q (%v)", id, got, err)
		}
	}
	small := volumeRequest("small", fromSnapshot(snap.GetSnapshot().GetSnapshotId()), sized(1))
	if _, err := d.ctl.CreateVolume(t.Context(), small); status.Code(err) != codes.OutOfRange {
		t.Errorf("smaller than its source: %v", err)
	}
	// The source is gone, and the clone that was made of it is still the answer to the call that made it.
	if again := d.create("clone", from(v.GetVolumeId()), requisite(seg("zone-b"))); again.GetVolumeId() != clone.GetVolumeId() {
		t.Errorf("another clone: %v", again)
	}
}

func TestPublishedVolumesStay(t *testing.T) {
	d := serve(t, newPlace(t, "node: {others: [node-2]}\npools: [{segments: {z: a}, size: 10Gi}]\n"))
	v := d.create("pvc-1")
	publish := func(node string) codes.Code {
		_, err := d.ctl.ControllerPublishVolume(t.Context(), &csipb.ControllerPublishVolumeRequest{
			VolumeId: v.GetVolumeId(), NodeId: node, VolumeCapability: volumeRequest("").GetVolumeCapabilities()[0],
		})
		return status.Code(err)
	}
	remove := func() codes.Code {
		_, err := d.ctl.DeleteVolume(t.Context(), &csipb.DeleteVolumeRequest{VolumeId: v.GetVolumeId()})
		return status.Code(err)
	}
	got := []codes.Code{publish("node-3"), publish("node-1"), publish("node-1"), publish("node-2"), remove()}
	want := []codes.Code{codes.NotFound, codes.OK, codes.OK, codes.FailedPrecondition, codes.FailedPrecondition}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
	list, err := d.ctl.ListVolumes(t.Context(), &csipb.ListVolumesRequest{})
	if err != nil || list.GetEntries()[0].GetStatus().GetPublishedNodeIds()[0] != "node-1" {
		t.Errorf("listed as %v (%v)", list, err)
	}
	if _, err := d.ctl.ControllerUnpublishVolume(t.Context(), &csipb.ControllerUnpublishVolumeRequest{VolumeId: v.GetVolumeId()}); err != nil {
		t.Fatal(err)
	}
	if code := remove(); code != codes.OK || len(d.volumes()) != 0 {
		t.Errorf("after unpublishing: %s, %v", code, d.volumes())
	}
	if code := remove(); code != codes.OK {
		t.Errorf("a second time: %s", code)
	}
}

func TestListingPageByPage(t *testing.T) {
	d := serve(t, newPlace(t, threeZones+"data: none\n"))
	var want, got []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		want = append(want, d.create(name).GetVolumeId())
	}
	for token := ""; ; {
		r, err := d.ctl.ListVolumes(t.Context(), &csipb.ListVolumesRequest{MaxEntries: 2, StartingToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.GetEntries() {
			got = append(got, e.GetVolume().GetVolumeId())
		}
		// What is deleted between two pages does not disturb the next one.
		if _, err := d.ctl.DeleteVolume(t.Context(), &csipb.DeleteVolumeRequest{VolumeId: got[len(got)-1]}); err != nil {
			t.Fatal(err)
		}
		if token = r.GetNextToken(); token == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
}

func TestCapacity(t *testing.T) {
	d := serve(t, newPlace(t, threeZones+"data: none\n"))
	d.create("pvc-1", requisite(seg("zone-c")), sized(40*gi))
	for name, c := range map[string]struct {
		term      *csipb.Topology
		available int64
		largest   int64 // 0 for unset
	}{
		"all":             {nil, 360 * gi, 200 * gi},
		"without maximum": {seg("zone-a"), 100 * gi, 0},
		"with maximum":    {seg("zone-c"), 60 * gi, 50 * gi},
		"unknown":         {seg("zone-x"), 0, 0},
	} {
		r, err := d.ctl.GetCapacity(t.Context(), &csipb.GetCapacityRequest{
			AccessibleTopology: c.term, Parameters: map[string]string{"csi.storage.k8s.io/fstype": "ext4"},
		})
		if err != nil || r.GetAvailableCapacity() != c.available || r.GetMaximumVolumeSize().GetValue() != c.largest {
			t.Errorf("%s: %v (%v), want %d and %d", name, r, err, c.available, c.largest)
		}
	}
	d.admin("PUT", "/pools", []map[string]any{{"segments": map[string]string{zone: "zone-a"}, "size": "10Gi"}}, nil)
	if _, err := d.ctl.CreateVolume(t.Context(), volumeRequest("pvc-2", requisite(seg("zone-a")), sized(11*gi))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("in a pool that was shrunk: %v", err)
	}
	unknown := []map[string]any{{"segments": map[string]string{zone: "zone-b"}, "size": "1"}, {"segments": map[string]string{zone: "zone-x"}, "size": "1"}}
	if err := d.tryAdmin("PUT", "/pools", unknown, nil); err == nil || !strings.Contains(err.Error(), "zone-x") {
		t.Errorf("resizing an unknown pool: %v", err)
	}
	d.create("pvc-3", requisite(seg("zone-b"))) // not resized either
}

func TestWithoutTopology(t *testing.T) {
	d := serve(t, newPlace(t, "topology: false\npools: [{size: 10Gi}]\ncapabilities: {without: [CLONE_VOLUME, MODIFY_VOLUME, LIST_VOLUMES]}\n"))
	v := d.create("pvc-1")
	if len(v.GetAccessibleTopology()) > 0 {
		t.Errorf("topology is told: %v", v)
	}
	for name, c := range map[string]change{
		"a requirement":      requisite(seg("zone-a")),
		"a clone":            from(v.GetVolumeId()),
		"mutable parameters": mutable("iops", "1"),
	} {
		if _, err := d.ctl.CreateVolume(t.Context(), volumeRequest("x", c)); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.ctl.ListVolumes(t.Context(), &csipb.ListVolumesRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("ListVolumes: %v", err)
	}
	info, err := d.node.NodeGetInfo(t.Context(), &csipb.NodeGetInfoRequest{})
	if err != nil || info.GetAccessibleTopology() != nil || info.GetNodeId() != "node-1" {
		t.Errorf("node %v (%v)", info, err)
	}
}
